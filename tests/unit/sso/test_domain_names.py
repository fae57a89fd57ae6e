"""Which names may be registered as a domain (sso.md §0: pitfalls)."""

from __future__ import annotations

import pytest

from connector.sso.domain_names import normalise, overlaps, require_registrable
from connector.sso.settings import DnsSettings, DomainSettings, Resolver
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


def test_settings_refuse_one_resolver_and_long_grace() -> None:
    settings = DnsSettings(resolvers=("9.9.9.9", "[2620:fe::fe]:5353", "tls://1.1.1.1#one.one.one.one", "[::1]"))
    assert settings.each() == (
        Resolver("9.9.9.9", 53),
        Resolver("2620:fe::fe", 5353),
        Resolver("1.1.1.1", 853, "one.one.one.one"),
        Resolver("::1", 53),
    )
    assert [item.where for item in settings.each()][1:] == [
        "[2620:fe::fe]:5353",
        "tls://1.1.1.1:853#one.one.one.one",
        "[::1]:53",
    ]
    for wrong in (
        ("9.9.9.9:53",),
        ("9.9.9.9", "9.9.9.9:53"),
        ("9.9.9.9", "9.9.9.9:5353"),
        ("9.9.9.9", "tls://9.9.9.9#dns.quad9.net"),  # one resolver asked in two ways is one resolver
        ("dns.example:53", "1.1.1.1"),
        ("2620:fe::fe:53", "1.1.1.1"),  # port 53 of one, or another address
        ("tls://2620:fe::fe:853#dns.quad9.net", "1.1.1.1"),
        ("tls://9.9.9.9:853", "1.1.1.1"),  # nothing says whose certificate it has to be
    ):
        with pytest.raises(ValueError, match="resolvers"):
            DnsSettings(resolvers=wrong)
    assert DomainSettings(name="Acme.Example").name == "acme.example"
    with pytest.raises(ValueError, match="72h"):
        DomainSettings.model_validate({"name": "acme.example", "grace": "73h"})
