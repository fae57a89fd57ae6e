"""What changed on a real slapd since it was read (D13): with and without syncprov, with and without its session log.

One suite for every way to follow; what a way cannot see (deletions, without sync searches) is part of its promise.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import pytest

from connector.directory.base import Entry, Reading, ReadRequest
from connector.directory.changes import Changes, ChangesRequest, Follower, Look, LookRequest
from tests.contract.directory.conftest import OpenSource
from tests.parts import company, slapd
from tests.parts.proxy import Fault, between
from tests.parts.tamper import Breaking, lying, without_some

ASKED = ("mail", "givenname", "sn", "displayname", "employeenumber")
LOG = (*slapd.SYNCPROV, "syncprov-sessionlog 1000")
LIST = slapd.SYNCPROV
WAYS: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    "log": (LOG, {}),
    "list": (LIST, {}),
    "csn": (LIST, {"anchor_attribute": "description"}),
    "stamp": ((), {}),
}
METHODS = {"log": "syncrepl", "list": "syncrepl", "csn": "contextCSN", "stamp": "modifyTimestamp"}
OLD = datetime.now(UTC) - timedelta(days=30)


def now() -> datetime:
    """The servers here have the clock of this machine."""
    return datetime.now(UTC)


def aged(folk: company.Firm, when: datetime = OLD, *, root: str = "", csn: bool = True) -> str:
    """The company as if it had been loaded then, every anchor also as ``description``; the root with this entryUUID
    and, with ``csn``, a contextCSN, as a copy of a server that others follow has it."""
    stamp = f"{when:%Y%m%d%H%M%S}"
    context = f"\ncontextCSN: {stamp}.999999Z#000000#000#000000" if csn else ""
    text = folk.ldif().replace("\ndc: firma", f"\ndc: firma{context}\nentryUUID: {root or uuid.uuid4()}", 1)
    text = re.sub(r"^ou: .*$", lambda match: f"{match[0]}\nentryUUID: {uuid.uuid4()}", text, flags=re.MULTILINE)
    counter = itertools.count(1)

    def dated(match: re.Match[str]) -> str:
        csn = f"entryCSN: {stamp}.{next(counter):06d}Z#000000#000#000000"
        return f"{match[0]}\ndescription: {match[1]}\nmodifyTimestamp: {stamp}Z\ncreateTimestamp: {stamp}Z\n{csn}"

    return re.sub(r"^entryUUID: (.*)$", dated, text, flags=re.MULTILINE)


@dataclass
class Followed:
    """A source that was read, and where its changes go on."""

    source: Follower
    server: slapd.Slapd
    cursor: Mapping[str, Any] = field(default_factory=dict)

    async def read(self, at: datetime | None = None) -> Reading:
        reading = await self.source.read(ReadRequest(("design", "build"), ASKED), now=at or now())
        assert {scope.reason for scope in reading.scopes.values()} == {""}
        self.cursor = reading.cursor or {}
        return reading

    async def changes(self, at: datetime | None = None) -> Changes:
        """What changed since the last call; a lost one leaves the cursor where it was."""
        found = await self.source.changes(ChangesRequest(self.cursor, ASKED), now=at or now())
        if not found.lost:
            self.cursor = found.cursor
        return found

    async def look(self, *people: str, groups: tuple[str, ...] = ()) -> Look:
        return await self.source.look(LookRequest(people, groups, ASKED), now=now())

    def modify(self, name: str, *lines: str) -> None:
        self.server.modify("\n".join((f"dn: {name}", *lines)) + "\n")


@pytest.fixture(scope="module")
def folk() -> company.Firm:
    return company.firm(40)


@contextlib.contextmanager
def serving(folk: company.Firm, way: str) -> Iterator[slapd.Slapd]:
    with slapd.running(aged(folk, csn=way != "stamp"), extra=WAYS[way][0], schema=True) as server:
        yield server


@contextlib.asynccontextmanager
async def follower(
    open_ldap: OpenSource, server: slapd.Slapd, way: str = "log", **overrides: object
) -> AsyncIterator[Followed]:
    settings = {"servers": [server.url], "plaintext": True, **WAYS[way][1], **overrides}
    source = cast(Follower, open_ldap(**settings))
    try:
        yield Followed(source, server)
    finally:
        await source.close()


@pytest.fixture(params=sorted(WAYS))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def followed(open_ldap: OpenSource, folk: company.Firm, way: str) -> AsyncIterator[Followed]:
    """A server of its own for every test, read once."""
    with serving(folk, way) as server:
        async with follower(open_ldap, server, way) as found:
            await found.read()
            assert found.cursor["method"] == METHODS[way]
            yield found


def plain(folk: company.Firm, count: int) -> list[company.Human]:
    """People whose DN is their uid, from the end: no group of the cycle has them."""
    return [human for human in reversed(folk.people) if human.dn.startswith("uid=")][:count]


def anchored(entries: Mapping[str, Entry]) -> dict[str, Mapping[str, Any]]:
    """Attributes by anchor, without what only names members of groups."""
    return {key: {n: v for n, v in entry.attributes.items() if n != "uid"} for key, entry in entries.items()}


def hints(found: Changes, before: Reading) -> frozenset[str]:
    """Whom to look up: called gone, or known before and not in the list of who is there."""
    unlisted = before.people.keys() - found.present - found.people.keys() if found.present is not None else ()
    return found.gone | frozenset(unlisted)


async def test_d13_nothing_changed(followed: Followed, way: str) -> None:
    for _ in range(2):
        found = await followed.changes()
        assert (found.lost, found.method, found.server) == ("", METHODS[way], followed.server.url)
        assert (found.gone, found.deletes) == (frozenset(), METHODS[way] == "syncrepl")
        # By date the newest entries are told again and again; here all are of one second.
        assert (not found.people) == (METHODS[way] == "syncrepl")


async def test_d13_an_added_and_a_modified_person_are_told_whole(followed: Followed, folk: company.Firm) -> None:
    before = await followed.read()
    changed = plain(folk, 1)[0]
    followed.modify(changed.dn, "changetype: modify", "replace: mail", "mail: changed@firma.example")
    name = f"uid=new,{company.PEOPLE}"
    anchor = "0e2a1f4c-90c1-4a6e-8a55-2d3c0b6e1f00"
    followed.modify(
        name, "changetype: add", "objectClass: inetOrgPerson", "uid: new", "cn: New", "sn: New",
        "mail: new@firma.example", f"description: {anchor}",
    )  # fmt: skip
    found = await followed.changes()
    assert found.lost == ""
    people = {entry.dn: entry for entry in found.people.values()}
    assert people[changed.dn].anchor == changed.anchor
    assert people[changed.dn].attributes["mail"] == (b"changed@firma.example",)
    assert people[name].attributes["mail"] == (b"new@firma.example",)
    assert not hints(found, before) - {changed.anchor}
    again = await followed.read()
    assert anchored(found.people).items() <= anchored(again.people).items()
    assert len(again.people) == len(before.people) + 1


async def test_d13_a_renamed_person_is_the_same_under_a_new_dn(followed: Followed, folk: company.Firm) -> None:
    before = await followed.read()
    renamed = plain(folk, 1)[0]
    followed.modify(renamed.dn, "changetype: modrdn", "newrdn: uid=renamed", "deleteoldrdn: 0")
    found = await followed.changes()
    assert found.people[renamed.anchor].dn == f"uid=renamed,{company.PEOPLE}"
    assert not hints(found, before)


async def test_d13_a_group_that_changed_is_told_with_all_its_members(followed: Followed, folk: company.Firm) -> None:
    await followed.read()
    added = plain(folk, 1)[0]
    design = company.group_dn("design")
    followed.modify(design, "changetype: modify", "add: member", f"member: {added.dn}")
    found = await followed.changes()
    group = next(group for group in found.groups if group.dn == design)
    assert (group.name, group.anchor) == ("design", company.anchor(design))
    assert {bytes(member).decode() for member in group.members} == {*(h.dn for h in folk.people[:10]), added.dn}
    followed.modify(design, "changetype: modify", "delete: member", f"member: {added.dn}")
    group = next(group for group in (await followed.changes()).groups if group.dn == design)
    assert len(group.members) == 10


async def test_d13_a_renamed_group_keeps_its_anchor(followed: Followed) -> None:
    await followed.read()
    design = company.group_dn("design")
    followed.modify(design, "changetype: modrdn", "newrdn: cn=drawing", "deleteoldrdn: 1")
    found = await followed.changes()
    group = next(group for group in found.groups if group.anchor == company.anchor(design))
    assert (group.name, group.dn) == ("drawing", company.group_dn("drawing"))
    assert len(group.members) == 10


@pytest.mark.parametrize("leaving", ["delete", "move", "filter", "group"])
async def test_d13_whoever_left_is_a_hint_that_a_look_proves(
    followed: Followed, folk: company.Firm, way: str, leaving: str
) -> None:
    before = await followed.read()
    left, stays = plain(folk, 2)
    anchor, groups = left.anchor, (company.group_dn("signers"),)
    if leaving == "delete":
        followed.modify(left.dn, "changetype: delete")
    elif leaving == "move":
        rdn = left.dn.partition(",")[0]
        followed.modify(
            left.dn, "changetype: modrdn", f"newrdn: {rdn}", "deleteoldrdn: 0", f"newsuperior: {company.SUFFIX}"
        )
    elif leaving == "filter":
        followed.modify(left.dn, "changetype: modify", "add: objectClass", "objectClass: uidObject")
    else:
        followed.modify(groups[0], "changetype: delete")
        anchor = company.anchor(groups[0])
    found = await followed.changes()
    assert found.lost == ""
    assert found.deletes == (METHODS[way] == "syncrepl")
    assert left.anchor not in found.people or leaving in ("filter", "group") or not found.deletes
    if found.deletes and leaving == "group":
        assert anchor in found.gone or (found.present is not None and anchor not in found.present)
    elif found.deletes and leaving != "filter":
        assert hints(found, before) == {anchor}
    look = await followed.look(left.anchor, stays.anchor, groups=groups)
    assert stays.anchor in look.people
    assert (look.groups_absent == set(groups)) == (leaving == "group")
    if way == "csn":
        assert look.absent == frozenset()
        assert leaving in ("filter", "group") or "do not prove" in look.unknown
    else:
        assert look.unknown == ""
        assert look.absent == ({left.anchor} if leaving in ("delete", "move") else frozenset())


@pytest.mark.parametrize("way", ["log", "list"], indirect=False)
async def test_d13_whoever_no_longer_matches_the_filter_is_a_hint(
    open_ldap: OpenSource, folk: company.Firm, way: str
) -> None:
    left = plain(folk, 1)[0]
    with serving(folk, way) as server:
        async with follower(
            open_ldap, server, way, people_filter="(&(objectClass=inetOrgPerson)(departmentNumber=D1))"
        ) as followed:
            before = await followed.read()
            followed.modify(left.dn, "changetype: modify", "replace: departmentNumber", "departmentNumber: D2")
            found = await followed.changes()
            assert hints(found, before) == {left.anchor}
            assert (await followed.look(left.anchor)).absent == {left.anchor}


async def test_d13_a_look_is_whole_or_says_what_is_not_known(open_ldap: OpenSource, folk: company.Firm) -> None:
    stranger, nobody = "0e2a1f4c-90c1-4a6e-8a55-2d3c0b6e1f00", "not an anchor"
    everybody = [human.anchor for human in folk.people]
    build, missing = company.group_dn("build"), company.group_dn("painters")
    by_anchor = f"anchor:{company.anchor(company.group_dn('Żuraw, dźwig'))}"
    with serving(folk, "log") as server:
        async with follower(open_ldap, server) as followed:
            reading = await followed.read()
            look = await followed.look(*everybody, *everybody[:30], stranger, groups=(build, missing, by_anchor))
            assert (look.unknown, look.absent, look.groups_absent) == ("", {stranger}, {missing})
            assert anchored(look.people) == anchored(reading.people)
            assert (look.groups[build].name, len(look.groups[build].members)) == ("build", 4)
            assert len(look.groups[by_anchor].members) == 4
            look = await followed.look(nobody, everybody[0], stranger, groups=("build", "anchor:x"))
            assert set(look.people) == {everybody[0]}
            assert look.absent == {stranger}
            assert "'not an anchor' is no entryUUID" in look.unknown
            assert "build: neither a DN nor anchor:<value>" in look.unknown
            assert look.groups_absent == frozenset()


@pytest.mark.parametrize(
    ("hidden", "reason"),
    [
        (f'dn.exact="{company.READER}" by anonymous auth by * none', "sentinel"),
        (f'dn.subtree="{company.PEOPLE}" by * none', "result 32"),
        (f'dn.children="{company.PEOPLE}" by * none', "shows nothing"),
        (f'dn.subtree="{company.PEOPLE}" attrs=entryUUID by * none', "shows nothing, or no entryUUID"),
    ],
)
async def test_d13_hidden_people_are_unknown_and_not_absent(
    open_ldap: OpenSource, folk: company.Firm, hidden: str, reason: str
) -> None:
    with slapd.running(aged(folk), extra=LOG, access=[hidden], schema=True) as server:
        sentinels = [company.READER] if reason == "sentinel" else []
        async with follower(open_ldap, server, sentinels=sentinels) as followed:
            somebody = folk.people[0].anchor
            stranger = "0e2a1f4c-90c1-4a6e-8a55-2d3c0b6e1f00"
            look = await followed.look(somebody, stranger)
            assert look.absent == frozenset()
            assert reason in look.unknown or "no such base" in look.unknown


async def test_d13_hidden_members_of_a_changed_group_are_lost_and_not_a_small_group(
    open_ldap: OpenSource, folk: company.Firm
) -> None:
    design = company.group_dn("design")
    with slapd.running(aged(folk), extra=LOG, access=["attrs=member by * none"], schema=True) as server:
        async with follower(open_ldap, server) as followed:
            reading = await followed.source.read(ReadRequest((), ASKED), now=now())
            followed.cursor = reading.cursor or {}
            followed.modify(design, "changetype: modify", "replace: ou", "ou: x")
            found = await followed.changes()
            assert "none is visible" in found.lost
            assert (found.people, found.groups, found.cursor) == ({}, (), {})
            look = await followed.look(groups=(design,))
            assert (look.groups, look.groups_absent) == ({}, frozenset())
            assert "none is visible" in look.unknown


async def test_d13_a_reading_that_is_not_complete_has_no_cursor(open_ldap: OpenSource, folk: company.Firm) -> None:
    with serving(folk, "log") as server:
        async with follower(open_ldap, server, sentinels=[f"uid=watch,{company.PEOPLE}"]) as followed:
            assert (await followed.source.read(ReadRequest((), ASKED), now=now())).cursor is None
        async with follower(open_ldap, server) as followed:
            reading = await followed.source.read(ReadRequest(("design", "painters"), ASKED), now=now())
            assert reading.cursor is None
        with between(server.port, Fault("cut", 3, 9)) as proxy:
            async with follower(open_ldap, server, servers=[proxy.url]) as followed:
                assert (await followed.source.read(ReadRequest((), ASKED), now=now())).cursor is None


def spoiled(cursor: Mapping[str, Any], how: str) -> dict[str, Any]:
    """A cursor that no longer fits."""
    if how == "server":
        return {**cursor, "server": "ldap://ldap9.acme.example"}
    if how == "settings":
        return {**cursor, "settings": "0" * 32}
    if how == "method":
        return {**cursor, "method": "DirSync"}
    if how == "cookies":
        return {**cursor, "cookies": "garbage"}
    if how == "empty":
        return {}
    cookie = {"garbage": "no cookie at all", "number": "rid=001,csn=garbage"}[how]
    return {**cursor, "cookies": dict.fromkeys(cursor["cookies"], cookie)}


async def test_d13_a_cursor_that_does_not_fit_is_lost(open_ldap: OpenSource, folk: company.Firm) -> None:
    with serving(folk, "log") as server:
        async with follower(open_ldap, server) as followed:
            await followed.read()
            good = followed.cursor
            for how in ("server", "settings", "method", "cookies", "empty", "garbage", "number"):
                followed.cursor = spoiled(good, how)
                found = await followed.changes()
                assert found.lost, how
                assert (found.people, found.gone, found.present, found.cursor) == ({}, frozenset(), None, {})
            followed.cursor = good
            assert (await followed.changes()).lost == ""


LACKING = [("stamp", "since"), ("stamp", "units"), ("csn", "csns"), ("csn", "databases")]


@pytest.mark.parametrize(("way", "part"), LACKING)
async def test_d13_a_cursor_that_lacks_a_part_is_lost(
    open_ldap: OpenSource, folk: company.Firm, way: str, part: str
) -> None:
    with serving(folk, way) as server:
        async with follower(open_ldap, server, way) as followed:
            await followed.read()
            followed.cursor = {name: value for name, value in followed.cursor.items() if name != part}
            assert (await followed.changes()).lost


async def test_d13_other_attributes_or_another_filter_are_lost(open_ldap: OpenSource, folk: company.Firm) -> None:
    with serving(folk, "log") as server:
        async with follower(open_ldap, server) as followed:
            await followed.read()
            request = ChangesRequest(followed.cursor, (*ASKED, "title"))
            assert "not what it was" in (await followed.source.changes(request, now=now())).lost
        async with follower(open_ldap, server, people_filter="(uid=*)") as other:
            other.cursor = followed.cursor
            assert "not what it was" in (await other.changes()).lost


async def test_d13_a_cookie_older_than_the_log_is_answered_by_a_list(open_ldap: OpenSource, folk: company.Firm) -> None:
    with slapd.running(aged(folk), extra=(*LIST, "syncprov-sessionlog 2"), schema=True) as server:
        async with follower(open_ldap, server) as followed:
            before = await followed.read()
            gone, *others = plain(folk, 6)
            followed.modify(gone.dn, "changetype: delete")
            for other in others:
                followed.modify(other.dn, "changetype: modify", "replace: mail", "mail: x@firma.example")
            found = await followed.changes()
            assert found.lost == ""
            assert found.present is not None
            assert hints(found, before) == {gone.anchor}


async def test_d13_a_server_that_asks_for_a_full_reading_is_lost(open_ldap: OpenSource, folk: company.Firm) -> None:
    with slapd.running(aged(folk), extra=(*LIST, "syncprov-reloadhint TRUE"), schema=True) as server:
        async with follower(open_ldap, server) as followed:
            await followed.read()
            cookie = "rid=001,csn=20010101000000.000000Z#000000#000#000000"
            followed.cursor = {**followed.cursor, "cookies": dict.fromkeys(followed.cursor["cookies"], cookie)}
            assert "4096" in (await followed.changes()).lost


@pytest.mark.parametrize("way", ["log", "list"])
@pytest.mark.parametrize("again", ["another", "the same"])
async def test_d13_an_emptied_server_takes_nobody(
    open_ldap: OpenSource, folk: company.Firm, way: str, again: str
) -> None:
    root = str(uuid.uuid4())
    with slapd.running(aged(folk, root=root), extra=WAYS[way][0], schema=True) as server:
        async with follower(open_ldap, server, way) as followed:
            before = await followed.read()
            empty = company.Firm(())
            server.reload(aged(empty, root=root if again == "the same" else ""))
            found = await followed.changes()
            if again == "another":
                assert "another database" in found.lost
            look = await followed.look(*before.people)
            assert look.absent == frozenset()
            assert "shows nothing" in look.unknown
            assert found.lost or (found.gone | before.people.keys()) >= hints(found, before)


@pytest.mark.parametrize("way", ["log", "csn"])
async def test_d13_a_server_restored_from_an_older_copy_is_lost(
    open_ldap: OpenSource, folk: company.Firm, way: str
) -> None:
    root = str(uuid.uuid4())
    with slapd.running(aged(folk, root=root), extra=WAYS[way][0], schema=True) as server:
        async with follower(open_ldap, server, way) as followed:
            await followed.read()
            followed.modify(plain(folk, 1)[0].dn, "changetype: modify", "replace: mail", "mail: x@firma.example")
            assert (await followed.changes()).lost == ""
            server.reload(aged(folk, root=root))
            assert "went back" in (await followed.changes()).lost


async def test_d13_a_clock_that_was_ahead_is_not_followed(open_ldap: OpenSource, folk: company.Firm, way: str) -> None:
    ahead = now() + timedelta(days=2)
    with slapd.running(aged(folk, ahead, csn=way != "stamp"), extra=WAYS[way][0], schema=True) as server:
        async with follower(open_ldap, server, way) as followed:
            reading = await followed.read()
            if METHODS[way] == "modifyTimestamp":
                assert "ahead of our clock" in (await followed.changes()).lost
            else:
                assert reading.cursor is None
    with serving(folk, way) as server:
        async with follower(open_ldap, server, way) as followed:
            await followed.read()
            followed.modify(plain(folk, 1)[0].dn, "changetype: modify", "replace: mail", "mail: x@firma.example")
            assert "ahead of our clock" in (await followed.changes(now() - timedelta(hours=2))).lost
            assert (await followed.changes()).lost == ""


async def test_d13_after_a_restart_it_goes_on(followed: Followed, folk: company.Firm) -> None:
    before = await followed.read()
    changed, gone = plain(folk, 2)
    followed.modify(changed.dn, "changetype: modify", "replace: mail", "mail: x@firma.example")
    followed.modify(gone.dn, "changetype: delete")
    followed.server.restart()
    found = await followed.changes()
    assert found.lost == ""
    assert found.people[changed.anchor].attributes["mail"] == (b"x@firma.example",)
    if found.deletes:
        assert hints(found, before) == {gone.anchor}


async def test_d13_a_server_that_is_gone_is_lost_and_another_is_not_asked(
    open_ldap: OpenSource, folk: company.Firm
) -> None:
    with serving(folk, "log") as server, between(server.port) as other:
        async with follower(open_ldap, server, servers=[server.url, other.url]) as followed:
            await followed.read()
            server.stop()
            found = await followed.changes()
            assert "cannot connect" in found.lost
            assert found.server == server.url
            look = await followed.look(folk.people[0].anchor)
            assert "cannot connect" in look.unknown
            assert look.absent == frozenset()
            assert other.connections == 0


async def test_d13_a_wrong_password_is_lost_and_tried_once(
    open_ldap: OpenSource, folk: company.Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(folk, "log") as server, between(server.port) as proxy:
        async with follower(open_ldap, server, servers=[proxy.url]) as followed:
            await followed.read()
            monkeypatch.setenv("READER_PASSWORD", "wrong-password")
            found = await followed.changes()
            assert "result 49" in found.lost
            assert "wrong-password" not in repr(found)
            assert proxy.connections == 2


async def busy(open_ldap: OpenSource, server: slapd.Slapd, url: str, folk: company.Firm, way: str) -> Followed:
    """A cursor of this server under another address, and changes since."""
    async with follower(open_ldap, server, way) as followed:
        await followed.read()
        gone, *others = plain(folk, 4)
        followed.modify(gone.dn, "changetype: delete")
        for other in others:
            followed.modify(other.dn, "changetype: modify", "replace: mail", "mail: x@firma.example")
        design = company.group_dn("design")
        followed.modify(design, "changetype: modify", "add: member", f"member: {others[0].dn}")
        followed.cursor = {**followed.cursor, "server": url}
        return followed


@pytest.mark.parametrize("way", ["log", "list", "stamp"])
async def test_d13_a_cut_anywhere_in_the_answers_is_lost(open_ldap: OpenSource, folk: company.Firm, way: str) -> None:
    """At the border of messages and inside them, both times it is tried: at every one, or at 25 spread over many."""
    with serving(folk, way) as server:
        cursor = (await busy(open_ldap, server, "", folk, way)).cursor

        async def through(breaking: Breaking) -> Changes:
            with lying(server.port, breaking) as url:
                async with follower(open_ldap, server, way, servers=[url]) as followed:
                    followed.cursor = {**cursor, "server": url}
                    return await followed.changes()

        whole = Breaking()
        found = await through(whole)
        assert (found.lost, len(found.people) >= 3, len(found.groups) >= 1) == ("", True, True)
        assert whole.seen > 8
        for at, portion in itertools.product(range(0, whole.seen, 1 + whole.seen // 25), (0.0, 0.5)):
            breaking = Breaking(at, portion)
            found = await through(breaking)
            assert found.lost, (at, portion)
            assert (found.people, found.gone, found.present, found.cursor) == ({}, frozenset(), None, {})
            assert breaking.connections == 2


async def test_d13_broken_answers_are_lost(open_ldap: OpenSource, folk: company.Firm) -> None:
    kinds: tuple[Literal["corrupt", "half-close"], ...] = ("corrupt", "half-close")
    with serving(folk, "list") as server:
        cursor = (await busy(open_ldap, server, "", folk, "list")).cursor
        for kind, more in itertools.product(kinds, (0, 9, 60)):
            with between(server.port, Fault(kind, 0, more)) as proxy:
                async with follower(open_ldap, server, "list", servers=[proxy.url]) as followed:
                    followed.cursor = {**cursor, "server": proxy.url}
                    assert (await followed.changes()).lost


async def test_d13_a_contextcsn_that_nobody_keeps_hides_nothing(open_ldap: OpenSource, folk: company.Firm) -> None:
    """A copy of a provider without its overlay: contextCSN stands still for ever."""
    with slapd.running(aged(folk), schema=True) as server:
        async with follower(open_ldap, server) as followed:
            await followed.read()
            assert followed.cursor["method"] == "contextCSN"
            changed = plain(folk, 1)[0]
            for mail in (b"x@firma.example", b"y@firma.example"):
                followed.modify(changed.dn, "changetype: modify", "replace: mail", f"mail: {mail.decode()}")
                found = await followed.changes()
                assert (found.lost, found.deletes) == ("", False)
                assert found.people[changed.anchor].attributes["mail"] == (mail,)


async def test_d13_a_break_that_passes_is_tried_again(open_ldap: OpenSource, folk: company.Firm) -> None:
    with serving(folk, "log") as server, between(server.port, Fault("cut", 0, 30, connections=1)) as proxy:
        cursor = (await busy(open_ldap, server, proxy.url, folk, "log")).cursor
        async with follower(open_ldap, server, servers=[proxy.url]) as followed:
            followed.cursor = cursor
            found = await followed.changes()
            assert (found.lost, len(found.people), len(found.groups), len(found.gone)) == ("", 3, 1, 1)
            assert proxy.connections == 2


async def test_d13_any_other_result_is_lost(open_ldap: OpenSource, folk: company.Firm) -> None:
    with serving(folk, "log") as server:
        cursor = (await busy(open_ldap, server, "", folk, "log")).cursor
        for code in (3, 4, 11, 51, 53, 80):
            with between(server.port, Fault("code", 1, code)) as proxy:
                async with follower(open_ldap, server, servers=[proxy.url]) as followed:
                    followed.cursor = {**cursor, "server": proxy.url}
                    assert f"result {code} " in (await followed.changes()).lost


async def test_d13_a_size_limit_is_lost(open_ldap: OpenSource, folk: company.Firm) -> None:
    limits = ["users size.soft=2 size.hard=2 size.prtotal=unlimited"]
    with slapd.running(aged(folk), extra=LOG, limits=limits, schema=True) as server:
        cursor = (await busy(open_ldap, server, server.url, folk, "log")).cursor
        async with follower(open_ldap, server) as followed:
            followed.cursor = cursor
            assert "result 4 " in (await followed.changes()).lost


async def test_d13_people_left_out_of_a_partial_list_are_found_by_a_look(
    open_ldap: OpenSource, folk: company.Firm
) -> None:
    """ReOpenLDAP#70: a list of who is there that lacks people who are there."""

    def rewrite(operation: int, message: bytes) -> bytes:
        is_list = operation == 0x79 and b"1.3.6.1.4.1.4203.1.9.1.4" in message and b"\x04\x10" in message
        return without_some(message, lambda place: place % 2 == 0) if is_list else message

    with serving(folk, "list") as server, lying(server.port, rewrite) as url:
        cursor = (await busy(open_ldap, server, url, folk, "list")).cursor
        gone = plain(folk, 1)[0].anchor
        async with follower(open_ldap, server, "list", servers=[url]) as followed:
            before = await followed.read()
            followed.cursor = cursor
            found = await followed.changes()
            assert found.lost == ""
            assert found.gone == frozenset()
            unlisted = hints(found, before)
            assert len(unlisted) > 10
            look = await followed.look(*unlisted, gone)
            assert look.unknown == ""
            assert look.absent == {gone}
            assert set(look.people) == unlisted


