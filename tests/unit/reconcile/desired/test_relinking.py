"""E6: which new entry is whose, what is relinked without a person, and what goes on while a person decides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from connector.reconcile.diff.diff import Draft
from connector.reconcile.plan.changes import Problem
from connector.reconcile.plan.recorded import SECOND, Earlier, LinkRow, Recorded
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import BASE, HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import absent, guarded, holding, plan_for

OFF = {"PauseSeat": 1, "DisableIdentity": 1}
RELINK = {"RelinkAnchor": 1}
WAS = {("corp", "anchor-bo"): Earlier("uid=bo,ou=People", True)}
BESIDE = {("corp", "anchor-bo2"): Earlier("uid=bo2,ou=People", True)}
GUID = "9862eb80-6b15-56f1-bbd2-b98300b7d1ba"


@pytest.fixture
def chosen() -> Policy:
    return policy(mapping("design", "Design", "CAD"))


@pytest.fixture
def source() -> HandSource:
    """Bo, number 7, and Anna."""
    directory = HandSource()
    directory.put("anna", Somebody("bo", number="7"), groups=["design"])
    return directory


def new(uid: str = "bo2", mail: str = "bo@acme.example", **values: Any) -> Somebody:
    return Somebody(uid, mail=mail, **values)


def said(draft: Draft, code: str = "relink-waits") -> list[Problem]:
    return [problem for problem in draft.plan.problems if problem.code == code]


@pytest.mark.parametrize("end", ["gone", "deleted", "disabled"])
@pytest.mark.parametrize(
    ("entry", "earlier", "by_itself"),
    [
        pytest.param(new(number="7"), WAS, True, id="equal number, new"),
        pytest.param(new(mail="b@acme.example", number="7"), WAS, True, id="equal number, another address"),
        pytest.param(new(number="7"), {**WAS, **BESIDE}, False, id="equal number, seen beside the linked one"),
        pytest.param(new(), WAS, False, id="address alone"),
    ],
)
def test_e6_only_a_new_entry_with_the_number_is_relinked_by_itself(
    source: HandSource, chosen: Policy, end: str, entry: Somebody, earlier: dict[Any, Earlier], by_itself: bool
) -> None:
    recorded = holding(chosen, source, absences=absent("bo"), earlier=earlier)
    if end == "disabled":
        source.change("bo", disabled=True)
        source.groups["design"].remove("bo")
    else:
        source.drop("bo")
        source.tombstones |= {"anchor-bo"} if end == "deleted" else set()
    source.put(entry, groups=["design"])
    draft = plan_for(source, chosen, recorded)
    made = guarded(draft, chosen, recorded)
    if by_itself and not (end == "gone" and entry.mail != "bo@acme.example"):  # numbers are given out again
        assert made.counts["RelinkAnchor"] == 1
        assert made.held == ()
        assert "DisableIdentity" not in draft.plan.counts, "only the relink is planned"
        return
    if end == "gone":
        assert (made.counts, made.held_counts["RelinkAnchor"]) == ({}, 1), "nobody is disabled for absence meanwhile"
        text = made.trips[0].text
    else:
        assert (made.counts, made.held) == (OFF, ()), "what was stated acts at once, and does not wait with the relink"
        ((text, subjects),) = [(problem.what, problem.subjects) for problem in said(draft)]
        assert subjects == ("bo@acme.example", "uid=bo2,ou=People")
    for part in ("corp:anchor-bo (uid=bo,ou=People)", "uid=bo2,ou=People (corp:anchor-bo2)",
                 "`rosterd relink bo@acme.example --to corp:anchor-bo2`"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("end", ["deleted", "disabled"])
def test_e6_the_held_relink_follows_once_what_was_stated_is_done(source: HandSource, chosen: Policy, end: str) -> None:
    recorded = holding(chosen, source)
    recorded.identities["bo"] = msgspec.structs.replace(recorded.identities["bo"], state="disabled")
    recorded.seats["bo"] = [msgspec.structs.replace(seat, state="paused") for seat in recorded.seats["bo"]]
    if end == "deleted":
        source.drop("bo")
        source.tombstones.add("anchor-bo")
    else:
        source.change("bo", disabled=True)
    source.put(new(), groups=["design"])
    made = guarded(plan_for(source, chosen, recorded), chosen, recorded)
    assert made.counts == {}
    assert made.held_counts["RelinkAnchor"] == made.held_counts["Reinstate"] == 1


def test_e6_two_numbers_are_two_people_and_the_old_one_is_judged_alone(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source, absences=absent("bo"))
    source.drop("bo")
    source.put(new(number="8"), groups=["design"])
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.counts == OFF
    assert "another employee number" in said(draft, "recycled-mail")[0].what


@pytest.mark.parametrize(
    "others",
    [
        [new(), new("bo3")],
        [new(number="7"), new("bo3", mail="b3@acme.example", number="7")],
        [new(), new("bo3", mail="b3@acme.example", number="7")],
    ],
)
def test_e6_of_two_candidates_none_is_relinked_and_nobody_is_disabled_for_absence(
    source: HandSource, chosen: Policy, others: list[Somebody]
) -> None:
    recorded = holding(chosen, source, absences=absent("bo"))
    source.drop("bo")
    source.put(*others, groups=["design"])
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    (problem,) = said(draft)
    for uid in ("bo2", "bo3"):
        assert f"uid={uid},ou=People (corp:anchor-{uid})" in problem.what
        assert f"--to corp:anchor-{uid}" in problem.what


def test_e6_a_number_of_two_people_relinks_neither(source: HandSource, chosen: Policy) -> None:
    source.change("anna", number="7")
    recorded = holding(chosen, source, absences=absent("anna", "bo"))
    source.drop("anna", "bo")
    source.put(new(mail="x@acme.example", number="7"), groups=["design"])
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    assert {problem.subjects[0] for problem in said(draft)} == {"anna@acme.example", "bo@acme.example"}


def test_e6_a_second_account_seen_beside_the_first_is_remembered(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.put(new("adm-bo", mail="adm-bo@acme.example", number="7"))
    draft = plan_for(source, chosen, recorded)
    assert (draft.plan.counts, draft.plan.notes.met) == ({}, (("bo", "corp:anchor-adm-bo"),))
    marked = msgspec.structs.replace(recorded, undone={"bo": {(SECOND, "corp:anchor-adm-bo"): ""}})
    assert plan_for(source, chosen, marked).plan.notes.met == ()
    source.drop("bo")
    made = guarded(plan_for(source, chosen, marked), chosen, marked)
    assert (made.counts, made.held_counts["RelinkAnchor"]) == ({}, 1), "in no last reading, and known all the same"


@pytest.mark.parametrize("number", ["", "7", "8"])
def test_e6_an_equal_guid_in_another_directory_beats_its_deletion(
    source: HandSource, chosen: Policy, number: str
) -> None:
    both = policy(mapping("design", "Design", "CAD"), mapping("east", "Design", "CAD", directory="east"))
    source.change("bo", anchor=GUID)
    east = HandSource("east")
    east.groups["east"] = []
    recorded = holding(both, source)
    source.drop("bo")
    source.tombstones.add(GUID)
    east.put(Somebody("bo", mail="b.east@acme.example", anchor=GUID, number=number), groups=["east"])
    draft = plan_for(source, both, recorded, east)
    made = guarded(draft, both, recorded)
    assert "DisableIdentity" not in draft.plan.counts
    assert ("RelinkAnchor" in made.counts) == (number == "7")
    assert ("RelinkAnchor" in made.held_counts) == (number != "7")


@pytest.mark.parametrize("barred", ["abroad", "collision"])
def test_e6_an_entry_that_no_run_may_bind_keeps_whose_number_it_has(
    source: HandSource, chosen: Policy, barred: str
) -> None:
    recorded = holding(chosen, source, absences=absent("bo"))
    source.drop("bo")
    mail = "bo@closed.example" if barred == "abroad" else "anna@acme.example"
    source.put(new(mail=mail, number="7"), groups=["design"])
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    assert "--to corp:anchor-bo2" in said(draft)[0].what


def test_e6_an_entry_in_a_directory_that_was_not_read_may_be_there(source: HandSource, chosen: Policy) -> None:
    recorded = with_second(holding(chosen, source))
    source.drop("bo")
    other = HandSource("second", unknown={BASE: "cut"})
    source.put(new(), groups=["design"])
    draft = plan_for(source, chosen, recorded, other)
    assert draft.plan.empty
    assert "cannot be seen" in said(draft)[0].what


def with_second(recorded: Recorded) -> Recorded:
    row = LinkRow("second-bo", "bo", "second", "second-bo", "")
    return msgspec.structs.replace(recorded, links={**recorded.links, "second": {row.anchor: row}})
