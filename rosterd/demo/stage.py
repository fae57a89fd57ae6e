"""The demo's world: a folder, a clock it may move, the service, and the processes beside it.

Starts and stops only its own processes. The product is used through ``Service``, as the command line does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

from connector.reconcile import run
from connector.reconcile.show.outcome import Planned, RunOutcome
from connector.sso.proof.domain_steps import recheck_domains
from ledger.errors import Unavailable
from ledger.jobs import Unleased
from ledger.store import people, seats
from rosterd.clock import utc_now
from rosterd.delivery import Delivery
from rosterd.demo import files
from rosterd.demo.children import listens, process
from rosterd.demo.company import Company
from rosterd.demo.files import ORGANIZATION
from rosterd.demo.postbox import mails
from rosterd.demo.teller import Teller
from rosterd.health import Metrics
from rosterd.loading import load
from rosterd.service import Service
from rosterd.verbs import imports


class DemoClock:
    """The real clock, moved forward by the story; handed to the service like any other clock."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        """Now, in the story."""
        return utc_now() + self.ahead

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.ahead += by


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger holds at one moment, counted from its rows."""

    people: dict[str, int]
    members: dict[str, int]
    seats: dict[str, int]
    waiting: int

    @property
    def with_access(self) -> int:
        """People in any Team, counted once a Team."""
        return sum(self.members.values())


@dataclass(slots=True)
class Stage:
    """Everything an act needs. ``company`` is the directory as it is now; ``publish_directory`` writes it."""

    folder: Path
    company: Company
    clock: DemoClock
    service: Service
    teller: Teller
    zones: tuple[Path, Path]
    port: int
    postbox: Path
    mail_page: int
    notes: dict[str, str] = field(default_factory=dict)

    def publish_directory(self, company: Company) -> None:
        """The directory exports itself anew."""
        self.company = company
        (self.folder / "people.ldif").write_text(company.to_ldif(), encoding="utf-8")

    async def plan(self) -> Planned:
        """`rosterd plan`."""
        async with self.service.setup(ORGANIZATION) as setup:
            return await run.plan(self.service.ledger, setup, now=self.clock())

    async def apply(self, digest: str = "") -> RunOutcome:
        """`rosterd apply --digest D`, or `--auto` without one."""
        async with self.service.leased(ORGANIZATION) as fence, self.service.setup(ORGANIZATION) as setup:
            return await run.apply(
                self.service.ledger,
                setup,
                now=self.clock(),
                actor="operator:demo",
                digest=digest or None,
                auto=not digest,
                fence=fence,
            )

    async def approve(self, digest: str, reason: str) -> RunOutcome:
        """`rosterd approve D --reason …`."""
        async with self.service.leased(ORGANIZATION) as fence, self.service.setup(ORGANIZATION) as setup:
            return await run.approve(
                self.service.ledger,
                setup,
                digest,
                reason=reason,
                actor="operator:demo",
                now=self.clock(),
                fence=fence,
            )

    async def confirm(self) -> tuple[RunOutcome, RunOutcome]:
        """Two complete readings, twenty minutes apart: what absence needs before it counts (D3)."""
        first = await self.apply()
        self.clock.advance(timedelta(minutes=20))
        return first, await self.apply()

    async def mail_to(self, address: str, about: str) -> EmailMessage:
        """The newest mail to an address with this in its subject, as soon as there is one. Raises ``Unavailable`` when
        none comes."""
        for _ in range(600):
            found = [
                mail for _, mail in mails(self.postbox) if address in str(mail["To"]) and about in str(mail["Subject"])
            ]
            if found:
                return found[-1]
            await asyncio.sleep(0.1)
        raise Unavailable(f"no mail came to {address}", where="postbox", next_step="report this")

    async def keep_evidence(self) -> None:
        """The daily look at the domain's proof, which the daemon's schedule would have taken meanwhile."""
        await recheck_domains(
            self.service.ledger,
            ORGANIZATION,
            dns=self.service.settings.installation.dns,
            now=self.clock(),
            fence=Unleased.EVIDENCE,
        )

    async def standing(self) -> Standing:
        """Count the ledger's rows."""
        async with self.service.ledger.read(ORGANIZATION) as reader:
            identities = await people.open_identities(reader)
            memberships = await people.open_memberships(reader)
            names = {row[0]: row[1] for row in await people.open_teams(reader)}
            held = await seats.open_seats(reader)
            waiting = await seats.open_waiting(reader)
        pairs = {(row[1], row[2]) for row in memberships}
        return Standing(
            people=dict(Counter(str(row[7]) for row in identities)),
            members={names[team]: count for team, count in Counter(team for _, team in pairs).items()},
            seats=dict(Counter(str(row[6]) for row in held)),
            waiting=len(waiting),
        )

    async def person(self, mail: str) -> str:
        """One person as the ledger has them: state, Teams, seats."""
        async with self.service.ledger.read(ORGANIZATION) as reader:
            found = await people.identities_by_mail(reader, mail)
            names = {row[0]: row[1] for row in await people.open_teams(reader)}
            memberships = await people.open_memberships(reader)
            held = await seats.open_seats(reader)
        if not found:
            return f"{mail}: not in the ledger"
        identity = found[-1]
        teams = sorted({names[row[2]] for row in memberships if row[1] == identity[1]})
        mine = sorted(f"{row[4]} {row[6]}" for row in held if row[5] == identity[1])
        return (
            f"{identity[6]} <{identity[2]}>: {identity[7]}; Teams: {', '.join(teams) or 'none'}; "
            f"seats: {', '.join(mine) or 'none'}"
        )


