"""N3: two addresses are one mailbox exactly when their letters differ in nothing but case; a key folds more."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.identity import Email

SAME = [
    ("anna@acme.example", "ANNA@Acme.Example."),
    ("\u0142ukasz@acme.example", "\u0141UKASZ@acme.example"),
    ("zo\u00eb@acme.example", "zoe\u0308@acme.example"),
    ("\u00c5sa@acme.example", "\u212bsa@acme.example"),  # the Angstrom sign is the letter, by NFC
    ("stra\u00dfe@acme.example", "STRA\u1e9eE@acme.example"),
    ('"a.b"@acme.example', '"A.B"@acme.example'),
    ("anna@fa\u00df.example", "anna@xn--fa-hia.example"),
]
TWO = [
    ("\u017fam@acme.example", "sam@acme.example"),
    ("wei\u00df@acme.example", "weiss@acme.example"),
    ("\ufb01n@acme.example", "fin@acme.example"),
    ("\u03c3\u03c2@acme.example", "\u03c3\u03c3@acme.example"),
    ("\u0130da@acme.example", "i\u0307da@acme.example"),
    ("\u0131da@acme.example", "ida@acme.example"),
    ("\uff41nna@acme.example", "anna@acme.example"),
    ("\u0430nna@acme.example", "anna@acme.example"),
    ("anna.@acme.example", "anna@acme.example"),
    ('"anna"@acme.example', "anna@acme.example"),
    ("anna+x@acme.example", "anna@acme.example"),
    ("anna@fa\u00df.example", "anna@fass.example"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_n3_one_mailbox(one: str, other: str) -> None:
    assert Email.asserted(one).mailbox == Email.asserted(other).mailbox
    assert Email.asserted(one) == Email.asserted(other)


@pytest.mark.parametrize(("one", "other"), TWO)
def test_n3_two_mailboxes(one: str, other: str) -> None:
    assert Email.asserted(one).mailbox != Email.asserted(other).mailbox


@pytest.mark.parametrize("sign", ["\u212a", "\u037e", "\u1fef"])
def test_n3_what_becomes_ascii_by_being_normalised_is_no_address(sign: str) -> None:
    with pytest.raises(ValueError, match="written as another one"):
        Email.asserted(f"{sign}ate@acme.example")
    assert Email.parse(f"{sign}ate@acme.example")  # a directory may write so


LETTERS = st.sampled_from(
    "aAkKsSiI\u017f\u212a\u00df\u1e9e\u0130\u0131\ufb01\u0141\u0142\u03a3\u03c2\u03c3e\u0308\u00eb\u00cb."
)
LOCALS = st.text(LETTERS | st.characters(categories=("L", "M", "N")), min_size=1, max_size=6)


@given(LOCALS, LOCALS)
@example("\u212aa", "ka")
@example("\u0130", "i\u0307")
def test_n3_one_mailbox_is_letter_by_letter_but_for_case(one: str, other: str) -> None:
    parsed = []
    for local in (one, other):
        try:
            parsed.append(Email.asserted(f"{local}@acme.example"))
        except ValueError:
            return
    left, right = (unicodedata.normalize("NFC", local) for local in (one, other))
    alike = len(left) == len(right) and all(
        a == b or (a.lower() == b.lower() and a.isascii() == b.isascii()) for a, b in zip(left, right, strict=True)
    )
    assert (parsed[0].mailbox == parsed[1].mailbox) == alike
    if alike:
        assert parsed[0].key == parsed[1].key
