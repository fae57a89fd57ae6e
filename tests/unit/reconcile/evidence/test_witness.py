"""Which readings may witness an absence: a table over stands, and the way out of a doubt (E2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connector.directory.stand import CONTEXT_CSN, EXPORTED, USN, Marks, Stand, between
from connector.reconcile.evidence.witness import ACCEPTED_AFTER, Kept, Verdict, judge

A, B, C = "ldap://a", "ldap://b", "ldap://c"
SERVERS = (A, B)
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def csn(clock: str, sid: str = "001") -> str:
    return f"202603020{clock.replace(':', '')}00.000000Z#000000#{sid}#000000"


def openldap(clock: str, server: str = A, *, to: str = "", database: str = "uuid-1", **more: str) -> Stand:
    """``clock``: when server 001 made its newest change; ``to``: at the end of the reading; ``more``: s002="8:00"."""
    others = {sid.removeprefix("s"): csn(when, sid.removeprefix("s")) for sid, when in more.items()}
    low, high = ({"ou=people": {"": database, "001": csn(when), **others}} for when in (clock, to or clock))
    return Stand(server, CONTEXT_CSN, low, high, SERVERS)


def domain(usn: int, server: str = A, invocation: str = "aa") -> Stand:
    marks = {"": {"": invocation, "usn": f"{usn:020}"}}
    return Stand(server, USN, marks, marks, SERVERS)


def export(clock: str) -> Stand:
    marks: Marks = {"": {"time": f"2026-03-02T{clock}"}}
    return Stand("people.ldif", EXPORTED, marks, marks, ("people.ldif",))


def silent(server: str = A) -> Stand:
    return Stand(server, servers=SERVERS)


@pytest.mark.parametrize(
    ("last", "now", "said", "anew"),
    [
        (openldap("8:00"), openldap("8:00"), "", False),
        (openldap("8:00"), openldap("8:01"), "", False),
        (openldap("8:00"), openldap("7:59"), "ldap://a is at an older state than when people were last read", False),
        (openldap("8:00", to="8:02"), openldap("8:01", to="8:05"), "older state", False),
        (openldap("8:00", s002="8:00"), openldap("8:30", s002="7:00"), "of ou=people from server 002 is", False),
        (openldap("8:00", s002="8:00"), openldap("8:30"), "from server 002 is missing", False),
        (openldap("8:00"), openldap("8:00", s002="7:00"), "", False),
        (openldap("8:00"), openldap("9:00", database="uuid-2"), "another database than before", False),
        (openldap("8:00"), openldap("8:00", B), "", True),
        (openldap("8:00"), openldap("7:59", B), "ldap://b lags behind ldap://a", False),
        (openldap("8:00", to="8:02"), openldap("8:01", B, to="8:05"), "ldap://b lags behind ldap://a", False),
        (openldap("8:00"), openldap("9:00", B, database="uuid-2"), "ldap://b cannot be compared with ldap://a", False),
        (openldap("8:00"), silent(), "does not say how new it is (contextCSN) any more", False),
        (openldap("8:00"), silent(B), "ldap://b cannot be compared with ldap://a", False),
        (silent(), openldap("8:00"), "", False),
        (silent(), openldap("8:00", B), "ldap://b cannot be compared with ldap://a", False),
        (silent(), silent(), "", False),
        (silent(), silent(B), "ldap://b cannot be compared with ldap://a", False),
        (openldap("8:00", C), openldap("7:00"), "", True),
        (silent(C), silent(), "", True),
        (domain(99), domain(100), "", False),
        (domain(100), domain(99), "ldap://a is at an older state", False),
        (domain(100), domain(200, invocation="bb"), "another database than before", False),
        (domain(100), domain(200, B, "bb"), "ldap://b cannot be compared with ldap://a", False),
        (export("08:00:00"), export("08:00:00"), "", False),
        (export("08:00:00"), export("07:00:00"), "people.ldif is at an older state", False),
        (export("08:00:00"), Stand("people.ldif", servers=("people.ldif",)), "(export time) any more", False),
        (Stand("old.ldif", EXPORTED, {"": {"time": "9"}}, {"": {"time": "9"}}), export("07:00:00"), "", True),
    ],
)  # fmt: skip
def test_e2_a_reading_witnesses_an_absence_only_when_its_server_is_not_behind(
    last: Stand, now: Stand, said: str, anew: bool
) -> None:
    found = judge(Kept(last), now, NOW)
    assert said in found.doubt
    assert bool(found.doubt) == bool(said)
    assert found.anew == anew
    assert found.kept == (Kept(last, now, NOW) if said else Kept(now))


def test_e2_the_first_reading_of_all_is_believed() -> None:
    assert judge(None, openldap("8:00"), NOW) == Verdict(Kept(openldap("8:00")))


def test_e2_other_bases_by_the_organization_file_begin_anew() -> None:
    marks: Marks = {"ou=elsewhere": {"": "uuid-2", "001": csn("7:00")}}
    assert judge(Kept(openldap("8:00")), Stand(A, CONTEXT_CSN, marks, marks, SERVERS), NOW).anew


def test_e2_of_several_bases_those_that_are_still_read_count() -> None:
    marks: Marks = {**openldap("8:00").marks, "ou=elsewhere": {"": "uuid-2", "001": csn("9:00")}}
    both = Stand(A, CONTEXT_CSN, marks, marks, SERVERS)
    assert judge(Kept(both), openldap("8:00"), NOW) == Verdict(Kept(openldap("8:00")))
    assert "older state" in judge(Kept(both), openldap("7:59"), NOW).doubt


def test_e2_the_first_server_is_believed_when_it_answers_again() -> None:
    found = judge(Kept(openldap("8:00")), openldap("7:00", B), NOW)
    assert judge(found.kept, openldap("8:30"), NOW + timedelta(hours=1)) == Verdict(Kept(openldap("8:30")))


def test_e2_a_replica_that_lagged_is_believed_when_it_has_caught_up() -> None:
    found = judge(Kept(openldap("8:00")), openldap("7:00", B), NOW)
    found = judge(found.kept, openldap("7:30", B), NOW + timedelta(hours=1))
    assert found.doubt
    assert found.kept == Kept(openldap("8:00"), openldap("7:00", B), NOW), "the first one counts"
    found = judge(found.kept, openldap("8:30", B), NOW + timedelta(hours=2))
    assert found == Verdict(Kept(openldap("8:30", B)), "", anew=True)


@pytest.mark.parametrize(
    ("last", "copy", "then", "believed"),
    [
        (openldap("8:00"), openldap("7:00"), openldap("8:00"), True),
        (openldap("8:00"), openldap("7:00"), openldap("8:01"), False),
        (openldap("8:00"), openldap("7:55"), openldap("8:01"), True),
        (openldap("8:00", s002="6:00"), openldap("8:00", s002="5:00"), openldap("8:30", s002="6:00"), True),
        (openldap("8:00", s002="6:00"), openldap("8:00", s002="5:00"), openldap("8:30", s002="6:01"), False),
        (openldap("8:00"), openldap("7:00", B), openldap("8:01", B), True),
        (openldap("8:00", s000="6:00"), openldap("8:00", B, s000="5:59"), openldap("8:00", B, s000="6:00"), True),
        (openldap("8:00", s000="6:00"), openldap("8:00", B, s000="5:59"), openldap("8:00", B, s000="6:01"), False),
        (domain(100), domain(90), domain(100), True),
        (domain(100), domain(90), domain(101), False),
        (export("08:00:00"), export("07:00:00"), export("08:30:00"), True),
    ],
)
def test_e2_an_older_copy_that_was_written_to_has_not_caught_up(
    last: Stand, copy: Stand, then: Stand, believed: bool
) -> None:
    found = judge(Kept(last), copy, NOW)
    assert found.doubt
    later = judge(found.kept, then, NOW + timedelta(hours=1))
    assert (later.doubt == "") is believed
    assert later.kept == (Kept(then) if believed else found.kept)
    if not believed:
        assert f"{then.server} was behind and was written to since" in later.doubt


def test_e2_a_doubt_does_not_last_for_ever() -> None:
    found = judge(Kept(silent()), silent(B), NOW)
    assert found.doubt.endswith("if it stays so, it is believed from 2026-03-09 09:00 UTC on")
    for hours in (1, 24, 7 * 24 - 1):
        found = judge(found.kept, silent(B), NOW + timedelta(hours=hours))
        assert "2026-03-09 09:00" in found.doubt
    assert judge(found.kept, silent(B), NOW + ACCEPTED_AFTER) == Verdict(Kept(silent(B)), "", anew=True)


@pytest.mark.parametrize("between_them", [silent(C), domain(5, B, "cc"), silent(A)])
def test_e2_only_one_and_the_same_place_for_seven_days_is_believed(between_them: Stand) -> None:
    servers = (A, B, C)
    strange = Stand(B, servers=servers)
    found = judge(Kept(silent()), strange, NOW)
    other = Stand(between_them.server, between_them.kind, between_them.marks, between_them.upto, servers)
    found = judge(found.kept, other, NOW + timedelta(days=3))
    found = judge(found.kept, strange, NOW + timedelta(days=8))
    assert "2026-03-17" in found.doubt


def test_e2_a_clock_that_was_put_back_only_makes_it_wait() -> None:
    found = judge(Kept(silent()), silent(B), NOW)
    found = judge(found.kept, silent(B), NOW - timedelta(days=30))
    assert found.kept.since == NOW - timedelta(days=30)
    assert found.doubt


def test_e2_a_stand_that_one_end_does_not_tell_tells_nothing() -> None:
    whole = between(openldap("8:00"), openldap("8:05"))
    assert (whole.marks, whole.upto) == (openldap("8:00").marks, openldap("8:05").marks)
    assert between(openldap("8:00"), silent()) == silent()
    assert between(silent(), openldap("8:00")) == silent()
