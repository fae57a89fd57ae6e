"""The pages that people see: one template (``page.j2``), its words in English and Polish, and how a page is answered.

A page is one sentence, what follows from it, and at most one thing to do. It is in the language that the browser asks
for, else in the organization's (``[mail] language``); what the system says of its reasons is English and marked so.
Prohibition: no script, nothing from elsewhere, and no markup of anybody's but the template's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, get_args

from aiohttp import hdrs, web
from jinja2 import Environment, StrictUndefined

from connector.sso.saml.request_seal import MAX_COOKIE, Seal
from ledger.instant import from_micros, to_micros
from ledger.settings import Language

_Words = Mapping[Language, tuple[str, ...]]

KINDS: Final[Mapping[str, _Words]] = {
    "invited": {
        "en": ("You are invited by {name}.", "Sign in at your organization's own page to accept."),
        "pl": ("{name} zaprasza Cię.", "Zaloguj się na stronie swojej organizacji, aby przyjąć zaproszenie."),
    },
    "claimed": {
        "en": ("This invite to {name} was claimed already.", "Sign in as you always do."),
        "pl": ("To zaproszenie do {name} zostało już przyjęte.", "Zaloguj się tak jak zwykle."),
    },
    "over": {
        "en": ("This invite to {name} no longer stands.", "Ask your administrator for another."),
        "pl": ("To zaproszenie do {name} straciło ważność.", "Poproś administratora o nowe."),
    },
    "no_invite": {
        "en": ("This link is not, or no longer, an invite.", "Ask your administrator."),
        "pl": ("Ten odnośnik nie jest zaproszeniem albo przestał nim być.", "Zapytaj administratora."),
    },
    "not_on": {
        "en": ("Single sign-on is not on here.", "Ask your administrator."),
        "pl": ("Logowanie jednokrotne nie jest tu włączone.", "Zapytaj administratora."),
    },
    "nobody": {
        "en": ("There is no such organization here.", "Follow the link in your mail, or ask your administrator."),
        "pl": ("Nie ma tu takiej organizacji.", "Skorzystaj z odnośnika w wiadomości albo zapytaj administratora."),
    },
    "refused": {
        "en": (
            "The sign-in could not be completed.",
            "Start again from the sign-in page, or ask your administrator.",
        ),
        "pl": (
            "Nie udało się zakończyć logowania.",
            "Zacznij od nowa na stronie logowania albo zapytaj administratora.",
        ),
    },
    "busy": {
        "en": ("Too many people are signing in at once.", "Try again in a moment."),
        "pl": ("Zbyt wiele osób loguje się jednocześnie.", "Spróbuj ponownie za chwilę."),
    },
    "test_not_begun": {
        "en": ("The test sign-in cannot begin.",),
        "pl": ("Nie można rozpocząć próbnego logowania.",),
    },
    "test_passed": {
        "en": ("The test sign-in for {domain} passed.",),
        "pl": ("Próbne logowanie dla {domain} powiodło się.",),
    },
    "test_refused": {
        "en": ("The test sign-in for {domain} was refused.",),
        "pl": ("Próbne logowanie dla {domain} zostało odrzucone.",),
    },
    "signed_in": {"en": ("You are signed in.",), "pl": ("Zalogowano.",)},
    "welcome": {
        "en": ("Welcome, {mail}.", "You are signed in."),
        "pl": ("Witaj, {mail}.", "Zalogowano."),
    },
    "turned_away": {
        "en": ("You cannot come in with this sign-in.", "Ask your administrator, and name the reference below."),
        "pl": ("To logowanie nie daje tu wstępu.", "Zapytaj administratora i podaj poniższy numer sprawy."),
    },
    "lapsed": {
        "en": (
            "There is nothing more to show here.",
            "This page told for a while, in one browser, how a sign-in ended. That still holds; you can close it.",
        ),
        "pl": (
            "Ta strona nic już nie pokazuje.",
            "Przez chwilę i w jednej przeglądarce mówiła, jak skończyło się logowanie. Nic się nie zmieniło; możesz"
            " ją zamknąć.",
        ),
    },
    "front": {
        "en": (
            "This is where accounts are looked after.",
            "If you got a mail from here, follow the link in it. There is nothing else to do on this page.",
        ),
        "pl": (
            "Tu zarządza się kontami.",
            "Jeśli masz stąd wiadomość, skorzystaj z odnośnika, który w niej jest. Nic innego nie trzeba tu robić.",
        ),
    },
}
"""What a page says: its one sentence, and what follows from it."""

NOTES: Final[Mapping[str, Mapping[Language, str]]] = {
    "seats": {"en": "Seats: {seats}.", "pl": "Miejsca: {seats}."},
    "for_another": {
        "en": "The invite that you followed is for somebody else.",
        "pl": "Zaproszenie, z którego skorzystano, jest dla kogoś innego.",
    },
}
"""What a page may say besides."""

_ACTIONS: Final[Mapping[str, Mapping[Language, str]]] = {
    "invited": {"en": "Sign in", "pl": "Zaloguj się"},
    "claimed": {"en": "Sign in", "pl": "Zaloguj się"},
    "refused": {"en": "Start again", "pl": "Zacznij od nowa"},
    "busy": {"en": "Start again", "pl": "Zacznij od nowa"},
}
_REFERENCE: Final[Mapping[Language, str]] = {"en": "Reference: {}", "pl": "Numer sprawy: {}"}
_NOBODY: Final[Mapping[Language, str]] = {"en": "Accounts", "pl": "Konta"}

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SOURCE = Path(__file__).with_name("page.j2").read_text(encoding="utf-8")
_STYLE = base64.b64encode(hashlib.sha256(_SOURCE.partition("<style>")[2].partition("</style>")[0].encode()).digest())
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE.decode()}'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    _SOURCE
)
_LANGUAGES: tuple[Language, ...] = get_args(Language)
_QUALITY = re.compile(r"q=([01](?:\.\d{0,3})?)")
_LONGEST = 400
"""Characters of one value on a page that a cookie keeps."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Whose a page is (empty: nobody's in particular), and its language where the browser asks for none of ours."""

    name: str = ""
    language: Language = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page without its language. ``kind``: of ``KINDS``; ``values``: what is put into its words; ``notes``: of
    ``NOTES``; ``reasons``: what the system says, in English; ``way``: where its one action leads (empty: it has
    none)."""

    kind: str
    status: int = 200
    values: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    reference: str = ""
    way: str = ""

    def html(self, letterhead: Letterhead, language: Language) -> str:
        """The whole page."""
        sentences = (*KINDS[self.kind][language], *(NOTES[note][language] for note in self.notes))
        return _TEMPLATE.render(
            language=language,
            name=letterhead.name or _NOBODY[language],
            sentences=[sentence.format_map(self.values) for sentence in sentences],
            reasons=self.reasons,
            way=self.way,
            action=_ACTIONS[self.kind][language] if self.way else "",
            reference=_REFERENCE[language].format(self.reference) if self.reference else "",
        )


def answered(request: web.Request, page: Page, letterhead: Letterhead) -> web.Response:
    """A page as it is answered to this browser."""
    asked = ",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, ()))
    return web.Response(
        text=page.html(letterhead, language_of(asked, letterhead.language)),
        status=page.status,
        content_type="text/html",
        headers={**HEADERS, "Content-Security-Policy": _POLICY},
    )


def language_of(asked: str, otherwise: Language) -> Language:
    """The one of our languages that a browser likes best (``Accept-Language``); ``otherwise`` where it likes none."""
    best, found = 0.0, otherwise
    for part in asked.split(","):
        tag, _, rest = part.strip().partition(";")
        language = next((one for one in _LANGUAGES if one == tag.strip().partition("-")[0].lower()), None)
        quality = _QUALITY.fullmatch(rest.strip()) if rest else None
        likes = float(quality[1]) if quality else 0.0 if rest else 1.0
        if language is not None and likes > best:
            best, found = likes, language
    return found


def sealed(seal: Seal, organization: str, name: str, page: Page, until: datetime) -> str:
    """A page as one browser keeps it in a cookie until then; ``name`` tells it from another one of that browser. Long
    values are cut, and what the system says ends where a cookie does."""
    page = replace(page, values={key: value[:_LONGEST] for key, value in page.values.items()})
    text = seal.sealed([organization, name, to_micros(until), asdict(page)])
    if len(text) <= MAX_COOKIE or not page.reasons:
        return text
    return sealed(seal, organization, name, replace(page, reasons=page.reasons[:-1]), until)


def opened(seal: Seal, organization: str, name: str, text: str, now: datetime) -> Page | None:
    """The page that was sealed for this organization under this name; None for whatever else, and when it is over."""
    found = seal.opened(text)
    if found is None or found[:2] != [organization, name] or from_micros(found[2]) <= now:
        return None
    kept = found[3]
    return Page(**{**kept, "notes": tuple(kept["notes"]), "reasons": tuple(kept["reasons"])})