async def test_d13_a_server_that_forgets_the_sync_control_is_lost(open_ldap: OpenSource, folk: company.Firm) -> None:
    def rewrite(operation: int, message: bytes) -> bytes:
        return message.replace(b"1.3.6.1.4.1.4203.1.9.1.2", b"1.3.6.1.4.1.4203.1.9.1.7")

    with serving(folk, "log") as server, lying(server.port, rewrite) as url:
        cursor = (await busy(open_ldap, server, url, folk, "log")).cursor
        async with follower(open_ldap, server, servers=[url]) as followed:
            followed.cursor = cursor
            assert "without its sync state" in (await followed.changes()).lost


async def test_d13_a_moved_unit_is_lost_and_a_new_one_is_not(followed: Followed, folk: company.Firm, way: str) -> None:
    """Whoever is below a moved unit has a new DN, or is out of the base, without being reported."""
    unit, other = f"ou=Sales,{company.PEOPLE}", f"ou=Elsewhere,{company.SUFFIX}"
    for name in (unit, other):
        followed.modify(name, "changetype: add", "objectClass: organizationalUnit")
    moved = plain(folk, 1)[0]
    rdn = moved.dn.partition(",")[0]
    followed.modify(moved.dn, "changetype: modrdn", f"newrdn: {rdn}", "deleteoldrdn: 0", f"newsuperior: {unit}")
    found = await followed.changes()
    if way == "stamp":  # a date alone does not tell a new unit from a moved one
        assert "a unit was renamed, moved or changed" in found.lost
    else:
        assert found.lost == ""
        assert found.people[moved.anchor].dn == f"{rdn},{unit}"
    await followed.read()
    renamed, away = f"ou=Shop,{company.PEOPLE}", f"ou=Shop,{other}"
    followed.modify(unit, "changetype: modrdn", "newrdn: ou=Shop", "deleteoldrdn: 1")
    assert ("a unit" if way == "stamp" else renamed) in (await followed.changes()).lost
    await followed.read()
    followed.modify(renamed, "changetype: modrdn", "newrdn: ou=Shop", "deleteoldrdn: 1", f"newsuperior: {other}")
    assert ("a unit" if way == "stamp" else away) in (await followed.changes()).lost
    reading = await followed.read()
    assert moved.anchor not in reading.people


@pytest.mark.parametrize("aside", ["(memberOf=cn=design,ou=Groups,dc=firma,dc=example)", "(ou:dn:=People)"])
async def test_d13_a_filter_on_what_follows_from_other_entries_is_not_followed(
    open_ldap: OpenSource, folk: company.Firm, aside: str
) -> None:
    with serving(folk, "log") as server:
        async with follower(open_ldap, server, people_filter=f"(|(objectClass=inetOrgPerson){aside})") as followed:
            assert (await followed.read()).cursor is None
            lines = (await followed.source.check(ReadRequest((), ASKED))).lines
            word = aside[1:].partition("=")[0]
            assert f"incremental: none ({word} changes without" in "\n".join(line.what for line in lines)


async def test_d13_many_changes_are_read_as_a_whole(
    open_ldap: OpenSource, folk: company.Firm, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    for module in ("syncrepl", "following"):
        monkeypatch.setattr(f"connector.directory.ldap.follow.{module}.MOST", 5)
    with serving(folk, way) as server:
        async with follower(open_ldap, server, way) as followed:
            await followed.read()
            for human in plain(folk, 6):
                followed.modify(human.dn, "changetype: modify", "replace: mail", "mail: x@firma.example")
            assert "more than 5 entries changed" in (await followed.changes()).lost


SAID = {
    "log": "incremental: syncrepl",
    "list": "incremental: syncrepl",
    "csn": "incremental: contextCSN (anchors are description, and sync searches name entries by entryUUID: deletions",
    "stamp": "incremental: modifyTimestamp (no syncprov overlay: deletions show only in a full reading)",
}


async def test_d13_check_says_how_changes_are_followed(followed: Followed, way: str) -> None:
    lines = (await followed.source.check(ReadRequest(("design",), ASKED))).lines
    assert [line.what for line in lines if not line.ok] == []
    assert f"{followed.server.url}: {SAID[way]}" in "\n".join(line.what for line in lines)


@pytest.mark.parametrize(
    ("extra", "access", "overrides", "said"),
    [
        (LOG, ["attrs=contextCSN by * none"], {}, "modifyTimestamp (no syncprov overlay, or its contextCSN is hidden"),
        (
            (),
            ["attrs=modifyTimestamp by * none"],
            {},
            "none (no syncprov overlay; modifyTimestamp and hasSubordinates cannot both",
        ),
        (LOG, [], {"groups_base": ""}, "none (groups_base is not set"),
    ],
)
async def test_d13_check_says_why_there_is_no_better_way(
    open_ldap: OpenSource,
    folk: company.Firm,
    extra: tuple[str, ...],
    access: list[str],
    overrides: dict[str, object],
    said: str,
) -> None:
    with slapd.running(aged(folk), extra=extra, access=access, schema=True) as server:
        async with follower(open_ldap, server, **overrides) as followed:
            lines = (await followed.source.check(ReadRequest((), ASKED))).lines
            assert f"incremental: {said}" in "\n".join(line.what for line in lines)
            reading = await followed.source.read(ReadRequest((), ASKED), now=now())
            assert (reading.cursor is None) == said.startswith("none")