def free_ports(count: int) -> list[int]:
    """So many different loopback ports that were free a moment ago."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@asynccontextmanager
async def opened(folder: Path, company: Company, teller: Teller) -> AsyncIterator[Stage]:
    """Write the files, start two resolvers and a mail server, open the service; everything ends with the block."""
    clock = DemoClock()
    port, first, second, mail_port, mail_page = free_ports(5)
    resolvers = (f"127.0.0.1:{first}", f"127.0.0.1:{second}")
    config = files.write(folder, company, today=clock().date(), port=port, resolvers=resolvers, mail_port=mail_port)
    postbox = folder / "mails"
    zones = (folder / "zone-a.json", folder / "zone-b.json")
    with contextlib.ExitStack() as children:
        for zone, number in zip(zones, (first, second), strict=True):
            zone.write_text("{}", encoding="utf-8")
            arguments = ("rosterd.demo.resolver", "--port", str(number), "--zone-file", str(zone))
            children.enter_context(process(*arguments, log=folder / "var" / f"resolver-{number}.log"))
        log = folder / "var" / "postbox.log"
        ports = ("--port", str(mail_port), "--page-port", str(mail_page))
        child = children.enter_context(process("rosterd.demo.postbox", *ports, "--folder", str(postbox), log=log))
        async with Service.opened(load(config), clock=clock, makes=True) as service:
            await service.register()
            await _catalogue(service, folder / "import")
            await listens(child, log)
            async with _delivering(service):
                yield Stage(folder, company, clock, service, teller, zones, port, postbox, mail_page)


@asynccontextmanager
async def _delivering(service: Service) -> AsyncIterator[None]:
    """Deliver the outbox meanwhile, as the daemon does."""
    delivery = Delivery(service, Metrics())
    running = asyncio.ensure_future(delivery.run())
    try:
        yield
    finally:
        await delivery.stop(timedelta(seconds=10))
        await running


async def _catalogue(service: Service, folder: Path) -> None:
    """`rosterd import offerings …` and `rosterd import subscriptions …`."""
    await imports.offerings(service, ORGANIZATION, folder / "offerings.csv")
    await imports.subscriptions(service, ORGANIZATION, folder / "subscriptions.csv")


@asynccontextmanager
async def identity_provider(stage: Stage) -> AsyncIterator[None]:
    """The company's identity provider as its own process; it asks us for our metadata when the first person comes."""
    [port], log = free_ports(1), stage.folder / "var" / "identity-provider.log"
    metadata = f"{stage.service.settings.installation.server.public_url}/sso/{ORGANIZATION}/metadata"
    arguments = ("--port", str(port), "--folder", str(stage.folder), "--sp-metadata", metadata)
    with process("rosterd.demo.idp", *arguments, log=log) as child:
        await listens(child, log)
        yield
