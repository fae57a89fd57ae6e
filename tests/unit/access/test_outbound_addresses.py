"""N12: which addresses are public. Every form in which another one hides is named here."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.outbound.addresses import inner, why_not_global

NOT_PUBLIC = {
    "unspecified": ("0.0.0.1", "0.255.255.255", "::"),
    "private": ("10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.1", "fc00::1", "fdff::1"),
    "shared inside a provider": ("100.64.0.0", "100.127.255.255"),
    "loopback": ("127.0.0.1", "127.255.255.255", "::1"),
    "link-local": ("169.254.0.0", "169.254.169.254", "169.254.255.255", "fe80::1", "fe80::1%2", "febf::1"),
    "reserved for protocols": ("192.0.0.0", "192.0.0.9", "192.0.0.170", "2001:1::1", "2001:20::1", "2001:1ff::1"),
    "for documentation": (
        "192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "2001:db8:ffff::1", "3fff::1", "3fff:fff::1",
    ),
    "a 6to4 relay": ("192.88.99.1",),
    "for benchmarks": ("198.18.0.0", "198.19.255.255"),
    "multicast": ("224.0.0.1", "239.255.255.255", "ff02::1", "ffff::1"),
    "reserved": ("240.0.0.1", "255.255.255.255", "200::1", "1000::1", "4000::1", "8000::1", "fbff::1", "::1:0:0:0:1"),
    "IPv4-compatible": ("::10.0.0.1", "::8.8.8.8", "::2"),
    "IPv4-mapped": ("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:a00:1"),
    "IPv4-translated": ("::ffff:0:8.8.8.8",),
    "NAT64": ("64:ff9b::8.8.8.8", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1:ffff::7f00:1"),
    "discarded": ("100::1",),
    "Teredo": ("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    "6to4": ("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"),
    "for segment routing": ("5f00::1",),
    "site-local": ("fec0::1", "feff::1"),
}  # fmt: skip
PUBLIC = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.88.98.255", "192.167.255.255",
    "198.17.255.255", "198.20.0.0", "223.255.255.255", "2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1",
    "2606:4700:4700::1111", "2a00::1", "3ffe:ffff::1",
)  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NOT_PUBLIC.items() for text in texts])
def test_n12_what_is_not_public_is_named(kind: str, text: str) -> None:
    assert why_not_global(ip_address(text)) == kind


@pytest.mark.parametrize("text", PUBLIC)
def test_n12_what_is_public_is_let_through(text: str) -> None:
    assert why_not_global(ip_address(text)) == ""


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_n12_nothing_is_public_here_that_is_not_for_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    assert why_not_global(address) or (address.is_global and not address.is_multicast)


@pytest.mark.parametrize(
    ("text", "ends_at"),
    [
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:0:10.1.2.3", "10.1.2.3"),
        ("64:ff9b::10.1.2.3", "10.1.2.3"),
        ("2002:a01:203::1", "10.1.2.3"),
        ("2a00::a01:203", None),
        ("::1", None),
        ("10.1.2.3", None),
    ],
)
def test_the_address_that_another_one_ends_at(text: str, ends_at: str | None) -> None:
    assert inner(ip_address(text)) == (ip_address(ends_at) if ends_at else None)
