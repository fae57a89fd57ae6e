"""Single look-ups in a real Samba domain (D13): binary anchors, members in parts, members by primary group."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from connector.directory.base import ReadRequest
from connector.directory.changes import Follower, LookRequest
from tests.contract.directory.conftest import CROWD_GROUP, CROWD_SIZE, OpenSource
from tests.parts import company, slapd

ASKED = ("mail", "givenname", "sn", "displayname")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DOMAIN_USERS = f"CN=Domain Users,CN=Users,{company.SUFFIX}"


async def test_d13_a_look_in_a_domain_shows_what_a_full_reading_shows(
    open_samba: OpenSource, firm: company.Firm
) -> None:
    source = cast(Follower, open_samba())
    reading = await source.read(ReadRequest(("design", DOMAIN_USERS), ASKED), now=NOW)
    people = tuple(human.anchor for human in firm.people)
    stranger = "0e2a1f4c-90c1-4a6e-8a55-2d3c0b6e1f00"
    missing = f"CN=painters,{company.GROUPS}"
    by_anchor = f"anchor:{reading.groups['design'].anchor}"
    groups = (CROWD_GROUP, DOMAIN_USERS, by_anchor, missing)
    look = await source.look(LookRequest((*people, stranger), groups, ASKED), now=NOW)
    await source.close()
    assert (look.unknown, look.absent, look.groups_absent) == ("", {stranger}, {missing})
    assert {anchor: entry.dn for anchor, entry in look.people.items()} == {
        anchor: entry.dn for anchor, entry in reading.people.items()
    }
    assert len(look.groups[CROWD_GROUP].members) == CROWD_SIZE
    assert len(look.groups[by_anchor].members) == len(reading.groups["design"].members)
    dns = {entry.dn.encode(): anchor for anchor, entry in reading.people.items()}
    members = {dns[bytes(member)] for member in look.groups[DOMAIN_USERS].members if bytes(member) in dns}
    assert members == reading.groups[DOMAIN_USERS].members


async def test_d13_a_server_that_is_no_domain_controller_shows_nobody_and_nobody_absent(
    open_samba: OpenSource, server: slapd.Slapd
) -> None:
    source = cast(Follower, open_samba(servers=[server.tls_url], tls_ca=str(server.ca), tls_name="localhost"))
    look = await source.look(LookRequest(("0e2a1f4c-90c1-4a6e-8a55-2d3c0b6e1f00",)), now=NOW)
    await source.close()
    assert (look.people, look.absent) == ({}, frozenset())
    assert "not an Active Directory domain controller" in look.unknown
