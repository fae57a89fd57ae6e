"""What linked entries state of their accounts, in one directory and in several (E1)."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Domains, Outside
from connector.reconcile.diff.diff import Draft
from connector.reconcile.evidence.stated import Signs, unsaid
from connector.reconcile.pipeline import decide
from connector.reconcile.plan.changes import count_kinds
from connector.reconcile.plan.recorded import LinkRow, Recorded
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import BASE, HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import NOW, OPEN, absent, codes, holding, plan_for, seen

OFF = {"PauseSeat": 1, "DisableIdentity": 1}


@pytest.fixture
def chosen() -> Policy:
    return policy(mapping("design", "Design", "CAD"))


@pytest.fixture
def source() -> HandSource:
    directory = HandSource()
    directory.put("anna", "bo", groups=["design"])
    return directory


def with_second_entry(recorded: Recorded, who: str = "bo") -> Recorded:
    """The same person is linked to an entry of another directory too."""
    row = LinkRow(f"second-{who}", who, "second", f"second-{who}", "")
    return msgspec.structs.replace(recorded, links={**recorded.links, "second": {row.anchor: row}})


@pytest.mark.parametrize(
    ("second", "counts", "code"),
    [
        ("enabled", {}, ""),
        ("disabled", OFF, ""),
        ("not shown", OFF, ""),
        ("unmappable, enabled", {}, "unmappable"),
        ("unmappable, disabled", OFF, "unmappable"),
        ("not read to its end", {}, "frozen"),
        ("not configured", {}, "frozen"),
    ],
)
@pytest.mark.parametrize("first_read", ["corp", "second"])
def test_e1_another_linked_entry_that_is_enabled_or_may_be_keeps_its_holder(
    source: HandSource, chosen: Policy, second: str, counts: dict[str, int], code: str, first_read: str
) -> None:
    recorded = with_second_entry(holding(chosen, source))
    source.change("bo", disabled=True)
    other = HandSource("second")
    if second not in {"not shown", "not read to its end", "not configured"}:
        entry = Somebody("bo", mail="bo@acme.example", anchor="second-bo", disabled="disabled" in second)
        other.put(entry)
        if "unmappable" in second:
            other.change("bo", broken=True)
    if second == "not read to its end":
        other.unknown[BASE] = "cut"
    both = [source, *([] if second == "not configured" else [other])]
    ordered = both if first_read == "corp" else both[::-1]
    draft = plan_for(ordered[0], chosen, recorded, *ordered[1:])
    assert draft.plan.counts == counts
    assert not code or code in codes(draft)


@pytest.mark.parametrize("spoiled", [{"broken": True}, {"mail": "bo@elsewhere.example"}, {"mail": "anna@acme.example"}])
def test_e1_a_disabled_linked_entry_acts_whatever_its_address(
    source: HandSource, chosen: Policy, spoiled: dict[str, object]
) -> None:
    recorded = holding(chosen, source)
    source.change("bo", disabled=True, **spoiled)
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == OFF
    assert {bundle.identity for bundle in draft.plan.bundles} == {"bo"}
    assert "collision" not in codes(draft), "a disabled entry claims no address"


def test_e1_nobody_is_reinstated_by_an_entry_that_cannot_be_mapped(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    recorded.identities["bo"] = msgspec.structs.replace(recorded.identities["bo"], state="disabled")
    source.change("bo", broken=True)
    assert plan_for(source, chosen, recorded).plan.empty


def plan_with(
    source: HandSource, chosen: Policy, recorded: Recorded, domains: Domains = OPEN, **found: object
) -> Draft:
    """The plan where one reading was asked after who is missing, with what was ``found``."""
    view = msgspec.structs.replace(seen(source, chosen), **found)
    return decide(Ground({source.id: view}, recorded, chosen, domains, NOW))


@pytest.mark.parametrize(
    ("found", "state", "listed", "counts", "code"),
    [
        ("disabled", "active", False, OFF, ""),
        ("disabled", "active", True, OFF, ""),
        ("enabled", "active", False, {}, "unconfirmed"),
        ("enabled", "active", True, {}, "doubt"),
        ("not found", "active", True, {}, "doubt"),
        ("deleted", "active", True, OFF, ""),
        ("not asked", "disabled", True, {"PauseSeat": 1}, ""),
        ("enabled", "disabled", True, {"PauseSeat": 1}, ""),
        ("not asked", "absent", True, {}, "doubt"),
    ],
)
def test_e1_what_is_known_of_somebody_whom_the_reading_does_not_show(
    source: HandSource, chosen: Policy, found: str, state: str, listed: bool, counts: dict[str, int], code: str
) -> None:
    recorded = holding(chosen, source, causes={"bo": {"mapping:design": "uid=bo,ou=People → design → mapping design"}})
    recorded.identities["bo"] = msgspec.structs.replace(recorded.identities["bo"], state=state)
    source.drop("bo")
    source.unresolved["design"] = {"uid=bo,ou=People"} if listed else set()
    outside = {"anchor-bo": Outside("uid=bo,ou=Archive", found == "enabled", "lock is on")}
    draft = plan_with(
        source, chosen, recorded,
        outside=outside if found in {"enabled", "disabled"} else {},
        tombstones={"anchor-bo"} if found == "deleted" else (),
    )  # fmt: skip
    assert draft.plan.counts == counts
    assert {code} - {""} <= codes(draft)
    assert code or not codes(draft) & {"doubt", "unconfirmed", "frozen"}


def test_e1_the_plan_says_where_it_was_found_and_what_says_so(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.drop("bo")
    draft = plan_with(
        source, chosen, recorded, outside={"anchor-bo": Outside("uid=bo,ou=Archive", False, "lock is on")}
    )
    said = "the entry is disabled (lock is on), beside the filter or outside the base: uid=bo,ou=Archive"
    assert {change.cause for bundle in draft.plan.bundles for change in bundle.changes} == {said}


@pytest.mark.parametrize("spared", ["closed", "protected"])
def test_e1_the_gate_of_the_identity_and_protection_count_outside_too(
    source: HandSource, chosen: Policy, spared: str
) -> None:
    rules = policy(mapping("design", "Design", "CAD"), sync={"protected": ("bo@acme.example",)})
    recorded = holding(chosen, source)
    source.drop("bo")
    domains = Domains(frozenset({"other.example"})) if spared == "closed" else OPEN
    chosen = rules if spared == "protected" else chosen
    outside = {"anchor-bo": Outside("uid=bo,ou=Archive", False, "lock is on")}
    draft = plan_with(source, chosen, recorded, domains, outside=outside)
    assert draft.plan.counts == {}
    assert {"closed": "frozen", "protected": "protected"}[spared] in codes(draft)


def test_e1_a_reading_that_is_doubted_makes_nobody_absent_and_says_why(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source, absences=absent("bo"))
    source.drop("bo")
    draft = plan_with(source, chosen, recorded, complete=False, doubted="too many are missing")
    assert draft.plan.counts == {}
    assert [problem.what for problem in draft.plan.problems if problem.code == "frozen"] == ["too many are missing"]


UAC, EXPIRES, LOCK, TYPE = "useraccountcontrol", "accountexpires", "pwdaccountlockedtime", "employeetype"
ALL = (LOCK, "nsaccountlock", "shadowexpire", UAC, EXPIRES)


@pytest.mark.parametrize(
    ("blank", "once", "now", "usual", "silent"),
    [
        (ALL, (), (), (), ""),  # a directory that never showed any sign: as ever
        ((LOCK,), (LOCK,), (LOCK,), (), ""),  # unlocked: others still show what a locked account shows
        ((LOCK,), (LOCK,), (), (), LOCK),  # nobody shows it any more: read no longer, or the last one was unlocked
        ((LOCK,), (LOCK,), (LOCK,), (LOCK,), ""),  # an enabled account with a date of wrong passwords
        (("nsaccountlock",), ("nsaccountlock",), ("nsaccountlock",), ("nsaccountlock",), ""),  # FALSE of some
        ((UAC,), (UAC,), (UAC,), (UAC,), UAC),
        ((UAC, EXPIRES), (UAC, EXPIRES), (), (), UAC),
        (ALL, (UAC,), (UAC,), (UAC,), UAC),
        ((TYPE,), (TYPE,), (TYPE,), (), ""),  # only disabled accounts have one
        ((TYPE,), (TYPE,), (TYPE,), (TYPE,), TYPE),
        (("active",), ("active",), ("active",), ("active",), "active"),
        ((), ALL, (), (), ""),
    ],
)
def test_e1_a_missing_flag_says_that_an_account_is_enabled_only_where_enabled_ones_have_none(
    blank: tuple[str, ...], once: tuple[str, ...], now: tuple[str, ...], usual: tuple[str, ...], silent: str
) -> None:
    said = unsaid(blank, Signs(once, now, usual), "corp")
    assert (silent in said.why and said.ask == (silent not in now and silent != UAC)) if said else not silent


def off(recorded: Recorded, who: str = "bo", state: str = "disabled") -> Recorded:
    row = msgspec.structs.replace(recorded.identities[who], state=state)
    return msgspec.structs.replace(recorded, identities={**recorded.identities, who: row})


@pytest.mark.parametrize(
    ("state", "others", "counts", "code", "held"),
    [
        ("disabled", "disabled", {"Reinstate": 1}, "", False),
        ("disabled", "enabled", {}, "frozen", False),
        ("disabled", "silent", {"Reinstate": 1}, "frozen", True),
        ("absent", "silent", {"Reinstate": 1}, "", False),
    ],
)
@pytest.mark.parametrize("spoiled", [False, True])
def test_e1_nobody_is_reinstated_by_a_flag_that_is_no_longer_shown(
    source: HandSource, chosen: Policy, state: str, others: str, counts: dict[str, int], code: str, held: bool,
    spoiled: bool,
) -> None:  # fmt: skip
    """Whoever was disabled stays so, whatever else is wrong with the entry; where only a person can tell, one is asked.
    Of an entry that cannot be mapped nobody is."""
    recorded = off(holding(chosen, source), state=state)
    recorded.seats["bo"] = [msgspec.structs.replace(seat, state="paused") for seat in recorded.seats["bo"]]
    source.change("bo", disabled=None, broken=spoiled)
    source.change("anna", disabled={"disabled": True, "enabled": False, "silent": None}[others])
    anna = off(recorded, "anna") if others == "disabled" else recorded
    draft = plan_for(source, chosen, anna, once=("disabled",))
    bundles = [bundle for bundle in draft.plan.bundles if bundle.identity == "bo"]
    assert count_kinds(bundles) == ({} if spoiled and not code else counts)
    assert [bool(bundle.doubt) for bundle in bundles] == ([held] if counts and not (spoiled and not code) else [])
    assert [p.subjects for p in draft.plan.problems if p.code == "frozen"] == ([("bo@acme.example",)] if code else [])


def test_e1_the_stages_of_off_boarding_are_not_stopped_by_a_flag_that_is_no_longer_shown(
    source: HandSource, chosen: Policy
) -> None:
    recorded = off(holding(chosen, source))
    source.change("bo", disabled=None)
    assert plan_for(source, chosen, recorded).plan.counts == {"PauseSeat": 1}


def test_e1_another_entry_that_says_enabled_lets_in_again(source: HandSource, chosen: Policy) -> None:
    source.change("bo", disabled=None)
    other = HandSource("second")
    other.put(Somebody("bo", mail="bo@acme.example", anchor="second-bo"))
    recorded = with_second_entry(off(holding(chosen, source)))
    assert plan_for(source, chosen, recorded, other, once=("disabled",)).plan.counts["Reinstate"] == 1


def test_e1_the_entry_of_whoever_stays_disabled_claims_no_address(source: HandSource, chosen: Policy) -> None:
    recorded = off(holding(chosen, source))
    source.change("bo", disabled=None)
    source.put(Somebody("bob", mail="bo@acme.example"))
    assert "collision" not in codes(plan_for(source, chosen, recorded, once=("disabled",)))


@pytest.mark.parametrize("how", ["absent", "listed", "group missing", "group unread", "lost", "unread"])
def test_e1_the_stages_of_off_boarding_are_not_stopped_by_absence(source: HandSource, chosen: Policy, how: str) -> None:
    """Disabled a week ago, and the entry is not there now: the seat is released, unless its directory was not read."""
    recorded = off(holding(chosen, source))
    due = NOW - timedelta(hours=1)
    seats = [msgspec.structs.replace(seat, state="paused", release_due_at=due) for seat in recorded.seats["bo"]]
    recorded.seats["bo"] = seats
    source.drop("bo")
    match how:
        case "listed":
            source.unresolved["design"] = {"uid=bo,ou=People"}
            recorded.causes["bo"] = {"mapping:design": "uid=bo,ou=People → design → mapping design"}
        case "group missing":
            source.missing.add("design")
        case "group unread":
            source.unknown["group:design"] = "cut"
        case "lost":
            source.told = True
        case "unread":
            source.unknown[BASE] = "cut"
    assert plan_for(source, chosen, recorded).plan.counts == ({} if how == "unread" else {"ReleaseSeat": 1})
