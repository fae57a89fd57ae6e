"""``rosterd sso add|verify|status|release`` and ``check`` on a real installation, as an admin reads them (N13)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connector.sso.proof import domain_steps
from ledger.jobs import Job
from ledger.store import jobs
from rosterd import worker
from rosterd.clock import utc_now
from rosterd.handover import Handover
from rosterd.job_kinds import EVIDENCE
from rosterd.loading import load
from rosterd.looks import enqueue_next
from rosterd.service import Service
from tests.parts.dns import NameServers, name_servers
from tests.parts.installation import Installation

DOMAIN = "acme.example"
NAME = f"_rosterd-challenge.{DOMAIN}"


@pytest.fixture(autouse=True)
def _no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def dns(tmp_path: Path) -> Iterator[NameServers]:
    with name_servers(tmp_path) as servers:
        servers.nothing()
        yield servers


@pytest.fixture
def acme(tmp_path: Path, dns: NameServers) -> Installation:
    """Whose domain is looked for at the test's own name servers."""
    made = Installation.make(tmp_path / "etc")
    addresses = ", ".join(f'"{server.address}"' for server in dns.servers)
    text = made.file.read_text(encoding="utf-8")
    assert "[dns]" not in text
    made.file.write_text(f'{text}\n[dns]\nresolvers = [{addresses}]\ntimeout = "1s"\n', encoding="utf-8")
    return made


def without_its_domain(acme: Installation) -> str:
    """The organization's file as if the domain had been taken out of it."""
    text = acme.organization.read_text(encoding="utf-8")
    kept = re.sub(rf'\[\[domains\]\]\n(#.*\n)*name = "{re.escape(DOMAIN)}"\n', "", text)
    assert kept != text
    return kept


def test_n13_add_prints_both_ways_and_verify_says_what_is_wrong(acme: Installation, dns: NameServers) -> None:
    before = acme.rosterd("sso", "status").out
    assert f"{DOMAIN} is in the organization's file and was not added → rosterd sso add {DOMAIN}" in before
    checked = acme.rosterd("check", "--live")
    assert f"note  acme: {DOMAIN} is in its file and was not added\n      → rosterd sso add {DOMAIN}" in checked.out
    added = acme.rosterd("sso", "add", DOMAIN).out.splitlines()
    value = next(line.split("TXT")[1].strip() for line in added if NAME in line)
    assert f"  https://{DOMAIN}/.well-known/rosterd-challenge" in added
    token = value.split()[0].removeprefix("token=")
    assert f"  {token}" in added
    assert added[-1] == f"  → then: rosterd sso verify {DOMAIN}"
    dns.publish(DOMAIN, value)
    pending = acme.rosterd("sso", "verify", DOMAIN)
    assert pending.code == 3
    assert f"{DOMAIN} is pending: the name does not exist (NXDOMAIN); https://{DOMAIN}/" in pending.out
    assert f"mistake: the token stands at {DOMAIN} itself" in pending.out
    dns.publish(NAME, value)
    soon = acme.rosterd("sso", "verify", DOMAIN)
    assert soon.code == 4
    assert "once a minute is enough" in soon.err


def test_n13_what_left_the_file_is_named_and_released_by_verb(acme: Installation, dns: NameServers) -> None:
    value = acme.rosterd("sso", "add", DOMAIN, "--json").document["record_value"]
    dns.publish(NAME, value)
    proved = acme.rosterd("sso", "verify", DOMAIN, "--json")
    assert (proved.code, proved.document["method"], proved.document["state"]) == (0, "dns", "verified")
    other = acme.folder / "tried.toml"
    other.write_text(without_its_domain(acme), encoding="utf-8")
    tried = acme.rosterd("plan", "--config", str(other)).out
    assert f"no longer names the domain {DOMAIN}: once it is applied" in tried
    assert "no longer names" not in acme.rosterd("plan").out
    assert "frozen" not in acme.rosterd("sso", "status").out, "what is tried out declares nothing"
    acme.organization.write_text(without_its_domain(acme), encoding="utf-8")
    assert f"{DOMAIN} is no longer in the organization's file: frozen from" in acme.rosterd("sso", "status").out
    checked = acme.rosterd("check", "--live")
    assert checked.code == 2
    assert "no longer names the domain" in checked.out
    assert f"rosterd sso release {DOMAIN}" in checked.out
    refused = acme.rosterd("sync", "enable")  # which registers the files, as the daemon does when it starts
    assert "domain_undeclared" in refused.err
    status = acme.rosterd("sso", "status").out
    assert f"{DOMAIN}: verified, gate closed" in status
    assert "nobody of it is added or removed, sign-ins go on" in status
    assert acme.rosterd("sso", "release", DOMAIN).code == 0
    assert DOMAIN not in acme.rosterd("sso", "status").out


