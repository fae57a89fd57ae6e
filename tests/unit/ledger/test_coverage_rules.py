"""R7, R8, R13–R15 as tables: small worlds written in one line each.

``subs``: id → (Team, offering, tier); ``seats``: (person, subscription) or (person, subscription, state);
``teams``: Team → its members; ``admins``: Primary Admin → Teams.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ledger.coverage import Facts, History, Manages, Member, Period, benefit, coverage, unpaid_since, violations
from ledger.seat import Offering, OfferingKind, Seat, SeatState, Subscription, Tier

DAY = date(2026, 3, 2)
START, END = date(2026, 1, 1), date(2027, 1, 1)
OFFERINGS = (
    Offering("CAD", "Cad", OfferingKind.SINGLE_USER, eligible=True),
    Offering("BIM", "Bim", OfferingKind.SINGLE_USER, eligible=True),
    Offering("OLD", "Excluded", OfferingKind.SINGLE_USER, eligible=False),
    Offering("NET", "Network", OfferingKind.MULTI_USER, eligible=True),
)


def facts(
    subs: dict[str, tuple[str, str, str]],
    seats: list[tuple[str, ...]],
    teams: dict[str, str] | None = None,
    admins: dict[str, str] | None = None,
    day: date = DAY,
) -> Facts:
    subscriptions = {
        name: Subscription(name, team, offering, 10, Tier(tier), START, END)
        for name, (team, offering, tier) in subs.items()
    }
    held = []
    for person, name, *state in seats:
        owner = subscriptions[name]
        held.append(
            Seat(
                f"{person}/{name}",
                name,
                owner.team_id,
                owner.offering_code,
                person,
                SeatState((state or ["active"])[0]),
            )
        )
    members = tuple(Member(person, team) for team, people in (teams or {}).items() for person in people.split())
    managers = tuple(Manages(admin, team) for admin, owned in (admins or {}).items() for team in owned.split() or [""])
    return Facts(day, OFFERINGS, tuple(subscriptions.values()), tuple(held), members, managers)


B, S = "business", "standard"

R7: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("S0 active seat with Business", {"subs": {"b": ("t", "CAD", B)}, "seats": [("ewa", "b")]}, ()),
    ("invited already may", {"subs": {"b": ("t", "CAD", B)}, "seats": [("ewa", "b", "invited")]}, ()),
    (
        "standard only",
        {"subs": {"s": ("t", "CAD", S)}, "seats": [("ewa", "s")]},
        ("no seat of an eligible offering with Business",),
    ),
    (
        "R15 Business on an excluded offering is no Business",
        {"subs": {"b": ("t", "OLD", B)}, "seats": [("ewa", "b")]},
        ("no seat of an eligible offering with Business",),
    ),
    (
        "S1 multi-user Business without a single-user subscription",
        {"subs": {"b": ("t", "NET", B)}, "seats": [("ewa", "b")]},
        ("no active, unexpired single-user subscription",),
    ),
    (
        "R9 Business apart from the standard subscription",
        {"subs": {"b": ("t", "NET", B), "s": ("u", "CAD", S)}, "seats": [("ewa", "b"), ("ewa", "s")]},
        (),
    ),
    (
        "a paused seat",
        {"subs": {"b": ("t", "CAD", B)}, "seats": [("ewa", "b", "paused")], "teams": {"t": "ewa"}},
        ("no active, unexpired single-user subscription", "no seat of an eligible offering with Business"),
    ),
    (
        "an expired term, at its first midnight",
        {"subs": {"b": ("t", "CAD", B)}, "seats": [("ewa", "b")], "teams": {"t": "ewa"}, "day": END},
        ("no active, unexpired single-user subscription", "no seat of an eligible offering with Business"),
    ),
    (
        "somebody else",
        {"subs": {"b": ("t", "CAD", B)}, "seats": [("jan", "b")]},
        (
            "not a member of any Team",
            "no active, unexpired single-user subscription",
            "no seat of an eligible offering with Business",
        ),
    ),
]


@pytest.mark.parametrize(("world", "missing"), [case[1:] for case in R7], ids=[case[0] for case in R7])
def test_r7_benefit_of_an_identity(world: dict[str, Any], missing: tuple[str, ...]) -> None:
    found = benefit(facts(**world), "ewa")
    assert (found.granted, found.missing) == (not missing, missing)


R8: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    (
        "fine",
        {"subs": {"b": ("t", "CAD", B)}, "seats": [("ewa", "b")], "teams": {"t": "ewa"}, "admins": {"ada": "t"}},
        [],
    ),
    (
        "S0 a Business Team without a user; S1 its admin without a subscription",
        {"subs": {"b": ("t", "CAD", B)}, "seats": [], "admins": {"ada": "t"}},
        [("empty_team", "t"), ("admin_without_subscription", "ada")],
    ),
    (
        "S0 a user is enough for the Team, S1 not for its admin",
        {"subs": {"b": ("t", "CAD", B)}, "seats": [], "teams": {"t": "ewa"}, "admins": {"ada": "t"}},
        [("admin_without_subscription", "ada")],
    ),
    (
        "S1 a seat in another managed Team is enough",
        {
            "subs": {"b": ("t", "CAD", B), "s": ("u", "OLD", S)},
            "seats": [("jan", "s")],
            "teams": {"t": "ewa"},
            "admins": {"ada": "t u"},
        },
        [],
    ),
    (
        "S1 a multi-user seat is not",
        {
            "subs": {"b": ("t", "CAD", B), "s": ("t", "NET", S)},
            "seats": [("jan", "s")],
            "teams": {"t": "ewa"},
            "admins": {"ada": "t"},
        },
        [("admin_without_subscription", "ada")],
    ),
    ("multi-user Business binds nobody", {"subs": {"b": ("t", "NET", B)}, "seats": [], "admins": {"ada": "t"}}, []),
    (
        "after the term nothing binds",
        {"subs": {"b": ("t", "CAD", B)}, "seats": [], "admins": {"a": "t"}, "day": END},
        [],
    ),
]


@pytest.mark.parametrize(("world", "expected"), [case[1:] for case in R8], ids=[case[0] for case in R8])
def test_r8_violations(world: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert [(one.kind, one.subject) for one in violations(facts(**world))] == expected


R13: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    (
        "nobody bought Business",
        {"subs": {"s": ("t", "CAD", S)}, "seats": [("ewa", "s")], "teams": {"t": "ewa"}, "admins": {"ada": "t"}},
        [],
        [],
    ),
    (
        "all other subscriptions of that user",
        {
            "subs": {"b": ("t", "CAD", B), "s": ("t", "BIM", S)},
            "seats": [("ewa", "b"), ("ewa", "s")],
            "teams": {"t": "ewa"},
            "admins": {"ada": "t"},
        },
        ["ada"],
        ["ewa/s"],
    ),
    (
        "of all other users of that Team and of every other Team of the same admin",
        {
            "subs": {"b": ("t", "CAD", B), "s": ("t", "CAD", S), "u": ("u", "BIM", S)},
            "seats": [("ewa", "b"), ("jan", "s"), ("ola", "u")],
            "teams": {"t": "ewa jan", "u": "ola"},
            "admins": {"ada": "t u"},
        },
        ["ada"],
        ["jan/s", "ola/u"],
    ),
    (
        "from whichever Team's subscription",
        {
            "subs": {"b": ("t", "CAD", B), "x": ("elsewhere", "BIM", S)},
            "seats": [("ewa", "b"), ("jan", "x")],
            "teams": {"t": "ewa jan"},
            "admins": {"ada": "t", "bob": "elsewhere"},
        },
        ["ada"],
        ["jan/x"],
    ),
    (
        "decision 0006: it does not spread from a shared user to another admin",
        {
            "subs": {"b": ("t", "CAD", B), "x": ("u", "BIM", S)},
            "seats": [("ewa", "b"), ("jan", "x")],
            "teams": {"t": "ewa", "u": "ewa jan"},
            "admins": {"ada": "t", "bob": "u"},
        },
        ["ada"],
        [],
    ),
    (
        "R15 excluded and multi-user seats never count",
        {
            "subs": {"b": ("t", "CAD", B), "o": ("t", "OLD", S), "n": ("t", "NET", S)},
            "seats": [("ewa", "b"), ("jan", "o"), ("jan", "n")],
            "teams": {"t": "ewa jan"},
            "admins": {"ada": "t"},
        },
        ["ada"],
        [],
    ),
    (
        "an unassigned Business subscription touches nobody",
        {
            "subs": {"b": ("t", "CAD", B), "s": ("t", "BIM", S)},
            "seats": [("jan", "s"), ("ewa", "b", "paused")],
            "teams": {"t": "ewa jan"},
            "admins": {"ada": "t"},
        },
        [],
        [],
    ),
    (
        "an admin of the whole organization answers for every Team",
        {
            "subs": {"b": ("t", "CAD", B), "s": ("u", "BIM", S)},
            "seats": [("ewa", "b"), ("jan", "s")],
            "admins": {"ada": ""},
        },
        ["ada"],
        ["jan/s"],
    ),
    (
        "prospective only: nothing is unpaid once the term is over",
        {
            "subs": {"b": ("t", "CAD", B), "s": ("t", "BIM", S)},
            "seats": [("ewa", "b"), ("ewa", "s")],
            "teams": {"t": "ewa"},
            "admins": {"ada": "t"},
            "day": END,
        },
        [],
        [],
    ),
]


@pytest.mark.parametrize(("world", "touched", "unpaid"), [case[1:] for case in R13], ids=[case[0] for case in R13])
def test_r13_unpaid_business_subscriptions(world: dict[str, Any], touched: list[str], unpaid: list[str]) -> None:
    found = coverage(facts(**world))
    assert (list(found.touched), [one.seat_id for one in found.unpaid]) == (touched, unpaid)
    assert found.required == found.covered + len(unpaid)
    assert found.full is not bool(unpaid)


def test_r13_one_seat_is_one_unpaid_subscription_however_many_admins_answer() -> None:
    world = facts(
        {"b": ("t", "CAD", B), "c": ("u", "CAD", B), "s": ("v", "BIM", S)},
        [("ewa", "b"), ("ola", "c"), ("jan", "s")],
        {"t": "jan", "u": "jan"},
        {"ada": "t", "bob": "u", "cyd": "v"},
    )
    [unpaid] = coverage(world).unpaid
    assert (unpaid.team_id, unpaid.identity_id, unpaid.offering_code) == ("v", "jan", "BIM")
    assert (unpaid.admins, unpaid.through) == (("ada", "bob"), ("t", "u"))


def test_r14_candidates_manage_no_user_and_no_team_with_business() -> None:
    world = facts(
        {"b": ("t", "CAD", B), "idle": ("u", "CAD", B), "s": ("w", "CAD", S)},
        [("ewa", "b"), ("jan", "s")],
        {"t": "ewa", "v": "ewa", "w": "jan"},
        {"touched": "t", "owns-business": "u", "shares-a-user": "v", "free": "w"},
    )
    assert coverage(world).candidates == ("free",)


def test_r14_moving_the_user_to_a_candidate_pays_the_gap() -> None:
    before = facts(
        {"b": ("t", "CAD", B), "s": ("w", "BIM", S)},
        [("ewa", "b"), ("jan", "s")],
        {"t": "ewa jan", "w": ""},
        {"ada": "t", "free": "w"},
    )
    assert [one.identity_id for one in coverage(before).unpaid] == ["jan"]
    after = replace(before, members=(Member("ewa", "t"), Member("jan", "w")))
    assert coverage(after).full


def test_r13_history_answers_as_of_any_instant_and_says_since_when() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    upgraded, joined, bought = (first + timedelta(days=days) for days in (10, 20, 30))
    standard = Subscription("s", "t", "CAD", 5, Tier.STANDARD, START, END)
    business = replace(standard, id="b", tier=Tier.BUSINESS)
    history = History(
        offerings=[Period(one, first) for one in OFFERINGS],
        subscriptions=[
            Period(business, upgraded),
            Period(standard, first, bought),
            Period(replace(standard, tier=Tier.BUSINESS), bought),
        ],
        seats=[
            Period(Seat("1", "b", "t", "CAD", "ewa", SeatState.ACTIVE), upgraded),
            Period(Seat("2", "s", "t", "CAD", "jan", SeatState.INVITED), first, joined),
            Period(Seat("2", "s", "t", "CAD", "jan", SeatState.ACTIVE), joined),
        ],
        members=[Period(Member("jan", "t"), first), Period(Member("ewa", "t"), first)],
        managers=[Period(Manages("ada", "t"), first)],
    )
    instants = [first, upgraded - timedelta(microseconds=1), upgraded, joined, bought]
    unpaid = [len(coverage(history.at(at, at.date())).unpaid) for at in instants]
    assert unpaid == [0, 0, 1, 1, 0]
    days = {at: at.date() for at in (first, upgraded, joined, bought)}
    assert unpaid_since(history, "2", joined, days) == upgraded
    assert unpaid_since(history, "2", bought, days) is None
