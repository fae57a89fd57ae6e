"""Reason codes in words, each with the step that removes it (R2, R5). Pure: no I/O here."""

from __future__ import annotations

from collections.abc import Iterable

from connector.sso.gate.domains import DomainStanding, DomainState, proof_place
from ledger.instant import to_minute, to_text

_STEPS: dict[str, tuple[str, str]] = {
    "domain_unverified": (
        "the domain is not proved to be the organization's",
        "publish what rosterd sso add printed, then: rosterd sso verify {domain}",
    ),
    "domain_lost": (
        "the proof of the domain is lost",
        "rosterd sso verify {domain}",
    ),
    "domain_undeclared": (
        "the organization's file no longer names the domain: nobody of it is added or removed, sign-ins go on",
        'put [[domains]] name = "{domain}" back, or give it up: rosterd sso release {domain}',
    ),
    "no_connection": (
        "no identity provider is connected to the domain",
        "rosterd sso connect METADATA",
    ),
    "not_tested": (
        "nobody of the domain has passed a test sign-in with this identity provider",
        "rosterd sso test {domain}",
    ),
    "test_outdated": (
        "the test sign-in is older than 7 days or was made with other metadata",
        "rosterd sso test {domain}",
    ),
    "sso_off": ("single sign-on is not turned on", "rosterd sso on {domain}"),
    "cert_expired": (
        "every signing certificate of the identity provider has expired",
        "get its new metadata, then: rosterd sso connect METADATA",
    ),
    "idp_changed": (
        "the address of its metadata shows another identity provider than the one that was tested, or none of its"
        " certificates",
        "if that is right: rosterd sso test {domain}, then: rosterd sso on {domain}; if not, correct the address:"
        " rosterd sso connect METADATA",
    ),
    "metadata_expired": (
        "the identity provider's metadata has passed its validUntil",
        "get its new metadata, then: rosterd sso connect METADATA",
    ),
    "kc_idp_disabled": ("Keycloak has the identity provider disabled", "enable it in Keycloak"),
    "kc_signature_off": ("Keycloak does not check signatures", "switch signature validation on in Keycloak"),
    "kc_version_vulnerable": ("this Keycloak version has known holes in SAML", "upgrade Keycloak"),
    "kc_unreachable": ("Keycloak cannot be read", "rosterd check --live"),
    "clock_behind": ("the clock of this machine is behind the recorded evidence", "correct the clock"),
}

_WARNINGS = {
    "cert": "the last signing certificate of the identity provider expires in {days} days at most: ask for new metadata"
    ", then: rosterd sso connect METADATA",
    "metadata": "the metadata passes its validUntil in {days} days at most: get it anew, then: rosterd sso connect"
    " METADATA",
    "idp_change_seen": "the address of the metadata has shown another identity provider; a second look that shows it"
    " closes the gate: rosterd sso status",
    "new_certificates_seen": "the address of the metadata has shown new certificates only, none of those in force; a"
    " second look that shows them closes the gate: if the provider exchanged its key, test the version that waits and"
    " turn it on: rosterd sso status",
    "metadata_unreachable": "the metadata can no longer be fetched; sign-ins go on, and new certificates will not be"
    " seen: correct the address, or rosterd sso connect METADATA",
}


_ANOTHER_VALUE = "another value: rosterd sso add {domain}"
"""The value is shown once, and only its hash is kept."""
_ALSO: dict[str, tuple[str, ...]] = {
    "no_connection": ("not_tested", "sso_off"),
    "not_tested": ("sso_off",),
    "test_outdated": ("sso_off",),
}
"""What is missing too when this is: the gate names the first reason, an admin wants the whole way."""


def whole_way(domain: str, reasons: Iterable[str], standing: DomainStanding | None = None) -> tuple[str, ...]:
    """As ``missing_steps``, with the steps that only come after: everything between here and an open gate (R5)."""
    reasons = tuple(reasons)
    if standing and not standing.proved and {"domain_unverified", "domain_undeclared"} <= set(reasons):
        what = "it was never proved, and the organization's file no longer names it: put it back there, or give it up"
        return (f"{domain}: {what} (domain_undeclared) → rosterd sso release {domain}",)
    every = [step for reason in reasons for step in (reason, *_ALSO.get(reason, ()))]
    return missing_steps(domain, sorted(dict.fromkeys(every), key=list(_STEPS).index), standing)


def missing_steps(domain: str, reasons: Iterable[str], standing: DomainStanding | None = None) -> tuple[str, ...]:
    """One sentence per reason: what is missing, and the next command, for one domain. ``standing`` says why."""
    found = []
    for reason in reasons:
        own = _of_domain(domain, reason, standing) if standing else None
        what, step = own or _STEPS[reason]
        found.append(f"{domain}: {what} ({reason}) → {step.format(domain=domain)}")
    return tuple(found)


def proof_missing(domain: str, standing: DomainStanding) -> str:
    """What to do about a domain whose proof is missing and that is not lost yet; empty for any other."""
    if standing.state is not DomainState.STALE or standing.lost_at is None:
        return ""
    place = proof_place(domain, standing.way)
    what = f"{domain}: its proof is missing ({standing.why}) and lost on {to_minute(standing.lost_at)}"
    another = _ANOTHER_VALUE.format(domain=domain)
    return f"{what} → publish {place} again ({another}), then: rosterd sso verify {domain}"


def warning_in_words(warning: str) -> str:
    """What a warning of a connection means, and what ends it."""
    kind, separator, days = warning.partition("_expires_in_")
    return _WARNINGS[kind].format(days=days.removesuffix("d")) if separator else _WARNINGS[warning]


def _of_domain(domain: str, reason: str, standing: DomainStanding) -> tuple[str, str] | None:
    """What is said of a domain that is not proved (any more), when its checks tell more than the reason does."""
    if reason == "domain_lost":
        place = proof_place(domain, standing.way)
        if not standing.silent:
            step = f"publish {place} again ({_ANOTHER_VALUE}), then: rosterd sso verify {{domain}}"
            return f"its proof is gone: {standing.why}", step
        what = f"its proof could not be seen for 7 days: {standing.why}"
        return what, f"see that every resolver can read {place}, then: rosterd sso verify {{domain}}"
    if reason == "domain_unverified" and standing.state is DomainState.FAILED:
        return f"its token ran out on {to_text(standing.since)}", "rosterd sso add {domain}"
    return None
