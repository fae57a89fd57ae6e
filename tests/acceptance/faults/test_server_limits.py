"""A server that stops early, goes away or sends elsewhere: size and time limits, a restart, referrals, a lost OU."""

from __future__ import annotations

import re
import threading

import pytest

from connector.reconcile.show.outcome import RunState
from rosterd.demo import company
from tests.parts import slapd
from tests.parts.proxy import Fault, between
from tests.parts.reconciled_directory import (
    COMPANY,
    FAULT_AT,
    PEOPLE_SCOPE,
    Reconciled,
    ldap_settings,
    limited_settings,
    nothing_happened,
    unknown,
)

TIME_LIMIT_EXCEEDED = 3


@pytest.mark.parametrize(
    "limit", ["size.soft=120 size.hard=120", "size.prtotal=120", "size.prtotal=299", "size.unchecked=10"]
)
async def test_d1_a_size_limit_midway_takes_nothing(reconciled: Reconciled, limit: str) -> None:
    before = await reconciled.holdings()
    with slapd.running(COMPANY.to_ldif(), limits=[f"anonymous {limit}"]) as server:
        reconciled.reads(limited_settings(server))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert nothing_happened(outcomes)
    assert re.search("(size|administrative) limit exceeded", unknown(outcomes[1])[PEOPLE_SCOPE])


@pytest.mark.parametrize("page", [1, 3, 6])
async def test_d1_a_time_limit_midway_takes_nothing(reconciled: Reconciled, server: slapd.Slapd, page: int) -> None:
    before = await reconciled.holdings()
    with between(server.port, Fault("code", 5 + page, TIME_LIMIT_EXCEEDED)) as proxy:
        reconciled.reads(ldap_settings(proxy.url))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert nothing_happened(outcomes)
    assert unknown(outcomes[1])[PEOPLE_SCOPE].startswith(f"page {page}: result 3 (time limit exceeded")


@pytest.mark.parametrize("attempts", [1, 2])
async def test_d4_a_server_restarted_while_it_is_read(reconciled: Reconciled, attempts: int) -> None:
    before = await reconciled.holdings()
    with slapd.running(COMPANY.to_ldif()) as server:
        held = threading.Event()

        def restart() -> None:
            server.restart()
            held.set()

        fault = Fault("delay", 8, 9, connections=1, reached=restart, until=held)
        with between(server.port, fault) as proxy:
            reconciled.reads(ldap_settings(proxy.url, attempts=attempts))
            outcome = await reconciled.run(FAULT_AT)
            assert held.is_set()
    assert await reconciled.holdings() == before
    if attempts == 1:
        assert nothing_happened([outcome])
        assert re.search("ended the session|closed the connection", unknown(outcome)[PEOPLE_SCOPE])
    else:
        assert (outcome.state, outcome.exit_code) == (RunState.NOTHING, 0)


async def test_d12_a_referral_instead_of_people_takes_nothing(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    with between(1) as elsewhere, slapd.running(_sent_elsewhere(elsewhere.url)) as server:
        reconciled.reads(ldap_settings(server.url))
        outcomes = await reconciled.twice()
        assert elsewhere.connections == 0
    assert await reconciled.holdings() == before
    assert nothing_happened(outcomes)
    assert "referral" in unknown(outcomes[1])[PEOPLE_SCOPE]


async def test_d12_a_referral_among_people_takes_nothing(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    fewer = COMPANY.without(*(person.uid for person in COMPANY.in_group("design")[:10])).to_ldif()
    with between(1) as elsewhere:
        branch = _referral(f"ou=branch,{company.PEOPLE_BASE}", "branch", elsewhere.url)
        with slapd.running(f"{fewer}\n{branch}") as server:
            reconciled.reads(ldap_settings(server.url))
            outcomes = await reconciled.twice()
        assert elsewhere.connections == 0
    assert await reconciled.holdings() == before
    assert all(PEOPLE_SCOPE in unknown(outcome) for outcome in outcomes)
    assert all(outcome.exit_code == 4 for outcome in outcomes)


@pytest.mark.parametrize("lost", ["People", "Groups", "People|Groups"])
async def test_d1_a_directory_that_loses_its_ou_takes_nothing(reconciled: Reconciled, lost: str) -> None:
    before = await reconciled.holdings()
    with slapd.running(_without_ou(lost)) as server:
        reconciled.reads(ldap_settings(server.url))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert nothing_happened(outcomes)
    assert "no such base" in " ".join(unknown(outcomes[1]).values())


@pytest.mark.parametrize("emptied", ["People", "Groups", "People|Groups"])
async def test_d1_an_ou_that_is_there_and_empty_takes_nothing(reconciled: Reconciled, emptied: str) -> None:
    before = await reconciled.holdings()
    with slapd.running(_without_ou(emptied, keep_it=True)) as server:
        reconciled.reads(ldap_settings(server.url))
        outcomes = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert nothing_happened(outcomes)


def _without_ou(names: str, *, keep_it: bool = False) -> str:
    """The company without what is under these organizational units (and without themselves)."""
    under = re.compile(rf"dn: {'.+,' if keep_it else '(.+,)?'}ou=({names}),{company.SUFFIX}\n")
    blocks = COMPANY.to_ldif().partition("\n\n")[2].split("\n\n")
    return "\n\n".join(block for block in blocks if not under.match(block.replace("\n ", "") + "\n"))


def _referral(dn: str, name: str, url: str) -> str:
    classes = "objectClass: referral\nobjectClass: extensibleObject"
    return f"dn: {dn}\n{classes}\nou: {name}\nref: {url}/{dn}\n"


def _sent_elsewhere(url: str) -> str:
    """The company whose people base is a referral to another server."""
    kept = _without_ou("People")
    return f"{kept}\n\n{_referral(company.PEOPLE_BASE, 'People', url)}"
