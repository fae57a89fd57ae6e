"""What an admin does with a domain: proofs by record and file, mistakes, how often, what is declared (N13).

Real name servers, a real HTTPS server and the one door out, on both databases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from access.outbound import door
from access.outbound.door import Door, Fetched
from access.outbound.settings import OutboundSettings
from connector.sso import steps
from connector.sso.gate import evidence
from connector.sso.gate.decision import GateState
from connector.sso.gate.domains import Answer, DomainState, Way
from connector.sso.proof import dns as txt
from connector.sso.proof.dns import Outcome
from connector.sso.proof.web import Fetch, Page
from connector.sso.settings import DnsSettings
from ledger.errors import NotFound, Refused, Retryable
from ledger.store import audit
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from rosterd.service import Service
from rosterd.settings import Settings
from tests.parts.dns import NameServers, changing_names, name_servers, tls_name_server
from tests.parts.fences import ALONE
from tests.parts.https import Authority, Parts, document, listening
from tests.parts.sso_organization import prove

ORG, DOMAIN = "acme", "acme.example"
NAME = f"_rosterd-challenge.{DOMAIN}"
H, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture(scope="module")
def responders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServers]:
    with name_servers(tmp_path_factory.mktemp("zones")) as servers:
        yield servers


@pytest.fixture
def dns(responders: NameServers) -> NameServers:
    """Two responders that know nothing yet."""
    responders.nothing()
    return responders


async def add(ledger: Ledger, now: datetime, *, name: str = DOMAIN) -> steps.Challenge:
    return await steps.add_domain(ledger, ORG, name, actor="ada", now=now)


async def verify(
    ledger: Ledger, dns: NameServers, now: datetime, *, name: str = DOMAIN, fetch: Fetch | None = None
) -> steps.DomainReport:
    settings = dns.settings()
    return await steps.verify_domain(ledger, ORG, name, dns=settings, actor="ada", now=now, fetch=fetch)


# who is believed ---


@pytest.mark.parametrize("validated", [True, False])
async def test_n13_one_resolver_on_this_host_is_enough_where_it_has_validated(
    ledger: Ledger, dns: NameServers, now: datetime, validated: bool
) -> None:
    challenge = await add(ledger, now)
    dns.servers[0].zone({NAME: [challenge.record_value], "!ad": validated})
    dns.servers[1].fault("servfail")
    report = await verify(ledger, dns, now)
    assert report.proved is validated
    async with ledger.read(ORG) as reader:
        fact = (await rows.evidence(reader, [evidence.DOMAIN_CHECKED]))[-1].facts
    assert [(item["ad"], item["trusted"]) for item in fact["resolvers"]] == [(validated, True), (False, True)]
    assert fact["method"] == "dns"


async def test_n13_a_resolver_over_tls_is_believed_by_its_certificate(
    dns: NameServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, zone = Authority(tmp_path), tmp_path / "zone.json"
    zone.write_text('{"_rosterd-challenge.acme.example": ["token=abc"], "!ad": true}', encoding="utf-8")
    async with tls_name_server(zone, authority.issue("dns.acme.example")) as port:

        async def ask(name: str) -> txt.ResolverAnswer:
            resolvers = (f"tls://127.0.0.1:{port}#{name}", dns.servers[1].address)
            return (await txt.look_up(DOMAIN, DnsSettings(resolvers=resolvers, timeout=timedelta(seconds=5))))[0]

        unknown = await ask("dns.acme.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        other = await ask("dns.rival.example")
        right = await ask("dns.acme.example")
    assert (unknown.outcome, other.outcome) == (Outcome.UNREADABLE, Outcome.UNREADABLE)
    assert other.why == "its certificate is not that of dns.rival.example"
    assert (right.outcome, right.texts, right.ad, right.trusted) == (Outcome.RECORDS, ("token=abc",), True, True)
    assert right.counts == txt.NEEDED


# published wrongly ---


@pytest.mark.parametrize(
    ("publish", "mistake"),
    [
        (lambda c: {DOMAIN: [c.record_value]}, f"publish it at {NAME}"),
        (lambda c: {f"{NAME}.{DOMAIN}": [c.record_value]}, "enter only _rosterd-challenge as its name"),
        (lambda c: {NAME: [f"token={'a' * 52}"]}, "was not made for this"),
        (lambda c: {}, ""),
    ],
)
async def test_a_record_that_was_published_wrongly_is_explained_when_somebody_asks(
    ledger: Ledger,
    dns: NameServers,
    now: datetime,
    publish: Callable[[steps.Challenge], dict[str, object]],
    mistake: str,
) -> None:
    challenge = await add(ledger, now)
    for server in dns.servers:
        server.zone(publish(challenge))
    report = await verify(ledger, dns, now)
    assert (report.answer, report.standing.state) == (Answer.ABSENT, DomainState.PENDING)
    assert (mistake in report.mistake) if mistake else report.mistake == ""
    assert report.missing


async def test_an_earlier_token_is_called_one(ledger: Ledger, dns: NameServers, now: datetime) -> None:
    first = await add(ledger, now)
    await add(ledger, now)
    dns.publish(NAME, first.record_value)
    report = await verify(ledger, dns, now)
    assert "earlier token" in report.mistake
    assert not report.proved


@pytest.mark.parametrize("shape", ['"{value}"', "{token}", 'token="{token}"'])
async def test_quotes_and_a_bare_token_are_taken_as_meant(
    ledger: Ledger, dns: NameServers, now: datetime, shape: str
) -> None:
    challenge = await add(ledger, now)
    dns.publish(NAME, shape.format(value=challenge.record_value, token=challenge.file_body))
    assert (await verify(ledger, dns, now)).proved


# how often ---


async def test_whoever_asks_waits_a_minute_between_two_looks_at_one_domain(
    ledger: Ledger, dns: NameServers, now: datetime
) -> None:
    challenge = await add(ledger, now)
    await verify(ledger, dns, now)
    await add(ledger, now, name="other.example")
    await verify(ledger, dns, now, name="other.example")  # another domain is another minute
    dns.publish(NAME, challenge.record_value)
    with pytest.raises(Retryable, match="once a minute") as soon:
        await verify(ledger, dns, now + MINUTE / 2)
    assert soon.value.after == MINUTE / 2
    assert soon.value.next_step.endswith(f"rosterd sso verify {DOMAIN}")
    assert (await verify(ledger, dns, now + MINUTE)).proved


async def test_a_new_token_is_looked_for_at_once(ledger: Ledger, dns: NameServers, now: datetime) -> None:
    await add(ledger, now)
    await verify(ledger, dns, now)
    again = await add(ledger, now)
    dns.publish(NAME, again.record_value)
    assert (await verify(ledger, dns, now)).proved


async def test_the_schedule_looks_at_what_is_due_and_hourly_while_stale(
    ledger: Ledger, dns: NameServers, now: datetime
) -> None:
    challenge = await add(ledger, now)
    dns.publish(NAME, challenge.record_value)
    await verify(ledger, dns, now)
    day = timedelta(hours=24)

    async def due(at: datetime) -> list[DomainState]:
        settings = dns.settings()
        found = await steps.recheck_domains(ledger, ORG, dns=settings, now=at, fence=ALONE, every=day)
        return [report.standing.state for report in found]

    async def wait(at: datetime) -> timedelta | None:
        async with ledger.read(ORG) as reader:
            return await steps.next_look(reader, now=at, every=day)

    assert await due(now + 21 * H) == []
    first = await wait(now)
    assert first is not None
    assert 0.9 * day <= first <= 1.1 * day
    dns.nothing()
    assert await due(now + 27 * H) == [DomainState.STALE]
    assert await due(now + 27 * H + 59 * MINUTE) == []
    second = await wait(now + 27 * H)
    assert second is not None
    assert H <= second <= 1.1 * H
    assert await due(now + 27 * H + 67 * MINUTE) == [DomainState.STALE]
    assert await due(now + 51 * H) == [DomainState.LOST]
    assert await due(now + 53 * H) == [], "what is lost is looked at daily"


# a file at the web server ---


async def through_the_door(
    tmp_path: Path, answer: bytes | Parts, use: Callable[[Fetch], object], *, names: tuple[str, ...] = (DOMAIN,)
) -> list[str]:
    """Serve ``answer`` at the domain over HTTPS; ``use`` gets the door. Returns the heads that the server was sent.

    Only the port is another than in the field: 443 is not ours to listen on.
    """
    authority = Authority(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))  # a public authority, as this process sees it
        async with (
            listening(answer, authority.issue(*names)) as server,
            changing_names({DOMAIN: [["127.0.0.1"]]}) as resolver,
        ):
            await use(at_port(Door(OutboundSettings(allow=(f"127.0.0.1:{server.port}",)), resolver).get, server.port))  # type: ignore[misc]
    return server.heads


def at_port(get: Fetch, port: int) -> Fetch:
    """``get`` for the proof of ``DOMAIN``, at the port where the test may listen."""

    async def fetch(url: str) -> Page:
        assert url == f"https://{DOMAIN}/.well-known/rosterd-challenge"
        return await get(url.replace(DOMAIN, f"{DOMAIN}:{port}"))

    return fetch


async def test_n13_an_authority_of_the_operators_own_proves_no_domain(
    ledger: Ledger, dns: NameServers, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``[outbound] ca`` is for metadata in the operator's network: a proof takes public authorities alone, and whoever
    hands it a door that believes others gets nothing."""
    challenge = await add(ledger, now)
    authority = Authority(tmp_path)
    async with (
        listening(document(challenge.file_body.encode()), authority.issue(DOMAIN)) as server,
        changing_names({DOMAIN: [["127.0.0.1"]]}) as resolver,
    ):
        monkeypatch.setattr(door, "HostResolver", lambda: resolver)
        outbound = OutboundSettings(allow=(f"127.0.0.1:{server.port}",), ca=str(authority.file))
        settings = cast(Settings, SimpleNamespace(installation=SimpleNamespace(outbound=outbound)))
        service = Service(settings, ledger, lambda: now)
        for minute, (get, why) in enumerate(
            (
                (service.fetch_proof, "its certificate is not accepted"),
                (service.door().get, "authorities of our own, which prove no domain"),
            )
        ):
            report = await verify(ledger, dns, now + minute * MINUTE, fetch=at_port(get, server.port))
            assert (report.proved, why in report.why) == (False, True), report.why
    assert len(server.heads) == 1, "metadata may be fetched so"


