"""Active Directory without a server: members in parts, references, settings (D1, D6, D12)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from connector.directory.base import Entry
from connector.directory.groups import group_entry
from connector.directory.ldap.active_directory.domain import is_partition
from connector.directory.ldap.session.search import Proof, Query
from connector.directory.ldap.whole import ranges
from connector.directory.settings import ActiveDirectorySettings

DN = "cn=crowd,dc=x"


class Server:
    """A group of ``size`` members in parts of at most ten; ``before`` is called before each answer."""

    def __init__(self, size: int, before: Callable[[Server], None] = lambda _: None) -> None:
        self.size = size
        self.version = 1
        self.asked: list[str] = []
        self.reason = ""
        self.before = before

    def __call__(self, query: Query) -> tuple[list[Entry], Proof]:
        self.before(self)
        self.asked.append(query.attributes[0])
        start = int(query.attributes[0].partition("=")[2].partition("-")[0])
        proof = Proof("ldaps://x", codes=[1 if self.reason else 0], reason=self.reason)
        return ([] if self.reason else [self.entry(start)]), proof

    def entry(self, start: int = 0) -> Entry:
        end = min(start + 10, self.size)
        shown = "*" if end == self.size else str(end - 1)
        values = tuple(f"cn=p{number},v={self.version}".encode() for number in range(start, end))
        return Entry("a", DN, {f"member;range={start}-{shown}": values, "usnchanged": (str(self.version).encode(),)})


@pytest.mark.parametrize("size", [1, 10, 11, 20, 35])
def test_d6_every_part_is_asked_for_once_and_in_order(size: int) -> None:
    server = Server(size)
    entry, fault = ranges.whole(server, server.entry())
    assert fault == ""
    assert list(entry.attributes["member"]) == [f"cn=p{number},v=1".encode() for number in range(size)]
    assert [asked.split("=")[1].split("-")[0] for asked in server.asked] == [str(n) for n in range(10, size, 10)]
    assert group_entry(entry).fault == ""


def test_d6_an_entry_without_parts_is_as_it_was() -> None:
    entry = Entry("a", DN, {"member": (b"cn=p",), "cn": (b"crowd",)})
    assert ranges.whole(Server(0), entry) == (entry, "")


def test_d6_a_group_that_changed_between_two_parts_is_read_again() -> None:
    def change_once(server: Server) -> None:
        if len(server.asked) == 1:
            server.version, server.size = 2, 24

    server = Server(35, change_once)
    entry, fault = ranges.whole(server, server.entry())
    assert fault == ""
    assert list(entry.attributes["member"]) == [f"cn=p{number},v=2".encode() for number in range(24)]


def test_d6_a_group_that_never_stands_still_is_not_proved() -> None:
    def change(server: Server) -> None:
        server.version += 1

    server = Server(35, change)
    entry, fault = ranges.whole(server, server.entry())
    assert fault == "its members changed again and again while they were read"
    assert group_entry(entry).fault


@pytest.mark.parametrize("part", [1, 2, 3])
def test_d1_a_part_that_fails_leaves_the_group_unproved(part: int) -> None:
    def fail(server: Server) -> None:
        server.reason = "page 1: result 1 (operations error)" if len(server.asked) == part - 1 else ""

    server = Server(35, fail)
    entry, fault = ranges.whole(server, server.entry())
    assert fault == f"its members from {part * 10} on were not read: page 1: result 1 (operations error)"
    assert "only a part" in group_entry(entry).fault


def test_d6_parts_that_do_not_fit_are_not_taken() -> None:
    server = Server(35)
    assert "gave no members from 10 on" in ranges.whole(lambda _: ([server.entry(20)], Proof("x")), server.entry())[1]
    hidden = Entry("a", DN, {name: v for name, v in server.entry().attributes.items() if name != "usnchanged"})
    assert "is not visible" in ranges.whole(server, hidden)[1]


@pytest.mark.parametrize(
    ("url", "harmless"),
    [
        ("ldap://firma.example/CN=Configuration,DC=firma,DC=example", True),
        ("ldap://DomainDnsZones.firma.example/DC=DomainDnsZones,DC=firma,DC=example??base", True),
        ("ldap://ForestDnsZones.firma.example/DC=ForestDnsZones,DC=firma,DC=example", True),
        ("ldap://eu.firma.example/DC=eu,DC=firma,DC=example", False),
        ("ldap://firma.example", False),
        ("ldap://firma.example/%ff,,,", False),
    ],
)
def test_d12_only_partitions_without_people_are_left_out(url: str, harmless: bool) -> None:
    assert is_partition(url) is harmless


def test_d6_a_global_catalog_is_refused_because_it_hides_members() -> None:
    table = {"id": "corp", "bind_dn": "cn=r", "bind_password": "env:X", "people_base": "dc=x"}
    settings = ActiveDirectorySettings.model_validate({**table, "servers": ["ldaps://dc1"]})
    assert settings.anchor_attribute == "objectGUID"
    with pytest.raises(ValidationError, match="global catalog"):
        ActiveDirectorySettings.model_validate({**table, "servers": ["ldaps://dc1:3269"]})
