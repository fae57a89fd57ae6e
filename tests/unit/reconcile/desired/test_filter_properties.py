"""Attribute filters over random entries: nobody leaves on one reading that shows no other value (D3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Domains
from connector.reconcile.diff.diff import Draft
from connector.reconcile.pipeline import decide
from connector.reconcile.plan.changes import REMOVALS, Kind
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.whole import see
from tests.parts.directories import BASE, RULES, HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import holding

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OPEN = Domains(frozenset({"acme.example"}))
PEOPLE = [f"p{number}" for number in range(8)]
RUNS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def planned(source: HandSource, chosen: Policy, recorded: Recorded) -> Draft:
    references = chosen.groups_of("corp")
    view = see(source.reading(references, NOW), references, RULES, NOW)
    return decide(Ground({"corp": view}, recorded, chosen, OPEN, NOW))


VALUES = ("", "Design", "Sales")


@RUNS
@given(
    st.fixed_dictionaries(
        {uid: st.tuples(st.sampled_from(VALUES), st.sampled_from(["", "PL", "DE"])) for uid in PEOPLE}
    ),
    st.sets(st.sampled_from(PEOPLE)),
    st.sets(st.sampled_from(PEOPLE)),
    st.dictionaries(
        st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["department", "country"])),
        st.sampled_from([NOW - timedelta(minutes=5), NOW - timedelta(hours=2)]),
    ),
    st.booleans(),
)
def test_d3_a_filter_takes_nothing_on_one_reading_without_another_value(
    shown: Any, held: set[str], interns: set[str], notes: Any, cut: bool
) -> None:
    where = {"department": ["Design"], "country": ["PL"]}
    chosen = policy(mapping("design", "Design", "CAD", where=where, exclude_groups=["interns"]))
    source = HandSource()
    source.put(*(Somebody(uid, department=shown[uid][0], country=shown[uid][1]) for uid in PEOPLE))
    source.groups["interns"] = sorted(interns)
    if cut:
        source.unknown[BASE] = "cut off"
    recorded = holding(chosen, HandSource(people=source.people, groups={"": sorted(held)}), absences={
        ("corp", f"anchor-{uid}", f"where:design/{name}"): when for (uid, name), when in notes.items()
    })  # fmt: skip
    plan = planned(source, chosen, recorded).plan
    left = {b.identity for b in plan.bundles if any(c.harm in REMOVALS for c in b.changes)}
    late = NOW - chosen.offboarding.confirm_after
    for uid in held:
        other = shown[uid][0] == "Sales" or shown[uid][1] == "DE" or uid in interns
        hidden = [name for name, value in zip(("department", "country"), shown[uid], strict=True) if not value]
        confirmed = any(notes.get((uid, name), NOW) <= late for name in hidden)
        assert (uid in left) == (not cut and (other or confirmed))
    joined = {c.subject.partition("@")[0] for b in plan.bundles for c in b.changes if c.kind is Kind.JOIN_TEAM}
    assert joined == {uid for uid in PEOPLE if shown[uid] == ("Design", "PL")} - interns - held
