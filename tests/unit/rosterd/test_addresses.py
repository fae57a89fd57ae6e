"""Whose request it is behind a proxy (N11): read from the right, from trusted proxies only, never guessed."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ledger.errors import BadInput
from rosterd.wire.addresses import asker

PROXIES = tuple(ip_network(text) for text in ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "forwarded_for", "expected"),
    [
        ("203.0.113.9", [], ["198.51.100.1"], "203.0.113.9"),  # nobody we trust says so
        ("203.0.113.9", ["for=198.51.100.1"], [], "203.0.113.9"),
        ("127.0.0.1", [], [], "127.0.0.1"),
        ("127.0.0.1", [], ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", [], ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the left part is the asker's own invention
        ("127.0.0.1", [], ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", [], ["198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", [], ["junk, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),  # never read that far
        ("127.0.0.1", [], ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ("::ffff:127.0.0.1", [], ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", [], ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("127.0.0.1", [], ["198.51.100.1:4711"], "198.51.100.1"),
        ("127.0.0.1", ["for=198.51.100.1;proto=https"], [], "198.51.100.1"),
        ("127.0.0.1", ['for=6.6.6.6, proto=https;For="[2001:db8::1]:4711";by=10.0.0.1'], [], "2001:db8::1"),
        ("127.0.0.1", ["for=198.51.100.1"], ["198.51.100.1"], "198.51.100.1"),
        ("", [], ["198.51.100.1"], ""),
    ],
)
def test_the_asker_is_who_the_last_trusted_proxy_saw(
    peer: str, forwarded: list[str], forwarded_for: list[str], expected: str
) -> None:
    assert asker(peer, forwarded, forwarded_for, PROXIES) == expected


@pytest.mark.parametrize(
    ("forwarded", "forwarded_for"),
    [
        ([], ["junk"]),
        ([], ["198.51.100.1,"]),
        ([], [""]),
        (["for=unknown"], []),
        (["for=_hidden"], []),
        (["proto=https"], []),
        (["for=6.6.6.6"], ["198.51.100.1"]),  # a proxy that writes one of them lets the other through
    ],
)
def test_what_a_proxy_leaves_unsaid_is_refused(forwarded: list[str], forwarded_for: list[str]) -> None:
    with pytest.raises(BadInput):
        asker("127.0.0.1", forwarded, forwarded_for, PROXIES)
