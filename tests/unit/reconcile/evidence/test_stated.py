"""What linked entries state of their accounts, in one directory and in several (E1)."""

from __future__ import annotations

import msgspec
import pytest

from connector.reconcile.plan.recorded import LinkRow, Recorded
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import BASE, HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import codes, holding, plan_for

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
