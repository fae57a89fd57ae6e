"""P1, G2: a plan and a held run that somebody who never read the manual understands; the same in JSON and Markdown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connector.reconcile.guard.guard import guard
from connector.reconcile.guard.limits import Permit, Windows
from connector.reconcile.outlook.outlook import Outlook
from connector.reconcile.plan import words
from connector.reconcile.plan.changes import Change, Harm, Kind
from connector.reconcile.show.awaiting import Awaiting
from connector.reconcile.show.in_words import grouped, headline, in_words
from connector.reconcile.show.outcome import Planned
from connector.reconcile.show.text import outcome_lines
from tests.parts.directories import HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import NOW, absent, ground, holding, plan_for


def planned(leavers: int = 9, *, awaiting: Awaiting | None = None, frozen: str = "", **limits: Any) -> Planned:
    """Leavers of Design, a newcomer and a mover to Site, against limits of two a day unless given."""
    chosen = policy(
        mapping("design", "Design", "CAD"),
        mapping("site", "Site", "CAD"),
        limits=limits or {"day_floor": 2, "day_percent": 0, "team_day_floor": 99},
    )
    source = HandSource()
    source.put(*(Somebody(f"d{number:02}") for number in range(30)), groups=["design"])
    source.put("s0", "s1", groups=["site"])
    recorded = holding(chosen, source, absences=absent("d29", scope="group:design"))
    for number in range(leavers):
        source.change(f"d{number:02}", disabled=True)
    source.put("new", groups=["site"])
    source.move("d29", "design", "site")
    draft = plan_for(source, chosen, recorded)
    windows = Windows({("organization", ""): 32, ("team", "design"): 30}, 32, frozen=frozen)
    made = guard(draft, ground(recorded, chosen), windows, Permit())
    return Planned(
        draft.plan,
        made,
        outlook=Outlook(),
        awaiting=tuple(awaiting or Awaiting(part.digest) for part in made.parts),
        at=NOW,
    )


def test_p1_a_plan_without_harm_says_what_happens_and_how_to_apply_it() -> None:
    shown = planned(0, day_floor=99, team_day_floor=99)
    digest = shown.digest[:12]
    assert shown.lines[0] == f"plan {digest}: 1 person loses something, 1 person is invited"
    assert shown.lines[1] == f"next: apply with `rosterd apply --digest {digest}`"


def test_g2_a_held_plan_opens_with_what_is_held_why_and_the_next_command() -> None:
    shown = planned()
    digest = shown.digest[:12]
    assert shown.lines[:6] == (
        f"plan {digest}: 10 people lose something, 1 person is invited",
        "HELD: the changes of 9 people wait until they are approved (9 removals); nothing of it happens before",
        "held: organization: disable and pause of 9 people; the limit is 2 in 24 hours (32 people there)",
        "held: organization: disable and pause of 9 people; the limit is 8 in 30 days (32 people there)",
        f"next: if this is meant, apply all of it, what is held included, with `rosterd apply --digest {digest}`",
        "      if it is not, correct the directory or the organization file, and plan again",
    )


def test_p1_the_table_is_grouped_by_team_and_kind_with_counts() -> None:
    shown = planned()
    start = next(at for at, line in enumerate(shown.lines) if line.startswith("  Team "))
    end = shown.lines.index("", start)
    assert [line.split() for line in shown.lines[start:end]] == [
        ["Team", "change", "people", "held"],
        ["Design", "LeaveTeam", "1", "·"],
        ["Design", "EndGrant", "CAD", "1", "·"],
        ["Design", "PauseSeat", "CAD", "9", "9"],
        ["Site", "JoinTeam", "2", "·"],
        ["Site", "AssignSeat", "CAD", "1", "·"],
        ["Site", "MoveSeat", "CAD", "1", "·"],
        ["Site", "AddGrant", "CAD", "1", "·"],
        ["(no", "Team)", "Invite", "1", "·"],
        ["(no", "Team)", "DisableIdentity", "9", "9"],
    ]
    assert len({len(line) for line in shown.lines[start:end]}) == 1, "columns stand under each other"
    document = shown.to_json()
    found = {
        (item["team"], item["kind"], item["offering"]): (item["people"], item["held"]) for item in document["groups"]
    }
    assert found["Design", "PauseSeat", "CAD"] == (9, 9)
    assert found["Site", "JoinTeam", ""] == (2, 0)
    assert found["(no Team)", "Invite", ""] == (1, 0)
    assert "| Design | PauseSeat CAD | 9 | 9 |" in shown.markdown


def test_p1_everybody_is_listed_with_the_cause_held_ones_first() -> None:
    lines = planned().lines
    people = [line for line in lines if "@acme.example" in line]
    assert people[0] == (
        "  held  d00@acme.example: seat of CAD @ Design pauses, becomes disabled (because: the entry is disabled)"
    )
    assert [line.startswith("  held") for line in people] == [True] * 9 + [False] * 2
    assert people[-1].endswith("(because: uid=new,ou=People → site → mapping site)")


def test_p1_long_lists_are_folded_and_say_how_to_see_all() -> None:
    shown = planned(28)
    folded = [line for line in shown.lines if "@acme.example:" in line]
    assert len(folded) == 20
    assert "  … and 10 people more: `rosterd plan --all` lists everybody" in shown.lines
    assert sum("@acme.example:" in line for line in shown.every_line) == 30
    assert not any("--all" in line for line in shown.every_line)
    assert shown.markdown.count("@acme.example |") >= 30


@pytest.mark.parametrize(
    ("awaiting", "frozen", "said"),
    [
        (Awaiting("a" * 64, NOW + timedelta(days=3)), "", "let what is held through with `rosterd approve aaaaaaaaaaaa"
         "`; it expires in 3 days (2026-03-05T09:00:00Z)"),
        (Awaiting("a" * 64, NOW + timedelta(hours=5), ("ada",), 2), "", "it expires in 5 hours (2026-03-02T14:00:00Z);"
         " approved by ada: one more approval by another principal is needed"),
        (Awaiting("a" * 64, approvers=2), "", "`rosterd apply --auto` applies what is not held and keeps the rest for"
         " approval; then, if it is meant, `rosterd approve aaaaaaaaaaaa`"),
        (Awaiting("a" * 64, frozen="holidays"), "holidays", "`rosterd approve aaaaaaaaaaaa"
         " --despite-freeze`"),
    ],
)  # fmt: skip
def test_g3_the_next_command_fits_how_the_held_set_stands(awaiting: Awaiting, frozen: str, said: str) -> None:
    shown = planned(awaiting=awaiting, frozen=frozen)
    assert any(said in line for line in shown.lines), shown.lines[:9]
    assert any(said.partition("; it expires")[0].partition("it expires")[0] in line for line in shown.to_json()["next"])
    assert said in shown.markdown
    assert shown.to_json()["held"]["approved_by"] == list(awaiting.approved_by)


def test_g2_a_held_run_names_the_command_the_people_and_the_expiry() -> None:
    shown = planned()
    kept = Awaiting(shown.guarded.held_digest, NOW + timedelta(hours=72))
    lines = outcome_lines(shown.plan, shown.guarded, (kept,), NOW)
    digest = kept.digest[:12]
    assert lines[0] == f"1 removals applied, 9 held; approve with `rosterd approve {digest}`"
    assert lines[-2] == f"who: `rosterd report held {digest}`; it expires in 3 days (2026-03-05T09:00:00Z)"
    assert lines[-1].startswith("applied: ")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=3), "expires in 3 days ("),
        (timedelta(days=3) - timedelta(seconds=1), "expires in 3 days ("),
        (timedelta(days=2), "expires in 2 days ("),
        (timedelta(days=2) - timedelta(seconds=1), "expires in 48 hours ("),
        (timedelta(days=1), "expires in 24 hours ("),
        (timedelta(hours=2), "expires in 2 hours ("),
        (timedelta(minutes=119), "expires in 119 minutes ("),
        (timedelta(seconds=59), "expires in about a minute ("),
        (timedelta(0), "expired ("),
        (-timedelta(days=1), "expired ("),
    ],
)
def test_g3_how_long_a_held_set_can_be_approved_is_said_to_the_nearest(left: timedelta, said: str) -> None:
    now = datetime(2026, 3, 2, 9, 0, 0, 5, tzinfo=UTC)
    assert words.expiry(now + left, now).startswith(said)


def test_p2_every_kind_of_change_has_its_words() -> None:
    for kind in Kind:
        said = in_words(Change(kind, "anna@acme.example", "CAD @ Design", "Site", "Design"))
        assert said
        assert "{" not in said
    assert in_words(Change(Kind.WAIT, "a", "CAD @ Design", "waiting", "")) == "no longer waits for CAD @ Design"
    assert in_words(Change(Kind.REINSTATE, "a", "", "absent", "active")) == "is active again"


def test_p1_each_person_is_counted_once_by_the_worst_that_happens() -> None:
    shown = planned()
    assert headline(shown.plan.bundles).startswith("10 people lose something")
    assert headline(()) == ""
    assert grouped((), ()) == []
    assert Harm.NONE == ""
