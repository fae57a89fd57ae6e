"""Every reason that a sign-in can be refused for is in the one table of words, with a next step (N17)."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.sso.gate.explain_refusal import (
    CERTIFICATE_NEW,
    LONGEST_SHOWN,
    NOT_CLAIMED,
    RELINK_HELD,
    WORDS,
    Carried,
    Refusal,
    one_line,
    refusal_of,
)
from connector.sso.saml.response import SignInRefused
from tests.parts.installation import run

SSO = Path(__file__).resolve().parents[3] / "connector" / "sso"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
REFUSED = Refusal("ab12cd34ef", AT, "test", "main", 3, "acme.example", 11, "mail_count", "0 values in the NameID")


def reasons_in_the_code() -> set[str]:
    """Second argument of every ``SignInRefused``, first of every ``BadXml`` and of what makes one."""
    found = {CERTIFICATE_NEW, NOT_CLAIMED, RELINK_HELD}
    for path in SSO.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            place = {"SignInRefused": 1, "BadXml": 0, "NoSubject": 0, "_refuse": 0}.get(call.func.id)
            if place is not None and len(call.args) > place and isinstance(call.args[place], ast.Constant):
                found.add(call.args[place].value)  # type: ignore[attr-defined]
    return found


def test_n17_every_reason_has_words_and_no_words_are_for_nothing() -> None:
    assert reasons_in_the_code() == set(WORDS)


@pytest.mark.parametrize("reason", WORDS)
def test_n17_words_say_what_it_means_and_what_to_do(reason: str) -> None:
    meaning, step = WORDS[reason]
    assert meaning
    assert not meaning.endswith(".")
    assert "rosterd " in step, "each ends in a command"
    assert step.format(domain="acme.example").count("{") == 0


def test_n17_the_commands_exist() -> None:
    texts = " ".join(step for _, step in WORDS.values())
    named = {tuple(words.split()) for words in re.findall(r"rosterd ((?:sso )?[\w-]+)", texts)}
    assert len(named) > 4
    for words in named:
        assert run(*words, "--help").code == 0, words


def test_n17_facts_come_back_as_they_went() -> None:
    refusal = Refusal("ab", AT, "login", "main", 1, "", 2, "status", "x", Carried(("mail", "sn"), "urn:transient"))
    assert refusal_of(AT, refusal.facts()) == refusal
    assert refusal_of(AT, {**refusal.facts(), "reason": "of a later release"}).in_words()[0].startswith("of a later")


EVIL = "x\n  → rosterd sso connect https://evil.example/\x9b31m\u202e\u2028\x1b[2J"


def test_what_others_write_is_one_printable_line() -> None:
    """Nothing an anonymous posts begins a line of its own, or moves the cursor, in an admin's terminal."""
    assert one_line("größe, 値 und ☃") == "größe, 値 und ☃"
    assert one_line(EVIL).isprintable()
    assert len(one_line("x" * 10_000)) == LONGEST_SHOWN
    assert SignInRefused(2, "status", EVIL).detail.isprintable()
    kept = Refusal("ab", AT, "login", "main", 1, "", 2, "status", EVIL, Carried((EVIL,), EVIL))
    assert all(line.isprintable() for line in refusal_of(AT, kept.facts()).in_words()), "and what was kept before"


def test_n17_what_came_is_told_by_name() -> None:
    words = Refusal(**{**_fields(REFUSED), "carried": Carried(("mail", "groups"), "urn:transient")}).in_words()
    assert words[0] == (
        "there is not exactly one mail address where it is looked for (mail_count, step 11: 0 values in the NameID)"
    )
    assert words[1] == "it carried the attributes: mail, groups; NameID format: urn:transient"
    assert words[2].startswith("→ have the provider send one mail address")


def _fields(refusal: Refusal) -> dict[str, object]:
    return {name: getattr(refusal, name) for name in Refusal.__slots__}
