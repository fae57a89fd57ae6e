"""N12: what is open, and that only the operator's file opens anything."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from pydantic import ValidationError

from access.outbound.addresses import Address
from access.outbound.judgement import judge
from access.outbound.settings import OutboundSettings
from access.outbound.urls import Target
from ledger.errors import BadInput, Refused, Unavailable
from rosterd.loading import load, load_customer

PUBLIC, PRIVATE, LOOPBACK = "8.8.8.8", "10.1.2.3", "127.0.0.1"


def _judge(url: str, addresses: tuple[str, ...], *allow: str) -> tuple[Address, ...]:
    openings = OutboundSettings(allow=allow).openings()
    return judge(Target.parse(url), [ip_address(text) for text in addresses], openings)


OPEN: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    ("https://host/", (PUBLIC, "2a00::1"), ()),
    ("https://host/", (PRIVATE,), ("10.1.2.0/24",)),
    ("https://host/", (PRIVATE,), ("10.1.2.3",)),
    ("https://host/", (PRIVATE, PUBLIC), ("10.1.2.3",)),
    ("https://host:8443/", (PUBLIC,), ("host:8443",)),
    ("https://host:8443/", (PUBLIC,), ("HOST.:8443",)),
    ("https://bücher.example:8443/", (PUBLIC,), ("bücher.example:8443",)),
    ("https://host:8443/", (PRIVATE,), ("host:8443", "10.0.0.0/8")),
    ("https://host:8443/", (PRIVATE,), ("10.1.2.3:8443",)),
    ("https://host:8443/", (PRIVATE,), ("10.1.2.0/24:8443",)),
    ("https://host:8443/", ("fd00::1",), ("[fd00::1]:8443",)),
    ("https://host:8443/", ("fd00::1",), ("[fd00::/8]:8443",)),
    ("https://host/", ("fd00::1",), ("fd00::/8",)),
    ("https://host/", ("64:ff9b::8.8.8.8",), ("64:ff9b::/96",)),
    ("http://host:8080/", (LOOPBACK,), ("127.0.0.1:8080",)),
    ("http://[::1]:8080/", ("::1",), ("[::1]:8080",)),
    ("http://host:8080/", (LOOPBACK,), ("host:8080", "127.0.0.0/8")),
    ("http://host/", (LOOPBACK,), ("127.0.0.1:80",)),
]  # fmt: skip
SHUT: list[tuple[str, tuple[str, ...], tuple[str, ...], str]] = [
    ("https://host/", (PRIVATE,), (), "not public (private)"),
    ("https://host/", (PUBLIC, PRIVATE), (), "not public (private)"),
    ("https://host/", (PUBLIC, "::ffff:8.8.8.8"), (), "not public (IPv4-mapped)"),
    ("https://host/", (PRIVATE,), ("10.1.3.0/24",), "not public (private)"),
    ("https://host/", (PRIVATE,), ("host:443",), "not public (private)"),
    ("https://host/", (PRIVATE,), ("10.1.2.3:8443",), "not public (private)"),
    ("https://host/", ("::ffff:10.1.2.3",), ("10.1.2.3",), "not public (IPv4-mapped)"),
    ("https://host/", ("64:ff9b::10.1.2.3",), ("64:ff9b::/96",), "not public (private)"),
    ("https://host/", ("fe80::1%2",), ("fe80::/10",), "not public (link-local)"),
    ("https://host/", ("169.254.169.254",), ("10.0.0.0/8", "host:443"), "not public (link-local)"),
    ("https://host:8443/", (PUBLIC,), (), "port 8443 is not open"),
    ("https://host:8443/", (PUBLIC,), ("host:8444", "other:8443", "10.0.0.0/8"), "port 8443 is not open"),
    ("https://sub.host:8443/", (PUBLIC,), ("host:8443",), "port 8443 is not open"),
    ("https://host:22/", (PRIVATE,), ("10.1.2.3",), "port 22 is not open"),
    ("https://host:8443/", (PRIVATE, PUBLIC), ("10.1.2.3:8443",), "port 8443 is not open"),
    ("http://host/", (PUBLIC,), (), "http is not fetched"),
    ("http://host:8080/", (PUBLIC,), ("host:8080",), "http is not fetched"),
    ("http://host:8080/", (PRIVATE,), ("10.1.2.3:8080",), "http is not fetched"),
    ("http://host:8080/", (LOOPBACK, PRIVATE), ("127.0.0.1:8080", "10.1.2.3:8080"), "http is not fetched"),
    ("http://host:443/", (LOOPBACK,), ("127.0.0.0/8",), "http is not fetched"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "addresses", "allow"), OPEN)
def test_n12_what_is_open_is_connected_to(url: str, addresses: tuple[str, ...], allow: tuple[str, ...]) -> None:
    assert _judge(url, addresses, *allow) == tuple(ip_address(text) for text in addresses)


@pytest.mark.parametrize(("url", "addresses", "allow", "why"), SHUT)
def test_n12_what_is_shut_says_which_setting_opens_it(
    url: str, addresses: tuple[str, ...], allow: tuple[str, ...], why: str
) -> None:
    with pytest.raises(Refused) as caught:
        _judge(f"{url}?token=geheim", addresses, *allow)
    assert why in caught.value.what
    assert caught.value.next_step.endswith("allow in [outbound] of rosterd.toml")
    assert not any(address in str(caught.value) for address in (*addresses, "geheim"))


def test_an_address_that_is_said_twice_is_tried_once() -> None:
    found = _judge("https://host/", (PUBLIC, "1.1.1.1", PUBLIC))
    assert [str(address) for address in found] == [PUBLIC, "1.1.1.1"]


def test_a_host_without_an_address_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="host has no address"):
        _judge("https://host/", ())


@pytest.mark.parametrize(
    "entry",
    [
        "", "host", "host:", "host:0", "host:65536", "host:x", "*.host:443", "ho st:443", "https://host:443",
        "host:1/x", "10.1.2.3/24", "10.1.2.0/33", "10.1.2:443", "2130706433:443", "0.0.0.0/0", "::/0", "[::/0]:443",
        "[::1", "[::1]x", "fe80::1%eth0", "[fe80::1%eth0]:443", "a..b:443", "@host:443",
    ],
)  # fmt: skip
def test_n12_an_entry_that_means_nothing_is_an_error(entry: str) -> None:
    with pytest.raises(ValidationError):
        OutboundSettings(allow=(entry,))


@pytest.mark.parametrize(
    ("entry", "meanings"),
    [
        ("::1:8443", ("write [::1:8443] for the address ::1:8443", "[::1]:8443 for port 8443 of ::1")),
        ("fd00:1::4:443", ("[fd00:1::4:443] for", "[fd00:1::4]:443 for")),
        ("2a00::1:2", ("[2a00::1:2] for", "[2a00::1]:2 for")),
        ("::1:18443", ("write [::1]:18443",)),
        ("fd00::/64:8443", ("write [fd00::/64]:8443",)),
    ],
)
def test_n12_an_ipv6_address_that_may_end_in_a_port_is_asked_about(entry: str, meanings: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        OutboundSettings(allow=(entry,))
    assert all(meaning in str(caught.value) for meaning in meanings)


@pytest.mark.parametrize(
    "entry",
    ["::1", "fd00::1", "fd00:1::", "fd00:1:2:3:4:5:6:7", "2a00::1:a1", "[::1:8443]", "[::1]:8443", "::ffff:10.0.0.1"],
)
def test_n12_an_ipv6_address_that_cannot_end_in_a_port_needs_no_brackets(entry: str) -> None:
    [opening] = OutboundSettings(allow=(entry,)).openings()
    assert opening.port == (8443 if entry == "[::1]:8443" else None)


def test_n12_the_operators_file_opens_and_paths_are_relative_to_it(tmp_path: Path) -> None:
    file = tmp_path / "rosterd.toml"
    file.write_text('[outbound]\nallow = ["10.1.2.0/24", "host:8443"]\nca = "ca.pem"\n', encoding="utf-8")
    outbound = load(file, {}).installation.outbound
    assert [opening.port for opening in outbound.openings()] == [None, 8443]
    assert outbound.ca == str(tmp_path / "ca.pem")


def test_n12_a_wrong_entry_is_placed_in_the_operators_file(tmp_path: Path) -> None:
    file = tmp_path / "rosterd.toml"
    file.write_text('[outbound]\nallow = ["host"]\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"outbound\.allow.*write HOST:PORT"):
        load(file, {})


def test_n12_a_customers_file_opens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text('[organization]\nid = "acme"\nname = "A"\n[outbound]\nallow = ["host:1"]\n', encoding="utf-8")
    with pytest.raises(BadInput, match="unknown key 'outbound'"):
        load_customer(file)
