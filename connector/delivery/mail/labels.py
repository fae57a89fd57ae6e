"""What the codes in payloads are called in each language, and how numbers agree with nouns.

Pure: no I/O here. A code without a label is shown as it is: a mail is not lost for a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ledger.settings import Language

CHANGES: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "Invite": "new people invited",
        "Reinstate": "people brought back",
        "UpdateIdentity": "names or addresses changed",
        "RelinkAnchor": "people bound to another directory entry",
        "AdoptGrant": "manual grants taken under a mapping",
        "JoinTeam": "people joining a Team",
        "LeaveTeam": "people leaving a Team",
        "AssignSeat": "seats assigned",
        "MoveSeat": "seats moved",
        "AddGrant": "reasons for a seat added",
        "EndGrant": "reasons for a seat ended",
        "PauseSeat": "seats paused",
        "ReleaseSeat": "seats released",
        "DisableIdentity": "people disabled",
        "RemoveIdentity": "people removed",
        "JoinGroup": "people joining a group",
        "LeaveGroup": "people leaving a group",
        "Wait": "people put on the waitlist",
        "GrantRole": "roles given",
        "EndRole": "roles taken",
    },
    "pl": {
        "Invite": "zaproszenia nowych osób",
        "Reinstate": "przywrócone osoby",
        "UpdateIdentity": "zmiany nazwisk lub adresów",
        "RelinkAnchor": "osoby powiązane z innym wpisem w katalogu",
        "AdoptGrant": "ręczne przydziały przejęte przez regułę",
        "JoinTeam": "osoby dołączające do zespołu",
        "LeaveTeam": "osoby opuszczające zespół",
        "AssignSeat": "przydzielone miejsca",
        "MoveSeat": "przeniesione miejsca",
        "AddGrant": "dodane podstawy przydziału miejsca",
        "EndGrant": "zakończone podstawy przydziału miejsca",
        "PauseSeat": "wstrzymane miejsca",
        "ReleaseSeat": "zwolnione miejsca",
        "DisableIdentity": "wyłączone osoby",
        "RemoveIdentity": "usunięte osoby",
        "JoinGroup": "osoby dołączające do grupy",
        "LeaveGroup": "osoby opuszczające grupę",
        "Wait": "osoby wpisane na listę oczekujących",
        "GrantRole": "nadane role",
        "EndRole": "odebrane role",
    },
}
"""What a change does (``plan.held``, ``counts``), by the kind of the change."""

REASONS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "domain_unverified": "a domain is not proved to be the organization's",
        "domain_lost": "the proof of a domain is lost",
        "domain_undeclared": "the organization's file no longer names a domain",
        "no_connection": "no identity provider is connected",
        "not_tested": "nobody has passed a test sign-in yet",
        "test_outdated": "the test sign-in is too old, or was made with other metadata",
        "sso_off": "single sign-on is not turned on",
        "cert_expired": "every signing certificate of the identity provider has expired",
        "idp_changed": "the metadata shows another identity provider than the one that was tested",
        "metadata_expired": "the metadata of the identity provider has expired",
        "kc_idp_disabled": "the identity provider is disabled in Keycloak",
        "kc_signature_off": "Keycloak does not check signatures",
        "kc_version_vulnerable": "this version of Keycloak has known holes in SAML",
        "kc_unreachable": "Keycloak cannot be read",
        "clock_behind": "the clock of the server is behind the recorded evidence",
    },
    "pl": {
        "domain_unverified": "nie potwierdzono, że domena należy do organizacji",
        "domain_lost": "potwierdzenie domeny zniknęło",
        "domain_undeclared": "plik organizacji nie wymienia już domeny",
        "no_connection": "nie podłączono dostawcy tożsamości",
        "not_tested": "nikt nie przeszedł jeszcze próbnego logowania",
        "test_outdated": "próbne logowanie jest zbyt dawne lub dotyczyło innych metadanych",
        "sso_off": "logowanie jednokrotne nie jest włączone",
        "cert_expired": "wszystkie certyfikaty podpisujące dostawcy tożsamości wygasły",
        "idp_changed": "metadane wskazują innego dostawcę tożsamości niż ten, którego sprawdzono",
        "metadata_expired": "metadane dostawcy tożsamości straciły ważność",
        "kc_idp_disabled": "dostawca tożsamości jest wyłączony w Keycloak",
        "kc_signature_off": "Keycloak nie sprawdza podpisów",
        "kc_version_vulnerable": "ta wersja Keycloak ma znane luki w SAML",
        "kc_unreachable": "nie można odczytać Keycloak",
        "clock_behind": "zegar serwera spóźnia się względem zapisanych dowodów",
    },
}
"""Why single sign-on is not proved (``sync.suspended``, ``sso.forecast``), by the code of the gate."""


def plural(number: int, *forms: str) -> str:
    """The form of a noun that goes with ``number``: two forms as in English (``seat``, ``seats``), three as in Polish
    (``miejsce``, ``miejsca``, ``miejsc``). Raises ``ValueError`` for another count of forms."""
    if len(forms) not in {2, 3}:
        raise ValueError("a noun has two forms (seat, seats) or three (miejsce, miejsca, miejsc)")
    if number == 1:
        return forms[0]
    few = 2 <= abs(number) % 10 <= 4 and not 12 <= abs(number) % 100 <= 14
    return forms[1] if few or len(forms) == 2 else forms[2]


def counted(number: int, *forms: str) -> str:
    """``3 seats``, ``3 miejsca``: the number before its form (``plural``)."""
    return f"{number} {plural(number, *forms)}"