async def test_n13_a_file_proves_is_lost_by_404_only_and_says_web(
    ledger: Ledger, dns: NameServers, now: datetime, tmp_path: Path
) -> None:
    challenge = await add(ledger, now)
    assert challenge.file_url == f"https://{DOMAIN}/.well-known/rosterd-challenge"
    reports: list[steps.DomainReport] = []

    def at(when: datetime) -> Callable[[Fetch], object]:
        async def use(fetch: Fetch) -> None:
            reports.append(await verify(ledger, dns, when, fetch=fetch))

        return use

    body = f"{challenge.file_body}\n".encode()
    heads = await through_the_door(tmp_path, document(body), at(now))
    assert heads[0].startswith("GET /.well-known/rosterd-challenge HTTP/1.1")
    assert (reports[-1].way, reports[-1].standing.state) == (Way.WEB, DomainState.VERIFIED)
    async with ledger.read(ORG) as reader:
        fact = (await rows.evidence(reader, [evidence.DOMAIN_CHECKED]))[-1].facts
    assert (fact["method"], fact["web"]) == ("web", {"answer": "found", "why": ""})
    assert challenge.file_body not in repr(fact)
    for hour in (1, 3, 40):
        await through_the_door(tmp_path, document(b"", status="500 Broken"), at(now + hour * H))
        assert (reports[-1].answer, reports[-1].standing.state) == (Answer.UNREADABLE, DomainState.VERIFIED)
    gone = document(b"", status="404 Not Found")
    await through_the_door(tmp_path, gone, at(now + 41 * H))
    assert (reports[-1].answer, reports[-1].standing.state) == (Answer.ABSENT, DomainState.STALE)
    await through_the_door(tmp_path, gone, at(now + 66 * H))
    assert reports[-1].standing.state is DomainState.LOST
    assert f"publish {challenge.file_url} again" in reports[-1].missing[0]
    await through_the_door(tmp_path, document(body), at(now + 67 * H))
    assert reports[-1].proved


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda token: document(token, "text/html"), "is text/html, not text/plain"),
        (lambda token: document(b"token=" + token), "is not the token alone"),
        (lambda token: document(b"b" * 52), "holds another token"),
        (lambda token: document(token, status="403 Forbidden"), "answers 403"),
        (lambda token: document(b"", status="301 Moved", more="Location: https://www.acme.example/\r\n"), "redirects"),
        (lambda token: document(b" " * 70_000 + token), "is over 64 KiB"),
    ],
)
async def test_n13_everything_else_than_the_token_alone_proves_nothing(
    ledger: Ledger, dns: NameServers, now: datetime, tmp_path: Path, answer: Callable[[bytes], bytes], why: str
) -> None:
    challenge = await add(ledger, now)

    async def use(fetch: Fetch) -> None:
        report = await verify(ledger, dns, now, fetch=fetch)
        assert report.standing.state is DomainState.PENDING
        assert why in report.why

    await through_the_door(tmp_path, answer(challenge.file_body.encode()), use)


