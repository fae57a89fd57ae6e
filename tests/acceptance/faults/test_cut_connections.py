"""A connection that breaks at every page and inside messages: two such runs in a row take nothing from anybody."""

from __future__ import annotations

import pytest

from connector.reconcile.show.outcome import RunState
from tests.parts.proxy import Fault, between
from tests.parts.reconciled_directory import (
    AGAIN_AT,
    FAULT_AT,
    PEOPLE_SCOPE,
    Reconciled,
    ldap_settings,
    nothing_happened,
    unknown,
)
from tests.parts.slapd import Slapd

RESULTS = 12
"""Search results of one reading: those of groups, nested ones too, then six pages of people."""


async def test_d1_a_whole_reading_changes_nothing(reconciled: Reconciled, server: Slapd) -> None:
    """The ground of every test here: the server holds what was applied."""
    before = await reconciled.holdings()
    with between(server.port, Fault("cut", 1000)) as proxy:
        reconciled.reads(ldap_settings(proxy.url))
        outcome = await reconciled.run(FAULT_AT)
        assert proxy.passed == RESULTS
    assert (outcome.state, outcome.exit_code, unknown(outcome)) == (RunState.NOTHING, 0, {})
    assert await reconciled.holdings() == before


@pytest.mark.parametrize("results", range(RESULTS))
@pytest.mark.parametrize(("kind", "more"), [("cut", 0), ("cut", 9), ("cut", 700), ("half-close", 0)])
async def test_d1_a_break_at_every_page_and_inside_a_message_takes_nothing(
    reconciled: Reconciled, server: Slapd, results: int, kind: str, more: int
) -> None:
    before = await reconciled.holdings()
    with between(server.port, Fault(kind, results, more)) as proxy:  # type: ignore[arg-type]
        reconciled.reads(ldap_settings(proxy.url))
        outcomes = await reconciled.twice()
        assert proxy.connections == 2
    after = await reconciled.holdings()
    assert after.counts == before.counts
    assert after == before
    assert nothing_happened(outcomes)
    assert all(PEOPLE_SCOPE in unknown(outcome) for outcome in outcomes)


@pytest.mark.parametrize("results", [0, 3])
async def test_d4_a_server_that_falls_silent_takes_nothing(reconciled: Reconciled, server: Slapd, results: int) -> None:
    before = await reconciled.holdings()
    with between(server.port, Fault("stall", results, 9)) as proxy:
        reconciled.reads(ldap_settings(proxy.url, page_timeout="1s"))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert nothing_happened(outcomes)
    assert "timed out after 1 s" in unknown(outcomes[1])[PEOPLE_SCOPE]


async def test_d4_a_break_that_passes_is_read_again_and_finds_everybody(reconciled: Reconciled, server: Slapd) -> None:
    before = await reconciled.holdings()
    with between(server.port, Fault("cut", 4, 9, connections=2)) as proxy:
        reconciled.reads(ldap_settings(proxy.url, attempts=3))
        outcome = await reconciled.run(FAULT_AT)
        assert proxy.connections == 3
    assert (outcome.state, outcome.exit_code) == (RunState.NOTHING, 0)
    assert await reconciled.holdings() == before


async def test_d4_the_second_server_is_read_from_its_beginning_and_finds_everybody(
    reconciled: Reconciled, server: Slapd
) -> None:
    before = await reconciled.holdings()
    with between(server.port, Fault("cut", 4, 9)) as proxy:
        reconciled.reads(ldap_settings(proxy.url, server.url, attempts=2))
        outcome = await reconciled.run(AGAIN_AT)
        assert proxy.connections == 1
    assert (outcome.state, outcome.exit_code) == (RunState.NOTHING, 0)
    assert await reconciled.holdings() == before
