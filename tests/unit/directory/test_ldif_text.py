"""LDIF (D15; RFC 2849)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.directory.ldif.text import parse
from tests.parts.company import firm, record

ANNA = "dn: uid=anna,dc=x\nuid: anna\nmail: anna@acme.example\n"


def faults(text: str) -> list[str]:
    return parse(text.encode()).faults


def test_d15_base64_folding_comments_and_line_ends() -> None:
    text = (
        "version: 1\r\n# a comment\r\n  that goes on\r\ndn:: dWlkPcWBdWthc3osZGM9eA==\r\n"
        "cn:: xYF1a2Fzeg==\r\nDescription: folded\r\n  here\r\nmail;lang-pl:x@y\r\n\r\n\r\n" + ANNA
    )
    contents = parse(text.encode())
    assert contents.faults == []
    assert contents.entries[0] == (
        "uid=Łukasz,dc=x",
        {"cn": ["Łukasz".encode()], "description": [b"folded here"], "mail;lang-pl": [b"x@y"]},
    )
    assert contents.entries[1][0] == "uid=anna,dc=x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (ANNA + "jpegPhoto:< file:///etc/passwd\n", "by reference"),
        ("dn: cn=x\nchangetype: delete\n", "change record"),
        ("version: 2\n\n" + ANNA, "version 1"),
        (ANNA[:-1], "cut off"),
        (ANNA + "cn:: abc\n", "not base64"),
        (ANNA + "garbage\n", "not an attribute and a colon"),
        ("# exported: yesterday\n" + ANNA, "'yesterday' is no time with its zone"),
        ("# exported: 2026-11-29T10:00:00\n" + ANNA, "is no time with its zone"),
        ("uid: anna\n", "begins with dn:"),
        ("dn: uid=anna,dc=x\n", "has no attributes"),
        (" continuation\n" + ANNA, "continuation of nothing"),
        ("# entries: 2\n\n" + ANNA + "\n", "2 entries are declared, 1 are there"),
        ("# entries: 1\n\n" + ANNA, "not ended by an empty line"),
        (ANNA + "\n# search result\nsearch: 2\nresult: 4 Size limit exceeded\n", "ended with result 4 Size limit"),
        ("dn:: /w==\ncn: x\n", "not UTF-8"),
    ],
)
def test_d15_what_is_wrong_is_said(text: str, words: str) -> None:
    assert any(words in fault for fault in faults(text)), faults(text)


def test_d15_what_windows_writes_before_the_text_is_no_fault_and_utf_16_is_named() -> None:
    assert parse(ANNA.encode("utf-8-sig")) == parse(ANNA.encode())
    contents = parse(ANNA.encode("utf-16"))
    assert contents.entries == []
    assert contents.faults == ["the file is UTF-16: export it as UTF-8 (ldifde without -u, not by PowerShell)"]


def test_d15_ldapsearch_s_own_trailer_proves_the_export() -> None:
    text = ANNA + "\n# search result\nsearch: 2\nresult: 0 Success\n\n# numResponses: 2\n# numEntries: 1\n"
    contents = parse(text.encode())
    assert contents.faults == []
    assert contents.declared == 1


def test_d15_cut_at_every_byte_is_never_an_exception_and_never_complete_when_counted() -> None:
    whole = firm(8).ldif(count=True).encode()
    people = {name for name, _ in parse(whole).entries}
    assert parse(whole).faults == []
    for end in range(len(whole)):
        contents = parse(whole[:end])
        assert contents.faults or contents.declared is None, whole[:end][-60:]
        assert {name for name, _ in contents.entries if name not in people} == set(), end


def test_d15_a_cut_file_does_not_show_its_last_half_entry() -> None:
    text = ANNA + "\ndn: uid=jan,dc=x\nmail: jan@acme.exam"
    contents = parse(text.encode())
    assert [name for name, _ in contents.entries] == ["uid=anna,dc=x"]


@given(st.binary(max_size=400))
def test_d15_no_bytes_ever_raise(content: bytes) -> None:
    parse(content)


@given(
    st.lists(st.tuples(st.sampled_from(["cn", "mail", "sn;lang-pl"]), st.binary(max_size=200)), min_size=1, max_size=5)
)
def test_d15_what_is_written_is_read_back(values: list[tuple[str, bytes]]) -> None:
    contents = parse(record([("dn", "cn=Zażółć, dc=x"), *values]).encode())
    assert contents.faults == []
    expected: dict[str, list[bytes]] = {}
    for name, value in values:
        expected.setdefault(name, []).append(value)
    assert contents.entries == [("cn=Zażółć, dc=x", expected)]


@pytest.mark.parametrize("text", ["2026-11-29T10:00:00Z", "2026-11-29T11:00:00+01:00"])
def test_e2_a_file_may_say_when_it_was_exported(text: str) -> None:
    contents = parse(f"# Exported: {text}\n{ANNA}".encode())
    assert (contents.exported, contents.faults) == (datetime(2026, 11, 29, 10, tzinfo=UTC), [])
    assert parse(ANNA.encode()).exported is None