async def test_n13_a_certificate_of_www_alone_proves_nothing(
    ledger: Ledger, dns: NameServers, now: datetime, tmp_path: Path
) -> None:
    challenge = await add(ledger, now)

    async def use(fetch: Fetch) -> None:
        report = await verify(ledger, dns, now, fetch=fetch)
        assert not report.proved
        assert "its certificate is not accepted" in report.why

    await through_the_door(tmp_path, document(challenge.file_body.encode()), use, names=(f"www.{DOMAIN}",))


@pytest.mark.parametrize("below", ["www.acme.example", "shop.acme.example"])
async def test_n13_a_file_below_a_registered_domain_proves_nothing_and_shuts_nobody_out(
    ledger: Ledger, dns: NameServers, now: datetime, below: str
) -> None:
    """Whoever keeps one host of acme.example is not its owner: apex only."""
    challenge = await steps.add_domain(ledger, "rival", below, actor="mallory", now=now)
    assert (challenge.file_url, challenge.file_body, challenge.to_json()["file_url"]) == ("", "", None)
    asked: list[str] = []

    async def fetch(url: str) -> Page:
        asked.append(url)
        return Fetched(challenge.record_value[6:58].encode(), "text/plain", ip_address("192.0.2.1"))

    settings = dns.settings()
    looked = steps.verify_domain(ledger, "rival", below, dns=settings, actor="mallory", now=now, fetch=fetch)
    report = await looked
    assert (report.proved, asked) == (False, [])
    assert f"publish the same token as the TXT record _rosterd-challenge.{below}" in report.why
    await add(ledger, now + H)  # not refused: nobody holds a part of it
    dns.publish(f"_rosterd-challenge.{below}", challenge.record_value)
    later = now + 2 * H
    assert (
        await steps.verify_domain(ledger, "rival", below, dns=settings, actor="mallory", now=later, fetch=fetch)
    ).way is Way.DNS


