"""Mapped groups that were renamed, or that cannot be read while others can: their mapping waits, the rest goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.reconcile.show.outcome import RunState
from rosterd.demo import company
from tests.parts import slapd
from tests.parts.reconciled_directory import (
    COMPANY,
    Reconciled,
    ldap_settings,
    limited_settings,
    unknown,
)

DESIGN = company.group_dn("design")
NEWCOMER = company.employee("Nowa", "Osoba", 9001, "site")


def _renamed() -> str:
    """The directory after somebody renamed the design group: another DN and name, the same entry."""
    text = COMPANY.to_ldif()
    renamed = text.replace("dn: cn=design,", "dn: cn=designers,").replace("\ncn: design\n", "\ncn: designers\n")
    assert renamed != text
    return renamed


def _anchor() -> str:
    block = next(part for part in COMPANY.to_ldif().split("\n\n") if part.startswith(f"dn: {DESIGN}\n"))
    return next(line.removeprefix("entryUUID: ") for line in block.split("\n") if line.startswith("entryUUID: "))


async def test_d2_a_renamed_group_given_by_dn_freezes_its_mapping_alone(reconciled_anywhere: Reconciled) -> None:
    reconciled = reconciled_anywhere
    before = await reconciled.holdings()
    with slapd.running(_renamed()) as server:
        reconciled.reads(ldap_settings(server.url))
        outcomes = await reconciled.twice()
    after = await reconciled.holdings()
    assert after.counts == before.counts
    assert after == before
    for outcome in outcomes:
        assert (outcome.exit_code, dict(outcome.counts), outcome.held) == (4, {}, "")
        assert list(unknown(outcome)) == [f"group:{DESIGN}"]
        assert [item.subjects for item in outcome.problems if item.code == "group-missing"] == [("design",)]


async def test_d5_a_renamed_group_given_by_anchor_is_the_same_group(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    assert (await reconciled.group_names())[_anchor()] == "design"
    with slapd.running(_renamed()) as server:
        reconciled.reads(ldap_settings(server.url), {"design": f"anchor:{_anchor()}"})
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert (await reconciled.group_names())[_anchor()] == "designers"
    assert all((item.state, item.exit_code) == (RunState.NOTHING, 0) for item in outcomes)
    # the server's clock is ahead of this test's, so that its changes are not followed; nothing else is to be said
    assert {problem.code for item in outcomes for problem in item.problems} <= {"read-whole"}


@pytest.mark.parametrize("name", ["design", "engineering", "bridges"])
async def test_d1_a_group_that_cannot_be_read_keeps_its_people_while_others_go_on(
    reconciled: Reconciled, name: str
) -> None:
    before = await reconciled.holdings()
    rules = [f'dn.exact="{company.group_dn(name)}" attrs=member by * none']
    joined = COMPANY.joined(NEWCOMER, "site")
    with slapd.running(joined.to_ldif(), access=rules) as server:
        reconciled.reads(limited_settings(server))
        first, second = await reconciled.twice()
    mapped = "engineering" if name == "bridges" else name  # bridges is nested in engineering
    assert list(unknown(first)) == list(unknown(second)) == [f"group:{company.group_dn(mapped)}"]
    assert (first.exit_code, first.held) == (4, "")
    assert first.counts["Invite"] == 1  # additions of what was read whole go on
    assert dict(second.counts) == {}
    after = await reconciled.holdings()
    assert set(before.members) < set(after.members)
    assert set(before.seats) < set(after.seats)
    assert len(after.members) == len(before.members) + 1
    assert [row for row in after.people if row[0] != NEWCOMER.mail] == list(before.people)


async def test_d2_a_group_that_lost_all_its_members_is_held(reconciled: Reconciled) -> None:
    """Good status, a group with one stranger in it: nothing goes to zero unasked (G1)."""
    before = await reconciled.holdings()
    emptied = replace(COMPANY, groups={**COMPANY.groups, "visual": (COMPANY.in_group("design")[0].uid,)})
    with slapd.running(emptied.to_ldif()) as server:
        reconciled.reads(ldap_settings(server.url))
        _, second = await reconciled.twice()
    after = await reconciled.holdings()
    assert (second.state, second.exit_code) == (RunState.HELD, 3)
    assert second.held_counts["LeaveTeam"] == len(COMPANY.in_group("visual"))
    assert set(before.members) <= set(after.members)
    assert after.counts[0] == before.counts[0]
