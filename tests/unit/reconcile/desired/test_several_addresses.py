"""E7: which of several addresses counts, who is told of another one that comes first, and what is no address at all."""

from __future__ import annotations

import msgspec
import pytest

from connector.reconcile.diff.diff import Draft
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import HandSource, Somebody, mapping, policy
from tests.unit.reconcile.test_pipeline import holding, plan_for


@pytest.fixture
def chosen() -> Policy:
    return policy(mapping("design", "Design", "CAD"))


@pytest.fixture
def source() -> HandSource:
    directory = HandSource()
    directory.put(Somebody("zoe"), "bo", groups=["design"])
    return directory


def told(draft: Draft, code: str) -> list[str]:
    return [problem.what for problem in draft.plan.problems if problem.code == code]


@pytest.mark.parametrize(
    ("also", "says"),
    [(("a.zoe@acme.example",), True), (("zz@acme.example",), False), (("a@closed.example",), False)],
)
def test_e7_another_address_that_comes_first_is_told_once_with_the_command(
    source: HandSource, chosen: Policy, also: tuple[str, ...], says: bool
) -> None:
    recorded = holding(chosen, source)
    source.change("zoe", also=also)
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    found = told(draft, "alias")
    assert bool(found) is says
    if says:
        assert "uid=zoe,ou=People (corp:anchor-zoe)" in found[0]
        assert f"`rosterd rename zoe@acme.example --to {also[0]}`" in found[0]
    row_id, _, source_id, anchor, print_ = draft.plan.notes.fingerprints[0]
    links = {**recorded.links[source_id]}
    links[anchor] = msgspec.structs.replace(links[anchor], fingerprint=print_)
    assert links[anchor].row_id == row_id
    later = msgspec.structs.replace(recorded, links={source_id: links})
    assert told(plan_for(source, chosen, later), "alias") == []


def test_e7_the_present_address_that_leaves_the_entry_renames(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    source.change("zoe", mail="zoe.k@acme.example")
    draft = plan_for(source, chosen, recorded)
    assert (draft.plan.counts, told(draft, "alias")) == ({"UpdateIdentity": 1}, [])


@pytest.mark.parametrize("also", [(), ("zoe@acme.example",)])
def test_e7_a_value_that_is_no_address_is_told_and_takes_nothing(
    source: HandSource, chosen: Policy, also: tuple[str, ...]
) -> None:
    recorded = holding(chosen, source)
    source.change("zoe", mail="SMTP:zoe@acme.example", also=also)
    draft = plan_for(source, chosen, recorded)
    assert draft.plan.empty
    (text,) = told(draft, "unusable-address" if also else "unmappable")
    assert text.startswith("uid=zoe,ou=People: mail: mail is not usable: 'SMTP:zoe@acme.example'")


def test_e7_somebody_with_an_address_of_before_that_rule_keeps_everything(source: HandSource, chosen: Policy) -> None:
    recorded = holding(chosen, source)
    old = recorded.identities["zoe"]
    recorded.identities["zoe"] = msgspec.structs.replace(old, mail="z..oe@acme.example", mail_key="z..oe@acme.example")
    source.change("zoe", mail="z..oe@acme.example")
    assert plan_for(source, chosen, recorded).plan.empty
    source.change("zoe", disabled=True)
    assert plan_for(source, chosen, recorded).plan.counts == {"PauseSeat": 1, "DisableIdentity": 1}