async def test_n13_what_a_file_proved_below_a_registered_domain_goes_on_by_the_record(
    ledger: Ledger, dns: NameServers, now: datetime
) -> None:
    """Evidence of before: nothing is lost at once, and what to do stands in the report, the forecast and the step."""
    below = f"www.{DOMAIN}"
    challenge = await add(ledger, now, name=below)
    facts = {"attempt": 1, "answer": "found", "why": "", "method": "web", "resolvers": []}
    async with ledger.write(ORG, ALONE, at=now) as book:
        await evidence.record(book, evidence.DOMAIN_CHECKED, below, actor="ada", facts=facts, domains=[below])

    async def fetch(_: str) -> Page:
        raise AssertionError("the file is not asked for")

    report = await verify(ledger, dns, now + H, name=below, fetch=fetch)
    assert (report.answer, report.standing.state) == (Answer.UNREADABLE, DomainState.VERIFIED)
    async with ledger.read(ORG) as reader:
        [forecast] = (await steps.status(reader, now=now + H)).forecast
    assert "unless its TXT record can be read again" in forecast
    assert f"publish the same token as the TXT record _rosterd-challenge.{below}" in forecast
    lost = await verify(ledger, dns, now + timedelta(days=8), name=below, fetch=fetch)
    assert lost.standing.state is DomainState.LOST
    assert f"can read the TXT record _rosterd-challenge.{below}" in lost.missing[0]
    dns.publish(f"_rosterd-challenge.{below}", challenge.record_value)
    back = await verify(ledger, dns, now + timedelta(days=9), name=below, fetch=fetch)
    assert (back.way, back.proved) == (Way.DNS, True)


