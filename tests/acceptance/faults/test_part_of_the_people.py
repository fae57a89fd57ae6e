"""Good status with a part of the people: what is held, what is frozen and what is applied is exactly as promised.

LDAP cannot tell "hidden" from "deleted" (D3). What is small enough to pass the limits is believed after two readings;
everything else waits for a person, or is unknown where a sentinel or the group's own list speaks against it.
"""

from __future__ import annotations

import re
from datetime import timedelta

from connector.reconcile.show.outcome import RunState
from rosterd.demo import company
from tests.parts import slapd
from tests.parts.reconciled_directory import (
    AGAIN_AT,
    COMPANY,
    FAULT_AT,
    PEOPLE_SCOPE,
    SENTINEL,
    Reconciled,
    ldap_settings,
    limited_settings,
    nothing_happened,
    problems,
    unknown,
)

HIDDEN = [person.uid for person in COMPANY.people.values() if person.dn != SENTINEL][:100]
"""The hundred whom a server that answers with a subset leaves out."""
LEFT_OUT = [person.uid for person in COMPANY.in_group("engineering")[-15:]]
"""Fifteen of one Team: within the limits (10 % of 300 people, 20 % of 108)."""
HALF = re.compile(r"^uid=[a-j]", re.IGNORECASE)


async def test_d3_a_subset_of_200_people_is_held_whole(reconciled_anywhere: Reconciled) -> None:
    reconciled = reconciled_anywhere
    before = await reconciled.holdings()
    with slapd.running(COMPANY.without(*HIDDEN).to_ldif()) as server:
        reconciled.reads(ldap_settings(server.url))
        first, second = await reconciled.twice()
        third = await reconciled.run(AGAIN_AT + timedelta(hours=6))
    assert (first.state, first.exit_code, first.held) == (RunState.NOTHING, 0, "")
    assert problems(first)["unconfirmed"] == 100
    assert (second.exit_code, dict(second.counts)) == (3, {})
    assert second.held
    assert second.held_counts["DisableIdentity"] == 100
    assert (third.held, dict(third.counts)) == (second.held, {})  # it does not leak through run by run
    after = await reconciled.holdings()
    assert after.counts == before.counts
    assert after == before


async def test_d3_a_subset_without_its_sentinel_is_unknown(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    gone = [SENTINEL.partition(",")[0].removeprefix("uid="), *HIDDEN]
    with slapd.running(COMPANY.without(*gone).to_ldif()) as server:
        reconciled.reads(ldap_settings(server.url, sentinels=[SENTINEL]))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert nothing_happened(outcomes)
    assert "sentinel" in unknown(outcomes[1])[PEOPLE_SCOPE]


async def test_d6_people_left_out_whom_their_groups_still_list_keep_everything(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    whole, fewer = COMPANY.to_ldif(), COMPANY.without(*HIDDEN)
    groups = whole[whole.index("dn: cn=design,") :]
    people = fewer.to_ldif()
    with slapd.running(people[: people.index("dn: cn=design,")] + groups) as server:
        reconciled.reads(ldap_settings(server.url))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert all((item.state, dict(item.counts), item.held) == (RunState.UNKNOWN, {}, "") for item in outcomes)
    assert all(item.exit_code == 4 and item.lines[0].startswith("DOUBTED 100 of ") for item in outcomes), "E13"


async def test_d3_a_small_subset_is_believed_after_two_readings_and_comes_back_whole(
    reconciled_anywhere: Reconciled, server: slapd.Slapd
) -> None:
    reconciled = reconciled_anywhere
    before = await reconciled.holdings()
    with slapd.running(COMPANY.without(*LEFT_OUT).to_ldif()) as fewer:
        reconciled.reads(ldap_settings(fewer.url))
        first = await reconciled.run(FAULT_AT)
        assert (first.state, dict(first.counts)) == (RunState.NOTHING, {})
        assert await reconciled.holdings() == before
        second = await reconciled.run(AGAIN_AT)
    assert (second.state, second.exit_code, second.held) == (RunState.APPLIED, 0, "")
    assert second.counts == {"DisableIdentity": 15, "PauseSeat": 15}
    after = await reconciled.holdings()
    assert after.members == before.members  # paused, and nothing released: everybody is where they were
    assert len(after.seats) == len(before.seats)
    mails = {COMPANY.people[uid].mail for uid in LEFT_OUT}
    assert {mail for mail, state in after.people if state != "active"} == mails
    assert {row[0] for row in after.seats if row[3] == "paused"} == mails
    reconciled.reads(ldap_settings(server.url))
    back = await reconciled.run(AGAIN_AT + timedelta(days=1))
    assert (back.exit_code, back.counts) == (0, {"Reinstate": 30})
    assert await reconciled.holdings() == before


async def test_d3_an_acl_that_hides_half_with_a_sentinel_is_unknown(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    hidden = next(person.dn for person in COMPANY.people.values() if HALF.match(person.dn))
    rules = _hidden_entries() + _hidden_values()
    with slapd.running(COMPANY.to_ldif(), access=rules) as server:
        reconciled.reads(limited_settings(server, sentinels=[hidden]))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert nothing_happened(outcomes)
    assert "sentinel" in unknown(outcomes[1])[PEOPLE_SCOPE]


async def test_d3_an_acl_that_hides_half_behind_visible_sentinels_is_held(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    visible = next(person.dn for person in COMPANY.people.values() if not HALF.match(person.dn))
    half = sum(bool(HALF.match(person.dn)) for person in COMPANY.people.values())
    assert half > 100
    rules = _hidden_entries() + _hidden_values()
    with slapd.running(COMPANY.to_ldif(), access=rules) as server:
        reconciled.reads(limited_settings(server, sentinels=[visible]))
        first, second = await reconciled.twice()
    assert (first.exit_code, first.held, problems(first)["unconfirmed"]) == (0, "", half)
    assert (second.state, second.exit_code, dict(second.counts)) == (RunState.HELD, 3, {})
    assert second.held_counts["DisableIdentity"] == half
    assert await reconciled.holdings() == before


async def test_d6_an_acl_that_hides_half_but_not_their_memberships_takes_nothing(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    with slapd.running(COMPANY.to_ldif(), access=_hidden_entries()) as server:
        reconciled.reads(limited_settings(server))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert all((dict(item.counts), item.held) == ({}, "") for item in outcomes)
    assert all(item.exit_code == 4 and item.lines[0].startswith("DOUBTED ") for item in outcomes), "E13"


def _hidden_entries() -> list[str]:
    return [f'dn.regex="^uid=[a-j][^,]*,{company.PEOPLE_BASE}$" by * none']


def _hidden_values() -> list[str]:
    return ['attrs=member val.regex="^uid=[a-j].*" by * none']
