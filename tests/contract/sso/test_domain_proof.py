"""Domains proved and lost over real UDP, on both databases (sso.md §1; §3 case 19)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from datetime import datetime, timedelta

import pytest

from connector.sso import steps
from connector.sso.gate import evidence
from connector.sso.gate.domains import Answer, DomainState
from connector.sso.gate.sync import SyncState
from connector.sso.proof import dns as txt
from connector.sso.proof import domain_steps
from connector.sso.proof.dns import Outcome
from connector.sso.settings import SsoSettings
from ledger.errors import NotFound, Overtaken, Refused, Stale
from ledger.jobs import Errand, RetryRules, Unleased
from ledger.store import jobs
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from tests.parts.dns import NameServers, name_servers
from tests.parts.fences import ALONE
from tests.parts.idp import Key, metadata

ORG, DOMAIN = "acme", "acme.example"
NAME = f"_rosterd-challenge.{DOMAIN}"
H = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def responders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServers]:
    with name_servers(tmp_path_factory.mktemp("zones")) as servers:
        yield servers


@pytest.fixture
def dns(responders: NameServers) -> NameServers:
    """Two responders that know nothing yet."""
    responders.nothing()
    return responders


async def add(ledger: Ledger, now: datetime, *, org: str = ORG, name: str = DOMAIN) -> steps.Challenge:
    return await steps.add_domain(ledger, org, name, actor="ada", now=now)


async def verify(ledger: Ledger, dns: NameServers, now: datetime, *, org: str = ORG) -> steps.DomainReport:
    settings = dns.settings()
    return await steps.verify_domain(ledger, org, DOMAIN, dns=settings, actor="ada", now=now)


@pytest.fixture
async def proved(ledger: Ledger, dns: NameServers, now: datetime) -> steps.Challenge:
    challenge = await add(ledger, now)
    dns.publish(NAME, challenge.record_value)
    assert (await verify(ledger, dns, now)).standing.state is DomainState.VERIFIED
    return challenge


# what the resolvers say ---


async def test_split_strings_are_joined_and_other_records_do_not_disturb(dns: NameServers) -> None:
    dns.publish(NAME, "v=spf1 -all", ["token=", "abc ", "expiry=never"])
    first, second = await txt.look_up(DOMAIN, dns.settings())
    assert first.outcome is second.outcome is Outcome.RECORDS
    assert sorted(first.texts) == ["token=abc expiry=never", "v=spf1 -all"]
    assert first.ttl == 60


@pytest.mark.parametrize(
    ("zone", "outcome", "why"),
    [
        ({}, Outcome.NONE, "NXDOMAIN"),
        ({f"below.{NAME}": ["x"]}, Outcome.NONE, "no TXT record"),
        ({NAME: {"cname": "elsewhere.example"}, "elsewhere.example": ["token=x"]}, Outcome.NONE, "alias"),
        ({"*.acme.example": {"cname": "saas.example"}, "saas.example": ["token=x"]}, Outcome.NONE, "alias"),
        ({"!": "servfail"}, Outcome.UNREADABLE, "SERVFAIL"),
        ({"!": "refused"}, Outcome.UNREADABLE, "REFUSED"),
        ({"!": "silent"}, Outcome.UNREADABLE, "no answer"),
    ],
)
async def test_what_one_resolver_proves(dns: NameServers, zone: dict[str, object], outcome: Outcome, why: str) -> None:
    dns.servers[0].zone(zone)
    first, _ = await txt.look_up(DOMAIN, dns.settings())
    assert first.outcome is outcome
    assert why in first.why


async def test_a_port_where_nobody_listens_is_no_negative(dns: NameServers) -> None:
    nobody = ("127.0.0.1:9", "127.0.0.2:9")
    settings = dns.settings().model_copy(update={"resolvers": nobody, "timeout": timedelta(seconds=0.3)})
    assert {answer.outcome for answer in await txt.look_up(DOMAIN, settings)} == {Outcome.UNREADABLE}


# what that makes of the domain ---


async def test_proved_only_by_two_resolvers(ledger: Ledger, dns: NameServers, now: datetime) -> None:
    challenge = await add(ledger, now)
    dns.servers[0].zone({NAME: [challenge.record_value]})
    split = await verify(ledger, dns, now)
    assert (split.answer, split.standing.state) == (Answer.UNREADABLE, DomainState.PENDING)
    assert "disagree" in split.why
    dns.servers[1].fault("servfail")
    assert (await verify(ledger, dns, now + MINUTE)).standing.state is DomainState.PENDING
    dns.servers[1].zone({NAME: [challenge.record_value]})
    assert (await verify(ledger, dns, now + 2 * MINUTE)).standing.state is DomainState.VERIFIED


async def test_a_wildcard_that_answers_everything_proves_nothing(
    ledger: Ledger, dns: NameServers, now: datetime
) -> None:
    await add(ledger, now)
    for server in dns.servers:
        server.zone({"*.acme.example": [f"token={'a' * 52} expiry=never"]})
    report = await verify(ledger, dns, now)
    assert (report.answer, report.standing.state) == (Answer.ABSENT, DomainState.PENDING)


@pytest.mark.parametrize("fault", ["servfail", "silent"])
async def test_silence_is_never_a_negative_for_six_days(
    ledger: Ledger, dns: NameServers, proved: steps.Challenge, now: datetime, fault: str
) -> None:
    dns.fault(fault)
    for day in (1, 3, 6):
        report = await verify(ledger, dns, now + timedelta(days=day))
        assert (report.answer, report.standing.state) == (Answer.UNREADABLE, DomainState.VERIFIED)
    report = await verify(ledger, dns, now + timedelta(days=7))
    assert (report.standing.state, report.standing.silent) == (DomainState.LOST, True)
    assert f"its proof could not be seen for 7 days: {report.why}" in report.missing[0]


async def test_nxdomain_makes_it_stale_then_lost_and_the_record_brings_it_back(
    ledger: Ledger, dns: NameServers, proved: steps.Challenge, now: datetime
) -> None:
    dns.nothing()
    assert (await verify(ledger, dns, now + H)).standing.state is DomainState.STALE
    assert (await verify(ledger, dns, now + 2 * H)).standing.state is DomainState.STALE
    lost = await verify(ledger, dns, now + 25 * H)
    assert (lost.standing.state, lost.gate.reasons[0]) == (DomainState.LOST, "domain_lost")
    dns.publish(NAME, proved.record_value)
    back = await verify(ledger, dns, now + 26 * H)
    assert back.standing.state is DomainState.VERIFIED


async def test_split_brain_is_no_negative(
    ledger: Ledger, dns: NameServers, proved: steps.Challenge, now: datetime
) -> None:
    dns.servers[1].zone({})
    for hours in (1, 3, 30):
        report = await verify(ledger, dns, now + hours * H)
        assert (report.answer, report.standing.state) == (Answer.UNREADABLE, DomainState.VERIFIED)


async def test_token_runs_out_after_30_days(ledger: Ledger, dns: NameServers, now: datetime) -> None:
    challenge = await add(ledger, now)
    dns.publish(NAME, challenge.record_value)
    with pytest.raises(Refused, match="ran out"):
        await verify(ledger, dns, now + timedelta(days=30))
    with pytest.raises(NotFound, match="not registered"):
        await steps.verify_domain(ledger, ORG, "other.example", dns=dns.settings(), actor="ada", now=now)


async def test_an_older_token_and_another_organization_s_token_prove_nothing(
    ledger: Ledger, dns: NameServers, now: datetime
) -> None:
    first = await add(ledger, now)
    other = await add(ledger, now, org="rival")
    await add(ledger, now)
    dns.publish(NAME, first.record_value, other.record_value)
    assert (await verify(ledger, dns, now)).standing.state is DomainState.PENDING


async def test_released_old_token_published_again_and_the_hold(
    ledger: Ledger, dns: NameServers, proved: steps.Challenge, now: datetime
) -> None:
    await steps.release_domain(ledger, ORG, DOMAIN, actor="ada", now=now)
    with pytest.raises(NotFound):
        await verify(ledger, dns, now)
    with pytest.raises(Refused, match="held by another organization"):
        await add(ledger, now + timedelta(days=29), org="rival")
    rival = await add(ledger, now + timedelta(days=30), org="rival")
    report = await verify(ledger, dns, now + timedelta(days=30), org="rival")
    assert report.standing.state is DomainState.PENDING  # the old owner's token is still in DNS
    dns.publish(NAME, rival.record_value, proved.record_value)
    assert (await verify(ledger, dns, now + timedelta(days=30) + MINUTE, org="rival")).proved
    with pytest.raises(Refused, match="held by another organization"):
        await add(ledger, now + timedelta(days=31))


@pytest.mark.parametrize("name", [DOMAIN, "eu.acme.example", "deep.eu.acme.example"])
async def test_overlapping_claims_of_another_organization_are_refused(
    ledger: Ledger, dns: NameServers, proved: steps.Challenge, now: datetime, name: str
) -> None:
    with pytest.raises(Refused, match="held by another organization"):
        await add(ledger, now, org="rival", name=name)
    assert (await add(ledger, now, org="rival", name="notacme.example")).domain == "notacme.example"
    if name != DOMAIN:
        assert (await add(ledger, now, name=name)).domain == name  # one organization may have both


async def test_two_organizations_prove_the_same_domain_at_the_same_moment(
    ledger: Ledger, dns: NameServers, now: datetime
) -> None:
    challenges = [await add(ledger, now, org=org) for org in ("acme", "rival")]
    dns.publish(NAME, *(challenge.record_value for challenge in challenges))
    done = await asyncio.gather(
        *(verify(ledger, dns, now, org=org) for org in ("acme", "rival")), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in done) == ["DomainReport", "Refused"]


async def test_a_domain_proved_already_is_not_begun_anew(
    ledger: Ledger, dns: NameServers, proved: steps.Challenge, now: datetime
) -> None:
    with pytest.raises(Refused, match="proved already"):
        await add(ledger, now)
    reports = await steps.recheck_domains(ledger, ORG, dns=dns.settings(), now=now, fence=ALONE)
    assert [report.domain for report in reports] == [DOMAIN]


async def test_the_token_is_never_stored(ledger: Ledger, dns: NameServers, proved: steps.Challenge) -> None:
    token = proved.record_value.split()[0].removeprefix("token=")
    async with ledger.read(ORG) as reader:
        stored = repr([await rows.evidence(reader), await rows.tokens(reader), await rows.domains(reader)])
        assert await rows.broken_evidence(reader) == 0
        assert (await steps.sync_status(reader, now=proved.expires_at - timedelta(days=29))).state is SyncState.OFF
        assert (await evidence.known(reader)).domains[DOMAIN].version == 3  # added, token, checked
    assert token not in stored


@pytest.mark.parametrize("by_job", [True, False])
async def test_what_dns_said_once_counts_no_more_when_somebody_looked_later(
    ledger: Ledger,
    dns: NameServers,
    proved: steps.Challenge,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    by_job: bool,
) -> None:
    """A worker that was given up, or a person whose resolver is slow, writes after who looked later (A2)."""
    settings = dns.settings()
    looking: Awaitable[object]
    if by_job:
        await jobs.enqueue(ledger, ORG, "evidence", now=now)
        job = await jobs.claim(ledger, ["evidence"], "A", now=now, deadline=H)
        assert job is not None
        fence = Errand(Unleased.EVIDENCE, job.claim)
        looking = steps.recheck_domains(ledger, ORG, dns=settings, now=now + H, fence=fence)
    else:
        looking = steps.verify_domain(ledger, ORG, DOMAIN, dns=settings, actor="A", now=now + H)
    looked, go_on, look_up = asyncio.Event(), asyncio.Event(), domain_steps.look_up

    async def slow(*args: object) -> object:
        found = await look_up(*args)  # type: ignore[arg-type]
        if not looked.is_set():
            looked.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(domain_steps, "look_up", slow)
    slept = asyncio.ensure_future(looking)
    await looked.wait()
    if by_job:
        await jobs.requeue_dead(ledger, lambda running: running, now=now + H, rules=RetryRules())
    dns.nothing()
    later = await verify(ledger, dns, now + 2 * H)
    assert later.answer is Answer.ABSENT
    go_on.set()
    with pytest.raises(Overtaken if by_job else Stale):
        await slept
    async with ledger.read(ORG) as reader:
        checks = (await evidence.known(reader)).domains[DOMAIN].checks
    assert [check.answer for check in checks] == [Answer.FOUND, Answer.ABSENT]


async def test_a_domain_released_while_it_is_looked_for_keeps_no_other_from_being_looked_at(
    ledger: Ledger, dns: NameServers, proved: steps.Challenge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await add(ledger, now, name="zzz.example")
    dns.publish("_rosterd-challenge.zzz.example", other.record_value)
    await steps.verify_domain(ledger, ORG, "zzz.example", dns=dns.settings(), actor="ada", now=now)
    look_up = domain_steps.look_up

    async def releasing(domain: str, *more: object) -> object:
        if domain == DOMAIN:
            await steps.release_domain(ledger, ORG, DOMAIN, actor="ada", now=now + H, confirmed=True)
        return await look_up(domain, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(domain_steps, "look_up", releasing)
    reports = await steps.recheck_domains(ledger, ORG, dns=dns.settings(), now=now + 2 * H, fence=ALONE)
    assert [report.domain for report in reports] == ["zzz.example"]


# another value for a proof that is missing ---


async def test_a_stale_domain_gets_another_value_and_stands_by_what_was_seen(
    ledger: Ledger, dns: NameServers, now: datetime, proved: steps.Challenge
) -> None:
    dns.nothing()
    assert (await verify(ledger, dns, now + H)).standing.state is DomainState.STALE
    again = await add(ledger, now + H + MINUTE)
    assert again.record_value != proved.record_value
    assert (again.replaces, again.keeps_until) == (True, now + 25 * H)
    async with ledger.read(ORG) as reader:
        found = await steps.status(reader, now=now + H + MINUTE)
    assert found.domains[0].standing.state is DomainState.STALE
    (step, *_) = found.domains[0].missing
    assert f"→ publish the TXT record {NAME} again" in step
    assert f"rosterd sso add {DOMAIN}" in step
    dns.publish(NAME, proved.record_value)
    older = await verify(ledger, dns, now + 2 * H + MINUTE)
    assert (older.answer, older.standing.state) == (Answer.ABSENT, DomainState.STALE), "the older value counts no more"
    assert "an earlier token" in older.mistake
    async with ledger.read(ORG) as reader:
        assert (await steps.status(reader, now=now + 3 * H)).domains[0].mistake == older.mistake
    dns.publish(NAME, again.record_value)
    newer = await verify(ledger, dns, now + 3 * H)
    assert (newer.answer, newer.standing.state, newer.standing.since) == (Answer.FOUND, DomainState.VERIFIED, now)
    async with ledger.read(ORG) as reader:
        assert await rows.broken_evidence(reader) == 0


async def test_another_value_buys_no_time_and_a_lost_domain_begins_anew(
    ledger: Ledger, dns: NameServers, now: datetime, proved: steps.Challenge
) -> None:
    dns.nothing()
    await verify(ledger, dns, now + H)
    await verify(ledger, dns, now + 2 * H)
    await add(ledger, now + 24 * H)
    async with ledger.read(ORG) as reader:
        assert (await steps.status(reader, now=now + 25 * H)).domains[0].standing.state is DomainState.LOST
    again = await add(ledger, now + 26 * H)
    assert (again.replaces, again.keeps_until) == (True, None)
    async with ledger.read(ORG) as reader:
        assert (await steps.status(reader, now=now + 26 * H)).domains[0].standing.state is DomainState.PENDING
    dns.publish(NAME, again.record_value)
    assert (await verify(ledger, dns, now + 27 * H)).standing.state is DomainState.VERIFIED


async def test_a_look_with_the_value_before_is_not_recorded(
    ledger: Ledger, dns: NameServers, now: datetime, proved: steps.Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns.nothing()
    await verify(ledger, dns, now + H)
    dns.publish(NAME, proved.record_value)
    look_up = domain_steps.look_up

    async def and_meanwhile(*args: object) -> object:
        found = await look_up(*args)  # type: ignore[arg-type]
        await add(ledger, now + 2 * H)
        return found

    monkeypatch.setattr(domain_steps, "look_up", and_meanwhile)
    with pytest.raises(Stale):
        await verify(ledger, dns, now + 2 * H)


async def test_turning_on_says_of_a_lost_domain_what_status_says(
    ledger: Ledger, dns: NameServers, now: datetime, proved: steps.Challenge
) -> None:
    text = metadata("https://idp.acme.example/metadata", Key.make(now))
    await steps.connect(ledger, ORG, text, settings=SsoSettings(), actor="ada", now=now)
    dns.nothing()
    await verify(ledger, dns, now + H)
    await verify(ledger, dns, now + 2 * H)
    with pytest.raises(Refused) as refused:
        await steps.turn_on(ledger, ORG, actor="ada", now=now + 26 * H)
    async with ledger.read(ORG) as reader:
        (lost, *_) = (await steps.status(reader, now=now + 26 * H)).domains[0].missing
    assert "(domain_lost)" in lost
    assert lost in refused.value.what