async def test_n13_another_token_in_txt_wins_over_the_file(
    ledger: Ledger, dns: NameServers, now: datetime, tmp_path: Path
) -> None:
    challenge = await add(ledger, now)
    good = document(challenge.file_body.encode())

    async def proved(fetch: Fetch) -> None:
        assert (await verify(ledger, dns, now, fetch=fetch)).proved

    await through_the_door(tmp_path, good, proved)
    dns.publish(NAME, f"token={'a' * 52}")

    async def stale(fetch: Fetch) -> None:
        report = await verify(ledger, dns, now + H, fetch=fetch)
        assert (report.way, report.answer, report.standing.state) == (Way.DNS, Answer.ABSENT, DomainState.STALE)

    assert await through_the_door(tmp_path, good, stale) == [], "the file was not even asked for"
    dns.servers[0].zone({})

    async def disagreeing(fetch: Fetch) -> None:
        report = await verify(ledger, dns, now + 2 * H, fetch=fetch)
        assert report.answer is Answer.UNREADABLE  # one resolver that lies takes nothing away, and gives nothing

    assert await through_the_door(tmp_path, good, disagreeing) == []


# the organization's file declares ---


async def declare(ledger: Ledger, now: datetime, **listed: timedelta) -> tuple[str, ...]:
    names = {name.replace("_", "."): grace for name, grace in listed.items()}
    return await steps.declare(ledger, ORG, names, actor="host", now=now)


async def gate_of(ledger: Ledger, now: datetime) -> tuple[GateState, tuple[str, ...], int]:
    async with ledger.read(ORG) as reader:
        gate = (await evidence.gates(reader, now=now))[DOMAIN]
    return gate.state, gate.reasons, gate.version


async def test_n13_a_domain_that_left_the_file_is_frozen_and_comes_back_with_it(ledger: Ledger, now: datetime) -> None:
    await prove(ledger, ORG, DOMAIN, now)
    day = timedelta(hours=24)
    assert await declare(ledger, now, acme_example=day) == ()
    before = await gate_of(ledger, now)
    assert before[1] == ("no_connection",)
    assert await declare(ledger, now) == (DOMAIN,)
    frozen = await gate_of(ledger, now)
    assert frozen == (GateState.CLOSED, ("domain_undeclared", "no_connection"), before[2] + 1)
    assert await declare(ledger, now) == (), "once"
    assert await gate_of(ledger, now) == frozen, "a reload writes nothing again"
    async with ledger.read(ORG) as reader:
        status = await steps.status(reader, now=now, listed=["new.example"])
        assert status.domains[0].standing.proved, "its people sign in as before"
        assert any(f"rosterd sso release {DOMAIN}" in step for step in status.domains[0].missing)
        assert status.differences == ("new.example is in the organization's file and was not added → "
                                    "rosterd sso add new.example",)  # fmt: skip
        events = [fact.kind for fact in await rows.evidence(reader)]
    assert events.count("domain.undeclared") == 1
    await declare(ledger, now + H, acme_example=day)
    assert (await gate_of(ledger, now + H))[1] == ("no_connection",)


async def test_n13_a_domain_that_left_the_file_is_released_by_verb_alone(ledger: Ledger, now: datetime) -> None:
    await prove(ledger, ORG, DOMAIN, now)
    await declare(ledger, now)
    await steps.release_domain(ledger, ORG, DOMAIN, actor="ada", now=now)
    assert await declare(ledger, now) == ()
    with pytest.raises(NotFound):
        await steps.release_domain(ledger, ORG, DOMAIN, actor="ada", now=now)
    await steps.add_domain(ledger, ORG, DOMAIN, actor="ada", now=now + H)
    assert "domain_undeclared" not in (await gate_of(ledger, now + H))[1], "added anew is declared anew"
    async with ledger.read(ORG) as reader:
        assert (await audit.verify(reader)).ok


async def test_another_grace_in_the_file_counts_from_the_next_reload(ledger: Ledger, now: datetime) -> None:
    await prove(ledger, ORG, DOMAIN, now)
    assert await declare(ledger, now, acme_example=2 * H) == ()
    async with ledger.read(ORG) as reader:
        assert (await evidence.known(reader)).domains[DOMAIN].grace == 2 * H
    version = (await gate_of(ledger, now))[2]
    await declare(ledger, now, acme_example=2 * H)
    assert (await gate_of(ledger, now))[2] == version


async def test_a_release_that_sync_depends_on_says_how(ledger: Ledger, now: datetime) -> None:
    await prove(ledger, ORG, DOMAIN, now)
    async with ledger.write(ORG, ALONE, at=now) as book:
        await rows.put_sync(book, rows.SyncRow(True, (), now, "ada"))
    with pytest.raises(Refused) as refused:
        await steps.release_domain(ledger, ORG, DOMAIN, actor="ada", now=now)
    assert f"rosterd sso release {DOMAIN} --yes" in refused.value.next_step