class Clock:
    """The real one, and how far the test has moved it."""

    ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


def test_a_look_enqueues_the_next_one_daily_and_hourly_while_stale(acme: Installation, dns: NameServers) -> None:
    """The worker looks at what is due only, and whoever asks again and again makes one job."""
    dns.publish(NAME, acme.rosterd("sso", "add", DOMAIN, "--json").document["record_value"])
    assert acme.rosterd("sso", "verify", DOMAIN).code == 0
    clock = Clock()

    async def taken(service: Service, hours: float) -> list[Job]:
        """The jobs that are due when so much time has passed."""
        clock.ahead = timedelta(hours=hours)
        found = []
        deadline = timedelta(minutes=5)
        while job := await jobs.claim(service.ledger, [EVIDENCE], "A", now=clock(), deadline=deadline):
            found.append(job)
        return found

    async def walk() -> None:
        settings = load(acme.file, {})
        async with Service.opened(settings, clock=clock) as service:
            assert await taken(service, 21) == []
            [job] = await taken(service, 27)
            dns.nothing()
            assert await worker.evidence(service, Handover.of(settings, job)) == {DOMAIN: "closed"}
            await enqueue_next(service, "acme")
            assert await taken(service, 27.9) == []
            [job] = await taken(service, 28.2)
            assert await worker.evidence(service, Handover.of(settings, job)) == {DOMAIN: "closed"}
            [job] = await taken(service, 29.5)
            clock.ahead = timedelta(hours=28.3)
            assert await worker.evidence(service, Handover.of(settings, job)) == {}, "it is not due: nobody is asked"

    asyncio.run(walk())


def test_verify_says_by_its_exit_what_this_look_found(
    acme: Installation, dns: NameServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain_steps, "AGAIN_AFTER", timedelta(0))
    assert "counts no more" not in acme.rosterd("sso", "add", DOMAIN).out
    assert "what was printed before counts no more" in acme.rosterd("sso", "add", DOMAIN).out
    dns.publish(NAME, acme.rosterd("sso", "add", DOMAIN, "--json").document["record_value"])
    assert acme.rosterd("sso", "verify", DOMAIN).code == 0
    for server in dns.servers:
        server.fault("servfail")
    unread = acme.rosterd("sso", "verify", DOMAIN)
    assert unread.code == 4, unread.out
    assert f"{DOMAIN} is verified, still by the look of " in unread.out
    assert "; could not look now: " in unread.out
    dns.nothing()
    dns.publish(DOMAIN, f"token={'a' * 52}")
    stale = acme.rosterd("sso", "verify", DOMAIN)
    assert stale.code == 3, "its proof is absent, though it is still verified by what was seen"
    assert f"→ publish the TXT record {NAME} again (another value: rosterd sso add {DOMAIN})" in stale.out
    assert f"→ publish the TXT record {NAME} again" in acme.rosterd("sso", "status").out
    again = acme.rosterd("sso", "add", DOMAIN)
    assert "its proof is missing; until " in again.out
    dns.publish(DOMAIN, again.out.split("TXT")[1].splitlines()[0].strip())
    mistaken = acme.rosterd("sso", "verify", DOMAIN)
    assert mistaken.code == 3
    assert f"mistake: the token stands at {DOMAIN} itself" in acme.rosterd("sso", "status").out


def test_a_domain_that_was_never_proved_and_left_the_file_has_one_step(acme: Installation) -> None:
    acme.rosterd("sso", "add", DOMAIN)
    acme.organization.write_text(without_its_domain(acme), encoding="utf-8")
    acme.rosterd("sync", "enable")
    status = acme.rosterd("sso", "status").out
    assert status.count("missing:") == 1
    assert "it was never proved, and the organization's file no longer names it" in status
    acme.append(f'\n[[domains]]\nname = "{DOMAIN}"\n')
    back = acme.rosterd("sso", "status").out
    assert "is back in the organization's file, and frozen until that is read → kill -HUP the daemon" in back
    assert acme.rosterd("sso", "release", DOMAIN).code == 0
