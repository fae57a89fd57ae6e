"""N12: a URL means one host to everybody, or is refused; and no error repeats a password."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.outbound.urls import MOST_CHARACTERS, Target
from ledger.errors import BadInput

READ = {
    "https://idp.acme.example": ("idp.acme.example", 443, "/", "idp.acme.example"),
    "HTTPS://IDP.Acme.Example/Meta": ("idp.acme.example", 443, "/Meta", "idp.acme.example"),
    "https://idp.acme.example./x": ("idp.acme.example", 443, "/x", "idp.acme.example"),
    "https://idp.acme.example:443/x": ("idp.acme.example", 443, "/x", "idp.acme.example"),
    "https://idp.acme.example:8443/x": ("idp.acme.example", 8443, "/x", "idp.acme.example:8443"),
    "https://bücher.example/x": ("xn--bcher-kva.example", 443, "/x", "xn--bcher-kva.example"),
    "https://faß.example": ("xn--fa-hia.example", 443, "/", "xn--fa-hia.example"),
    "https://localhost:1/a/../b?c=d@e": ("localhost", 1, "/a/../b?c=d@e", "localhost:1"),
    "https://host?x=/y": ("host", 443, "/?x=/y", "host"),
    "https://1.2.3.4/x": ("1.2.3.4", 443, "/x", "1.2.3.4"),
    "https://[2A00:0:0::1]:444/x": ("2a00::1", 444, "/x", "[2a00::1]:444"),
    "https://[::ffff:127.0.0.1]/": ("::ffff:7f00:1", 443, "/", "[::ffff:7f00:1]"),
    "http://127.0.0.1:8080/x": ("127.0.0.1", 8080, "/x", "127.0.0.1:8080"),
}
REFUSED = (
    "", "idp.acme.example", "//idp.acme.example/", "ftp://idp.acme.example/", "file:///etc/passwd", "https:idp.example",
    "https://", "https:///x", "https://:443/", "https://host:/", "https://host:0/", "https://host:65536/",
    "https://host:99999999999/", "https://host:+443/", "https://host:4 43/", "https://host:\u0664\u0664\u0663/",
    "https://user@host/", "https://user:word@host/", "https://@host/", "https://host@/", "https://a@b@host/",
    "https://host\\@other/", "https:\\\\host\\", "https://host\\.other/", "https://host#@other/", "https://host/#x",
    "https://ho\tst/", "https://ho\nst/", "\thttps://host/", " https://host/", "https://host/ ",
    "https://host/\r\nX: y",
    "https://ho st/", "https://ho\x00st/", "https://host/\x7f", "https://ho\u2028st/", "https://host\u00a0/",
    "https://a..b/", "https://.host/", "https://host../", "https://./", "https://-host/", "https://host-/",
    "https://ho_st/", "https://h*st/", "https://ho%73t/", "https://127.0.0.1%2f/", f"https://{'a' * 64}.example/",
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://017700000001/", "https://0177.0.0.1/",
    "https://127.1/", "https://127.0.1/", "https://1.2.3.4.5/", "https://256.1.1.1/", "https://1.2.3.4./",
    "https://host.1/", "https://host.0x1/", "https://host.0x/", "https://127。0。0。1/", "https://１２７.0.0.1/",
    "https://①②⑦.0.0.1/", "https://[::1/", "https://::1/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/",
    "https://[127.0.0.1]/", "https://[v1.x]/", "https://[::1]x/", "https://[]/", "https://x[::1]/", "https://[[::1]]/",
    "https://host/ä", "https://host/?ä", "https://ex\u2100mple/", "https://a\u200db.example/",
    "https://host/" + "a" * MOST_CHARACTERS,
)  # fmt: skip


@pytest.mark.parametrize(("text", "read"), READ.items())
def test_n12_a_plain_address_is_read(text: str, read: tuple[str, int, str, str]) -> None:
    target = Target.parse(text)
    assert (target.host, target.port, target.path, target.authority) == read


@pytest.mark.parametrize("text", REFUSED)
def test_n12_an_odd_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        Target.parse(text)
    assert caught.value.what
    assert caught.value.next_step.startswith("write https://HOST/PATH")
    assert str(caught.value).isprintable() or "\n  → " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://anna:geheim@host/", "holds a user name or password"),
        ("https://host/#part", "holds a fragment"),
        ("https://ho\tst/", "holds a space, a control character"),
        ("ftp://host/", "is not an https address"),
        ("https://host:70000/", "has a port that does not exist"),
        ("https://127.1/", "neither a domain name nor a plainly written IP address"),
        ("https://host/ä", "must be written as %XX"),
    ],
)
def test_an_odd_address_is_told_what_is_odd(text: str, why: str) -> None:
    with pytest.raises(BadInput) as caught:
        Target.parse(text)
    assert why in caught.value.what


@pytest.mark.parametrize("text", ["https://1.2.3.4/", "https://[::1]/"])
def test_a_plainly_written_ip_address_is_known_as_one(text: str) -> None:
    target = Target.parse(text)
    assert target.literal == ip_address(target.host)


def test_an_address_takes_the_place_of_the_host_and_nothing_else() -> None:
    target = Target.parse("https://idp.acme.example/a?b=%2F")
    assert target.at(ip_address("192.0.2.1")) == "https://192.0.2.1:443/a?b=%2F"
    assert target.at(ip_address("2001:db8::1")) == "https://[2001:db8::1]:443/a?b=%2F"


@pytest.mark.parametrize(
    "text",
    [
        "https://anna:geheim@host/", "https://anna:ge?heim@host/", "https://anna:ge#heim@host/",
        "https:anna:geheim@host", "https://anna:ge/heim@ho st/", "https://ho st/?token=geheim", "https://host/#geheim",
        "geheim@host",
    ],
)  # fmt: skip
def test_n12_no_error_repeats_what_may_be_a_password(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        Target.parse(text)
    assert "heim" not in str(caught.value)


def test_n12_a_query_is_never_shown() -> None:
    assert Target.parse("https://host/a?token=geheim").shown == "https://host/a"


@given(st.text(max_size=60))
def test_n12_whatever_follows_the_scheme_is_read_or_refused(text: str) -> None:
    try:
        target = Target.parse(f"https://{text}")
    except BadInput:
        return
    assert target.host.isascii()
    assert target.path.isascii()
    assert Target.parse(f"https://{target.authority}{target.path}") == target
