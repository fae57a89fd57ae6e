"""Which IP addresses are on the public internet, and what the others are for.

Pure. The tables are written down here because the standard library's ``is_global`` changed its mind between versions,
and calls NAT64, 6to4 and relays of both global. Source: IANA's registries of special-purpose addresses (2025-10).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_V4 = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared inside a provider"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6 = tuple(
    (IPv6Network(network), kind)
    for network, kind in (  # the first that fits
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("100::/64", "discarded"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "for documentation"),
        ("5f00::/16", "for segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_IPV4_AT_ITS_END = tuple(IPv6Network(network) for network in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))


def why_not_global(address: Address) -> str:
    """What an address is for when it is not one of the public internet, in a word or two; empty when it is."""
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _V4 if address in network), "")
    found = next((kind for network, kind in _V6 if address in network), "")
    return found or ("" if address in _GLOBAL_UNICAST else "reserved")


def inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address end at, as far as the address itself tells."""
    if isinstance(address, IPv4Address):
        return None
    if any(address in network for network in _IPV4_AT_ITS_END):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour
