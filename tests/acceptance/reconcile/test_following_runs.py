"""Whole runs that read only what a real slapd says has changed (D13), on both databases, held against whole plans."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector.directory.base import ReadRequest
from connector.directory.changes import Traced, TraceRequest
from connector.directory.ldap.source import LdapSource
from connector.directory.mapping import AttributeRules
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store import kept_groups, last_readings, people, runs, seats
from ledger.store.engine import Ledger
from rosterd.demo import company
from tests.parts import company as slapd_company
from tests.parts import slapd
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy, stand_in_gate
from tests.parts.every_row import every_row
from tests.parts.fences import ALONE
from tests.parts.reconciled_directory import PASSWORD, ldap_settings
from tests.parts.tamper import lying, without_some

EVERYBODY = company.found(60)
GROUPS = ("design", "engineering", "site", "visual")
LOG = (*slapd.SYNCPROV, "syncprov-sessionlog 1000")
WAYS = {"syncrepl": LOG, "present list": slapd.SYNCPROV, "modifyTimestamp": ()}


@pytest.fixture(autouse=True)
def _ground(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)
    monkeypatch.setenv(PASSWORD, slapd.SLAPPASSWD_FREE)
    monkeypatch.setattr(slapd_company, "SUFFIX", company.SUFFIX)


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(way: str) -> Iterator[slapd.Slapd]:
    """A server of this test alone, that can be changed; whoever is described as secret is hidden from readers."""
    hidden = 'filter="(description=secret)" by * none'
    with slapd.running(EVERYBODY.to_ldif(), schema=True, extra=WAYS[way], access=[hidden]) as running:
        yield running


@dataclass
class Followed:
    """An organization over one server; every run is twenty minutes after the one before."""

    ledger: Ledger
    url: str
    now: datetime
    limits: dict[str, object] | None = None
    filter: str = ""
    """With one, the directory is read by nobody in particular, so that access rules count."""

    def setup(self) -> Setup:
        nobody = {"bind": "anonymous", "bind_dn": "", "bind_password": None, "people_filter": self.filter}
        settings = ldap_settings(self.url, **(nobody if self.filter else {}))
        chosen = policy(
            *(mapping(name, name.title(), "CAD", group=company.group_dn(name), keep_group=True) for name in GROUPS),
            limits=self.limits,
        )
        source = open_source(settings, folder=Path())
        return Setup(ORGANIZATION, chosen, (ConfiguredSource(source, AttributeRules.from_settings(settings)),))

    async def run(self, *, whole: bool = False, **later: float) -> RunOutcome:
        self.now += timedelta(**(later or {"minutes": 20}))
        setup = self.setup()
        if whole:
            setup = replace(setup, whole_every=timedelta())
        try:
            return await run.apply(self.ledger, setup, fence=ALONE, now=self.now, actor="test", auto=True)
        finally:
            await setup.sources[0].source.close()

    async def would(self) -> str:
        """The digest of what planning everybody from a whole reading would do at the next run."""
        setup = self.setup()
        try:
            return (await run.plan(self.ledger, setup, now=self.now + timedelta(minutes=20))).digest
        finally:
            await setup.sources[0].source.close()

    async def picture(self) -> dict[str, list[tuple[object, ...]]]:
        async with self.ledger.read(ORGANIZATION.id) as reader:
            return {
                "people": sorted(row[2:9] for row in await people.open_identities(reader)),
                "links": sorted(row[2:4] for row in await people.directory_links(reader)),
                "teams": sorted(row[1:] for row in await people.open_memberships(reader)),
                "groups": sorted(row[1:] for row in await kept_groups.members(reader, None)),
                "seats": sorted(row[3:7] for row in await seats.open_seats(reader)),
            }

    async def cursor(self) -> object:
        async with self.ledger.read(ORGANIZATION.id) as reader:
            return await runs.cursor(reader, "corp")


@pytest.fixture
async def followed(ledger: Ledger, server: slapd.Slapd) -> Followed:
    """Everybody is in; the next run has something to follow."""
    here = Followed(ledger, server.url, datetime.now(UTC))
    await make_world(
        ledger, here.now, here.setup().policy, Design_CAD=20, Engineering_CAD=40, Site_CAD=20, Visual_CAD=9
    )
    first = await here.run()
    assert first.state is RunState.APPLIED
    assert await here.cursor()
    return here


def by_changes(outcome: RunOutcome) -> bool:
    """Whether only changes were read."""
    return [line.scope for line in outcome.scopes] == ["changes"]


def dn(number: int) -> str:
    return list(EVERYBODY.people.values())[number].dn


def modify(name: str, *lines: str) -> str:
    return f"dn: {name}\nchangetype: modify\n" + "\n-\n".join(lines) + "\n\n"


async def test_d13_a_run_without_change_reads_and_writes_next_to_nothing(followed: Followed) -> None:
    before = await followed.picture()
    outcome = await followed.run()
    assert by_changes(outcome)
    assert (outcome.state, outcome.exit_code) == (RunState.NOTHING, 0)
    assert await followed.picture() == before


async def test_d13_changes_give_the_plan_of_a_whole_reading(followed: Followed, server: slapd.Slapd) -> None:
    one, two, three = (list(EVERYBODY.people.values())[n] for n in (3, 4, 5))
    new = company.employee("Nina", "Nowa", 901, "design")
    server.modify(
        modify(one.dn, "replace: sn\nsn: Changed")
        + modify(two.dn, f"replace: mail\nmail: other.{two.mail}")
        + f"dn: {three.dn}\nchangetype: modrdn\nnewrdn: uid=moved.{three.uid}\ndeleteoldrdn: 1\n\n"
        + modify(company.group_dn(three.department), f"delete: member\nmember: {three.dn}",
                 f"add: member\nmember: uid=moved.{three.uid},{company.PEOPLE_BASE}")
        + company._block([line for line in company._person(new) if line[0] != "entryUUID"]).replace(
            "\n", "\nchangetype: add\n", 1) + "\n"
        + modify(company.group_dn("design"), f"add: member\nmember: {new.dn}")
    )  # fmt: skip
    digest = await followed.would()
    outcome = await followed.run()
    assert by_changes(outcome)
    assert outcome.digest == digest
    assert outcome.state is RunState.APPLIED
    assert outcome.counts["Invite"] == 1
    after = await followed.picture()
    whole = await followed.run(whole=True)
    assert whole.state is RunState.NOTHING
    assert await followed.picture() == after
    assert not [problem for problem in whole.problems if problem.code == "drift"]


async def test_d13_a_mover_needs_two_looks_at_the_group(followed: Followed, server: slapd.Slapd) -> None:
    person = EVERYBODY.in_group("design")[0]
    server.modify(
        modify(company.group_dn("design"), f"delete: member\nmember: {person.dn}")
        + modify(company.group_dn("site"), f"add: member\nmember: {person.dn}")
    )
    for state in (RunState.NOTHING, RunState.APPLIED):
        digest = await followed.would()
        outcome = await followed.run()
        assert by_changes(outcome)
        assert (outcome.digest, outcome.state) == (digest, state)
    assert outcome.counts["LeaveTeam"] == outcome.counts["JoinTeam"] == 1


async def test_d13_a_deletion_is_believed_once_it_is_looked_up_twice(
    followed: Followed, server: slapd.Slapd, way: str
) -> None:
    gone = EVERYBODY.in_group("engineering")[0]
    server.modify(
        modify(company.group_dn("engineering"), f"delete: member\nmember: {gone.dn}")
        + f"dn: {gone.dn}\nchangetype: delete\n\n"
    )
    first = await followed.run()
    assert by_changes(first)
    if way == "modifyTimestamp":  # tells of no deletion: the group's absence is all there is until a whole reading
        assert dict(first.counts) == {}
        whole = await followed.run(whole=True)
        assert not [problem for problem in whole.problems if problem.code == "drift"]
        assert (await followed.run()).counts["DisableIdentity"] == 1
        return
    assert dict(first.counts) == {}, "what a server calls deleted may be hidden, moved or filtered out (E2)"
    first = await followed.run()
    assert by_changes(first)
    assert dict(first.counts) == {"DisableIdentity": 1, "PauseSeat": 1}


VANISHES = {
    "hidden by an access rule": lambda person: modify(person.dn, "add: description\ndescription: secret"),
    "moved out of the base": lambda person: (
        f"dn: {person.dn}\nchangetype: modrdn\nnewrdn: uid={person.uid}\ndeleteoldrdn: 1\n"
        f"newsuperior: {company.SUFFIX}\n\n"
    ),
    "left the filter": lambda person: modify(person.dn, "replace: departmentNumber\ndepartmentNumber: elsewhere"),
}


@pytest.mark.parametrize("how", VANISHES)
@pytest.mark.parametrize("way", ["syncrepl", "present list"], indirect=True)
async def test_e2_an_entry_that_is_no_longer_shown_is_absent_once_and_nobody_loses_anything(
    ledger: Ledger, server: slapd.Slapd, how: str
) -> None:
    here = await filtered(ledger, server, "(&(uid=*)(!(departmentNumber=elsewhere)))")
    person = EVERYBODY.in_group("engineering")[0]
    server.modify(
        modify(company.group_dn("engineering"), f"delete: member\nmember: {person.dn}") + VANISHES[how](person)
    )
    before = await here.picture()
    first = await here.run()
    assert by_changes(first)
    assert (dict(first.counts), await here.picture()) == ({}, before)
    assert any(problem.code == "unconfirmed" and person.mail in problem.subjects for problem in first.problems)
    second = await here.run()
    assert by_changes(second)
    assert dict(second.counts) == {"DisableIdentity": 1, "PauseSeat": 1}


NOT_DISABLED = {
    "an attribute": ("(!(employeeType=disabled))", "replace: employeeType\nemployeeType: disabled"),
    "a lock": ("(!(pwdAccountLockedTime=*))", "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z"),
}
LEAVER = {"DisableIdentity": 1, "PauseSeat": 1}


@pytest.mark.parametrize("sign", NOT_DISABLED)
@pytest.mark.parametrize("whole", [False, True], ids=["followed", "read whole"])
async def test_e1_a_filter_that_leaves_out_disabled_accounts_keeps_no_leaver(
    ledger: Ledger, server: slapd.Slapd, way: str, sign: str, whole: bool
) -> None:
    filter_, change = NOT_DISABLED[sign]
    here = await filtered(ledger, server, f"(&(uid=*){filter_})")
    person = EVERYBODY.in_group("engineering")[0]  # whom the group goes on listing
    server.modify(modify(person.dn, change))
    if way == "modifyTimestamp" and not whole:  # whoever leaves the filter shows in the next whole reading
        assert dict((await here.run()).counts) == {}
        whole = True
    digest = await here.would()
    outcome = await here.run(whole=whole)
    assert by_changes(outcome) is not whole
    assert (outcome.digest, dict(outcome.counts), outcome.exit_code) == (digest, LEAVER, 0)
    after = await here.picture()
    assert [row[5] for row in after["people"] if row[1] == person.mail.casefold()] == ["disabled"]
    server.modify(f"dn: {person.dn}\nchangetype: delete\n\n")
    assert [(await here.run(whole=whole)).state for _ in range(2)] == [RunState.NOTHING] * 2
    assert await here.picture() == after


STALE = {
    "moved out, enabled": VANISHES["moved out of the base"],
    "deleted without refint": lambda person: f"dn: {person.dn}\nchangetype: delete\n\n",
}


@pytest.mark.parametrize("how", STALE)
@pytest.mark.parametrize("way", ["syncrepl", "modifyTimestamp"], indirect=True)
async def test_e1_who_is_not_proved_to_have_left_stays_while_the_group_lists_them(
    ledger: Ledger, server: slapd.Slapd, how: str
) -> None:
    here = await filtered(ledger, server, "(uid=*)")
    person = EVERYBODY.in_group("engineering")[0]
    server.modify(STALE[how](person))
    before = await here.picture()
    for whole in (False, True, False, True):
        outcome = await here.run(whole=whole)
        assert (dict(outcome.counts), outcome.exit_code, await here.picture()) == ({}, 0, before)
    assert any(problem.code == "doubt" and person.mail in problem.subjects for problem in outcome.problems)


async def test_e1_nobody_is_looked_for_where_nobody_is_missing(
    ledger: Ledger, server: slapd.Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    trace = LdapSource.trace

    async def counted(source: LdapSource, request: TraceRequest, *, now: datetime) -> Traced:
        asked.append(request.anchors)
        return await trace(source, request, now=now)

    monkeypatch.setattr(LdapSource, "trace", counted)
    here = await filtered(ledger, server, "(&(uid=*)(!(employeeType=disabled)))")
    person = EVERYBODY.in_group("engineering")[0]
    for whole in (False, True):
        await here.run(whole=whole)
        await here.would()
    assert asked == []
    server.modify(modify(person.dn, "replace: employeeType\nemployeeType: disabled"))
    await here.run(whole=True)
    assert asked == [(person.anchor,)]
    for whole in (False, True):
        await here.run(whole=whole)
        await here.would()
    assert len(asked) == 1


async def filtered(ledger: Ledger, server: slapd.Slapd, people_filter: str) -> Followed:
    """Everybody whom this filter shows to a reader is in."""
    here = Followed(ledger, server.url, datetime.now(UTC), filter=people_filter)
    await make_world(
        ledger, here.now, here.setup().policy, Design_CAD=20, Engineering_CAD=40, Site_CAD=20, Visual_CAD=9
    )
    assert (await here.run()).state is RunState.APPLIED
    return here


async def test_d13_a_held_plan_keeps_the_cursor_and_its_held_set(ledger: Ledger, server: slapd.Slapd, way: str) -> None:
    here = Followed(ledger, server.url, datetime.now(UTC), {"day_floor": 2, "team_day_floor": 2})
    await make_world(
        ledger, here.now, here.setup().policy, Design_CAD=20, Engineering_CAD=40, Site_CAD=20, Visual_CAD=9
    )
    setup = here.setup()
    seen = await run.plan(ledger, setup, now=here.now)
    await run.apply(ledger, setup, fence=ALONE, now=here.now, actor="test", digest=seen.digest)
    await setup.sources[0].source.close()
    cursor = await here.cursor()
    leaving = EVERYBODY.in_group("engineering")[:8]
    server.modify("".join(modify(person.dn, "replace: employeeType\nemployeeType: disabled") for person in leaving))
    outcomes = [await here.run(minutes=15) for _ in range(3)]  # within the hour in which no deletion is looked for
    assert all(by_changes(outcome) for outcome in outcomes)
    assert {outcome.held for outcome in outcomes} == {outcomes[0].held}
    assert outcomes[0].held_counts["DisableIdentity"] == 8
    assert await here.cursor() == cursor
    setup = here.setup()
    done = await run.approve(ledger, setup, outcomes[0].held, reason="left", actor="boss", fence=ALONE, now=here.now)
    await setup.sources[0].source.close()
    assert done.counts["DisableIdentity"] == 8
    after = await here.run()
    assert (after.state, dict(after.counts)) == (RunState.NOTHING, {})
    if way != "modifyTimestamp":  # a time, which may be the same
        assert await here.cursor() != cursor


@pytest.mark.parametrize("way", ["present list"], indirect=True)
async def test_d13_a_partial_present_list_takes_nothing(followed: Followed, server: slapd.Slapd) -> None:
    before = await followed.picture()
    port = int(server.url.rpartition(":")[2])
    cut: list[int] = []

    def partial(operation: int, message: bytes) -> bytes:
        is_list = operation == 0x79 and b"1.3.6.1.4.1.4203.1.9.1.4" in message and b"\x04\x10" in message
        if not is_list or len(message) < 500:  # the short list is that of the groups
            return message
        cut.append(len(message))
        return without_some(message, lambda place: place % 2 == 0)

    server.modify(modify(dn(40), "replace: sn\nsn: Changed"))
    with lying(port, partial) as url:
        async with followed.ledger.write(ORGANIZATION.id, ALONE, at=followed.now) as book:
            found = dict(await runs.cursor(book, "corp") or {})
            await runs.put_cursor(book, "corp", {**found, "server": url})
        liar = replace(followed, url=url)
        outcomes = [await liar.run(), await liar.run()]
    assert cut, "the server listed who is present, and half of it was left out"
    assert all(by_changes(outcome) for outcome in outcomes)
    after = await followed.picture()
    for name in ("links", "teams", "seats"):
        assert after[name] == before[name]
    assert [row[5] for row in after["people"]] == [row[5] for row in before["people"]]


@pytest.mark.parametrize("way", ["modifyTimestamp"], indirect=True)
async def test_d13_deletions_that_are_not_told_are_looked_for_every_hour(
    followed: Followed, server: slapd.Slapd
) -> None:
    gone = EVERYBODY.in_group("engineering")[0]
    server.modify(
        modify(company.group_dn("engineering"), f"delete: member\nmember: {gone.dn}")
        + f"dn: {gone.dn}\nchangetype: delete\n\n"
    )
    outcomes = [await followed.run() for _ in range(4)]
    assert [by_changes(outcome) for outcome in outcomes] == [True, True, False, True]
    assert [problem.code for problem in outcomes[2].problems if "deletions" in problem.what] == ["read-whole"]
    # the second run looks into why the group lists them no longer, and does not find them
    assert [dict(outcome.counts) for outcome in outcomes] == [{}, {}, {"DisableIdentity": 1, "PauseSeat": 1}, {}]


@pytest.mark.parametrize("way", ["syncrepl"], indirect=True)
async def test_d13_what_cannot_be_followed_is_read_whole_and_said(followed: Followed, server: slapd.Slapd) -> None:
    before = await followed.picture()
    async with followed.ledger.write(ORGANIZATION.id, ALONE, at=followed.now) as book:
        found = dict(await runs.cursor(book, "corp") or {})
        await runs.put_cursor(book, "corp", {**found, "server": "ldap://elsewhere.example"})
    outcome = await followed.run()
    assert not by_changes(outcome)
    assert [problem.code for problem in outcome.problems] == ["read-whole"]
    assert "elsewhere.example" in outcome.problems[0].what
    assert (outcome.state, await followed.picture()) == (RunState.NOTHING, before)
    assert by_changes(await followed.run())


@pytest.mark.parametrize("way", ["syncrepl"], indirect=True)
async def test_d13_what_the_changes_did_not_tell_is_drift(followed: Followed, server: slapd.Slapd) -> None:
    """A change that the follower never heard of, as after a restore on the server's side: found, named, counted."""
    server.modify(modify(dn(7), "replace: sn\nsn: Unheard"))
    async with followed.ledger.write(ORGANIZATION.id, ALONE, at=followed.now) as book:
        held = await runs.cursor(book, "corp")
    assert held is not None
    fresh = followed.setup()
    later = await fresh.sources[0].source.read(  # a reading that is not kept, only for its place
        run_request(fresh), now=datetime.now(UTC)
    )
    await fresh.sources[0].source.close()
    async with followed.ledger.write(ORGANIZATION.id, ALONE, at=followed.now) as book:
        await runs.put_cursor(book, "corp", later.cursor or {})
    assert (await followed.run()).state is RunState.NOTHING
    whole = await followed.run(whole=True)
    drift = [problem for problem in whole.problems if problem.code == "drift"]
    assert [problem.subjects for problem in drift] == [(dn(7),)]
    assert whole.counts["UpdateIdentity"] == 1
    async with followed.ledger.read(ORGANIZATION.id) as reader:
        counted = {row[1]: row[6] for row in await runs.scopes(reader)}
        assert await last_readings.base(reader) is not None
    assert counted["drift"] == 1


def run_request(setup: Setup) -> ReadRequest:
    return ReadRequest(setup.policy.groups_of("corp"), setup.sources[0].rules.requested)


@pytest.mark.parametrize("way", ["syncrepl"], indirect=True)
async def test_p1_a_plan_writes_nothing_to_the_ledger_the_outbox_and_the_directory(
    followed: Followed, server: slapd.Slapd
) -> None:
    server.modify(
        modify(dn(3), "replace: sn\nsn: Changed")
        + modify(company.group_dn("design"), f"delete: member\nmember: {EVERYBODY.in_group('design')[0].dn}")
        + modify(dn(9), "replace: employeeType\nemployeeType: disabled")
    )
    rows, entries = await every_row(followed.ledger), every_entry(server)
    assert rows["outbox"]
    for against_last in (False, True):
        setup = followed.setup()
        planned = await run.plan(
            followed.ledger, setup, now=followed.now + timedelta(minutes=30), against_last=against_last
        )
        await setup.sources[0].source.close()
        assert planned.plan.empty is against_last
        assert await every_row(followed.ledger) == rows
        assert every_entry(server) == entries


def every_entry(server: slapd.Slapd) -> str:
    """All the server holds, its operational attributes (modifyTimestamp, contextCSN) with it."""
    command = ["ldapsearch", "-x", "-LLL", "-H", server.url, "-D", f"cn=root,{company.SUFFIX}", "-w",
               slapd.SLAPPASSWD_FREE, "-b", company.SUFFIX, "(objectClass=*)", "*", "+"]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
