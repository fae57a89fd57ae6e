"""Every page that people see, in a real browser: in both languages, on a telephone and at a desk, light and dark."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from connector.sso.pages import KINDS, NOTES, Letterhead, Page
from ledger.settings import Language
from tests.parts.chromium import chromium

_LONG = "structural-engineering" * 8
_VALUES = {
    "name": f"Acme {_LONG}",
    "domain": f"{_LONG}.example",
    "mail": f"{_LONG}@acme.example",
    "seats": "CAD, " * 60,
}
_CONTRAST = """() => {
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const light = text => { const [r, g, b] = parts(text).map(one => one / 255)
        .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const found = document.querySelector('.go');
    if (!found) return 21;
    const style = getComputedStyle(found), [a, b] = [light(style.color), light(style.backgroundColor)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }"""


def pages(language: Language) -> dict[str, str]:
    """Every page with all that it may say, in long words."""
    shown = {}
    for kind in KINDS:
        way = f"/sso/acme/login?domain={_LONG}" if kind in {"invited", "claimed", "refused", "busy"} else ""
        page = Page(kind=kind, values=_VALUES, notes=tuple(NOTES), reasons=(f"→ rosterd sso on {_LONG}.example",),
                    reference="0123456789", way=way)  # fmt: skip
        shown[kind] = page.html(Letterhead(_VALUES["name"]), language)
    return shown


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_whole_and_its_action_is_one_key_away(width: int, scheme: Any) -> None:
    wrong: list[str] = []
    asked: list[str] = []
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": width, "height": 640}, color_scheme=scheme)
        tab.on("request", lambda request: asked.append(request.url))
        for language in get_args(Language):
            for kind, html in pages(language).items():
                tab.set_content(html)
                where = f"{kind} {language} {width} {scheme}"
                if tab.evaluate("document.documentElement.scrollWidth") > width:
                    wrong.append(f"{where}: wider than the window")
                if tab.evaluate("document.documentElement.lang") != language or tab.title() != _VALUES["name"]:
                    wrong.append(f"{where}: without its language, or whose it is")
                if tab.get_by_role("heading").count() != 1 or tab.get_by_role("link").count() > 1:
                    wrong.append(f"{where}: not one sentence and one action")
                if tab.evaluate(_CONTRAST) < 4.5:
                    wrong.append(f"{where}: the action cannot be read")
                tab.keyboard.press("Tab")
                if tab.get_by_role("link").count() and tab.evaluate("document.activeElement.className") != "go":
                    wrong.append(f"{where}: the action is not reached by the keyboard")
    assert wrong == []
    assert asked == []
