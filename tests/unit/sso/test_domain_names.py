"""Which names may be registered as a domain (sso.md §0: pitfalls)."""

from __future__ import annotations

import pytest

from connector.sso.domain_names import normalise, overlaps, require_registrable
from connector.sso.gate import domains
from connector.sso.settings import DnsSettings, DomainSettings
from ledger.errors import Refused


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("ACME.com", "acme.com"),
        (" acme.com. ", "acme.com"),
        ("łódź.pl", "xn--d-uga0v4h.pl"),
        ("ŁÓDŹ.PL", "xn--d-uga0v4h.pl"),
        ("xn--d-uga0v4h.pl", "xn--d-uga0v4h.pl"),
        ("faß.de", "xn--fa-hia.de"),  # not fass.de: another owner
        ("fass.de", "fass.de"),
        ("sub.acme.co.uk", "sub.acme.co.uk"),
    ],
)
def test_normal_form(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        *("acme.com:443", "*.acme.com", "https://acme.com", "@acme.com", "10.0.0.1", "[::1]", "2001:db8::1", "acme"),
        *("", "acme..com", "-acme.com", "ac me.com", "xn--.com", "xn--a.com", "a" * 64 + ".com", "1.2.3.4.5"),
        "acme.com/x",
    ],
)
def test_what_is_no_domain(raw: str) -> None:
    with pytest.raises(ValueError, match=r"is|holds"):
        normalise(raw)


@pytest.mark.parametrize(
    "raw",
    [
        *("gmail.com", "GoogleMail.com", "wp.pl", "mail.gmail.com", "co.uk", "com.pl", "github.io", "acme.local"),
        *("pl", "herokuapp.com", "1.0.10.in-addr.arpa", "*.acme.com"),
    ],
)
def test_names_nobody_may_register(raw: str) -> None:
    with pytest.raises(Refused):
        require_registrable(raw)


@pytest.mark.parametrize("raw", ["acme.com", "acme.github.io", "mail.acme.co.uk", "acme.example", "notgmail.com"])
def test_names_somebody_may_own(raw: str) -> None:
    assert require_registrable(raw) == raw


def test_overlaps_are_equal_parent_and_child() -> None:
    assert overlaps("acme.com", "acme.com")
    assert overlaps("eu.acme.com", "acme.com")
    assert overlaps("acme.com", "eu.acme.com")
    assert not overlaps("notacme.com", "acme.com")


def test_tokens_are_52_letters_and_found_whatever_stands_around_them() -> None:
    token = domains.make_token(bytes(range(32)))
    assert len(token) == 52
    expected = domains.token_hash(token)
    assert domains.holds_token([domains.record_value(token)], expected)
    assert domains.holds_token(["x", f"token={token.upper()}"], expected)
    assert not domains.holds_token([token, f"xtoken={token}", f"token={token}x", f"token={token[:-1]}"], expected)
    assert not domains.holds_token([domains.record_value(domains.make_token(bytes(32)))], expected)


def test_settings_refuse_one_resolver_and_long_grace() -> None:
    assert DnsSettings(resolvers=("9.9.9.9", "[2620:fe::fe]:5353")).addresses() == (
        ("9.9.9.9", 53),
        ("2620:fe::fe", 5353),
    )
    for wrong in (("9.9.9.9:53",), ("9.9.9.9", "9.9.9.9:53"), ("dns.example:53", "1.1.1.1")):
        with pytest.raises(ValueError, match="resolvers"):
            DnsSettings(resolvers=wrong)
    assert DomainSettings(name="Acme.Example").name == "acme.example"
    with pytest.raises(ValueError, match="72h"):
        DomainSettings.model_validate({"name": "acme.example", "grace": "73h"})
