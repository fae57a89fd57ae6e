"""L7: every mail in a real browser, in both languages, as wide as a telephone and as a desk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from connector.delivery.mail.kinds import KINDS, MailKind
from connector.delivery.mail.words import Item, Letter, Templates, example
from ledger.settings import Language
from tests.parts.chromium import chromium

_LONG = "ou=" + "structural-engineering" * 8 + ",dc=acme,dc=example"
_BROKEN = """() => [...document.querySelectorAll('code span')].filter(one => one.getClientRects().length > 1)
    .map(one => one.textContent)"""
_SMALLEST = """() => Math.min(...[...document.querySelectorAll('body *')].filter(one => one.textContent.trim())
    .map(one => parseFloat(getComputedStyle(one).fontSize)))"""


@pytest.mark.parametrize("width", [320, 1280])
def test_l7_every_mail_is_whole_and_asks_nobody(width: int) -> None:
    wrong: list[str] = []
    asked: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 640})
        page.on("request", lambda request: asked.append(request.url))
        for kind in KINDS.values():
            for language in get_args(Language):
                for letter in (example(kind), _long(kind)):
                    mail = Templates().render(kind, language, letter)
                    page.set_content(mail.html)
                    seen = page.inner_text("body")
                    where = f"{kind.name} {language} {width}"
                    if page.evaluate("document.documentElement.scrollWidth") > width:
                        wrong.append(f"{where}: wider than the window")
                    if broken := page.evaluate(_BROKEN):
                        wrong.append(f"{where}: {broken} is broken in two")
                    if page.evaluate(_SMALLEST) < 13:
                        wrong.append(f"{where}: letters too small to read")
                    if letter.link and not page.get_by_role("link").first.is_visible():
                        wrong.append(f"{where}: no link to click")
                    wrong += [f"{where}: {word} is in the text only" for word in _facts(mail.text) if word not in seen]
    assert wrong == []
    assert asked == []


def _long(kind: MailKind) -> Letter:
    """With words that do not fit into a line."""
    payload: dict[str, Any] = {
        key: _LONG if key in {"dn", "group", "source", "team", "name", "why"} else value
        for key, value in kind.example.items()
    }
    letter = example(kind)
    return replace(letter, items=(Item(payload, letter.items[0].at, _LONG),), named="acme")


def _facts(text: str) -> set[str]:
    """Addresses of pages, options of commands, days and digests."""
    words = {word.strip(".,;:()") for word in text.split()} - {"--"}
    return {word for word in words if word.startswith(("http", "--", "20")) or (len(word) > 11 and word.isalnum()
            and any(one.isdigit() for one in word))}  # fmt: skip
