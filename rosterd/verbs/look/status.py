"""status: how are we? One screen of what a person would otherwise ask six commands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from ledger.instant import to_minute, to_text
from rosterd.verbs.console import SHORT_ID, Json, OneOrganization, Result, Shown, chosen, perform

if TYPE_CHECKING:
    from ledger.store.book import Reader
    from rosterd.service import Service
    from rosterd.settings import Customer


@dataclass(frozen=True, slots=True)
class Line:
    """One answer: what it is about, how it stands, and the next command where there is something to do."""

    about: str
    says: str
    step: str = ""
    worry: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """For people."""
        said = f"{'!' if self.worry else ' '} {self.about:<12}{self.says}"
        return (said, f"{'':14}→ {self.step}") if self.step else (said,)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"about": self.about, "says": self.says, "next": self.step or None, "worry": self.worry}


@dataclass(frozen=True, slots=True)
class _Scope:
    """How one part of a directory was last read."""

    outcome: str
    reason: str
    read_at: datetime
    whole_at: datetime | None
    entries: int


def status(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """How are we? Sign-on, directories, people, what is held, mail, reports, and the next command of each."""

    async def work(service: Service) -> Result:
        from rosterd.readiness import ask_daemon
        from rosterd.verbs.pasted import named

        daemon = ask_daemon(service.settings.installation.server, required=True)
        lines, document = list[str](), dict[str, Any]()
        found = [Line("daemon", daemon.what.removeprefix("daemon: "), "" if daemon.ok else daemon.fix, not daemon.ok)]
        for line in found:
            lines += line.lines
        for name in chosen(service.settings, organization):
            async with service.ledger.read(name) as reader:
                rows = await _of(reader, service, service.settings.customer(name), service.clock())
            texts = [text for row in rows for text in row.lines]
            lines += [
                "",
                name,
                *(texts if len(service.settings.customers) == 1 else [named(text, name) for text in texts]),
            ]
            document[name] = [row.to_json() for row in rows]
        return Shown(tuple(lines), {"daemon": found[0].to_json(), "organizations": document})

    perform(context, as_json, work)


async def _of(reader: Reader, service: Service, customer: Customer, now: datetime) -> list[Line]:
    """Every line of one organization."""
    return [
        *await _sign_on(reader, now),
        *await _directories(reader, customer, now),
        *await _runs(reader, service, now),
        *await _people(reader),
        *await _seats(reader),
        *await _mail(reader, service),
        *await _reports(reader),
    ]


async def _sign_on(reader: Reader, now: datetime) -> list[Line]:
    from connector.sso.gate import evidence
    from connector.sso.gate.decision import GateState
    from connector.sso.gate.sync import SyncState, sync_status

    gates = await evidence.gates(reader, now=now)
    shut = [name for name, gate in gates.items() if gate.state is not GateState.OPEN]
    stands = ", ".join(f"{name} {'closed' if name in shut else 'open'}" for name in gates)
    domains = f"gate: {stands}" if gates else "no domain is registered"
    found = [Line("sign-on", domains, "rosterd sso status" if shut or not gates else "", bool(shut or not gates))]
    sync = await sync_status(reader, now=now)
    step = {SyncState.READY: "rosterd sync enable", SyncState.ENABLED: ""}.get(sync.state, "rosterd sync status")
    since = f" since {to_minute(sync.since)}" if sync.since else ""
    return [*found, Line("sync", f"{sync.state.value}{since}", step, sync.state is not SyncState.ENABLED)]


async def _directories(reader: Reader, customer: Customer, now: datetime) -> list[Line]:
    from connector.reconcile.plan.words import ago
    from ledger.counted import counted
    from ledger.store import runs

    if not customer.settings.directories:
        return [Line("directory", "none is configured", "rosterd init", worry=True)]
    scopes: dict[str, list[_Scope]] = {}
    for source, _, *rest in await runs.scopes(reader):
        scopes.setdefault(source, []).append(_Scope(*rest))
    found = []
    for directory in customer.settings.directories:
        rows = scopes.get(directory.id, [])
        if not rows:
            found.append(Line("directory", f"{directory.id}: never read", "rosterd check --live", worry=True))
            continue
        partly = [row for row in rows if row.outcome != "complete"]
        whole = None if any(row.whole_at is None for row in rows) else min(row.whole_at for row in rows if row.whole_at)
        read = max(row.read_at for row in rows)
        entries = sum(row.entries for row in rows)
        says = f"{directory.id}: read {ago(read, now)}, {counted(entries, 'entry', 'entries')}"
        if partly:
            since = f"whole {ago(whole, now)}" if whole else "never whole"
            says = f"{directory.id}: read {ago(read, now)}, not whole ({partly[0].reason}); {since}"
        found.append(Line("directory", says, "rosterd check --live" if partly else "", bool(partly)))
    return found


async def _runs(reader: Reader, service: Service, now: datetime) -> list[Line]:
    from connector.reconcile.plan.words import ago, expiry, people
    from ledger.store import runs

    found = []
    every = service.settings.installation.schedule.reconcile_every
    if newest := await runs.latest(reader, 1):
        last = newest[0]
        due = max(last.started_at + every, now)
        soon = f"; the daemon runs again by {to_minute(due)}" if every else "; the daemon runs none by itself"
        says = f"{last.kind} {last.id[:SHORT_ID]} {last.state}, {ago(last.started_at, now)}{soon}"
        found.append(Line("last run", says, worry=last.state in {"failed", "refused", "suspended", "unknown"}))
    else:
        found.append(Line("last run", "there was none", "rosterd plan"))
    for held in await runs.held_sets(reader, ("open",)):
        who = people(len({change["subject"] for change in held.changes}))
        says = f"{held.digest[:SHORT_ID]}: {who}, {expiry(held.expires_at, now)}"
        found.append(Line("held", says, f"rosterd report held {held.digest[:SHORT_ID]}", worry=True))
    return found


async def _people(reader: Reader) -> list[Line]:
    from ledger.identity import INVITE_EXPIRY
    from ledger.store import roster

    states = await roster.state_counts(reader)
    waiting = await roster.due_count(reader, INVITE_EXPIRY)
    says = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "nobody yet"
    more = f"; {waiting} invited and not signed in yet" if waiting else ""
    return [Line("people", f"{says}{more}", "rosterd people --invited" if waiting else "")]


async def _seats(reader: Reader) -> list[Line]:
    from ledger.store import people, roster

    waiting = await roster.waiting_counts(reader)
    names = {row[0]: row[1] for row in await people.open_teams(reader)}
    held = sum((await roster.seat_counts(reader)).values())
    found = [Line("seats", f"{held} assigned")]
    for (team, offering), count in sorted(waiting.items()):
        says = f"{count} wait for {offering} of Team {names.get(team, team)}"
        found.append(Line("", says, "rosterd import subscriptions FILE", worry=True))
    return found


async def _mail(reader: Reader, service: Service) -> list[Line]:
    from connector.delivery.mail.kinds import RAISED
    from connector.delivery.mail.target import TARGET
    from ledger.store import deliveries
    from ledger.store.deliveries import DeliveryState

    untold = await deliveries.without(reader, TARGET, RAISED)
    counts: dict[DeliveryState, int] = {}
    for (_, _, state), count in (await deliveries.counts(reader)).items():
        counts[state] = counts.get(state, 0) + count
    wanted = (DeliveryState.WAITING, DeliveryState.KEPT, DeliveryState.DEAD)
    parts = [f"{counts[state]} {state.value}" for state in wanted if counts.get(state)]
    parts += [f"{untold} waiting for a mail server"] if untold else []
    says = ", ".join(parts) or "nothing waits"
    off = "" if service.settings.installation.mail.host else "; no mail is sent: [mail] host is not set"
    worry = bool(off or counts.get(DeliveryState.DEAD))
    return [Line("mail", f"{says}{off}", "rosterd outbox list" if worry else "", worry)]


async def _reports(reader: Reader) -> list[Line]:
    from ledger.published.datasets import USAGE_DAILY
    from ledger.store import publications

    latest = await publications.latest(reader)
    if latest is None:
        return [Line("reports", "nothing was published yet", "rosterd publish")]
    usage = (await publications.freshness(reader)).get(USAGE_DAILY.name)
    reach = "no usage yet"
    if usage is not None and usage.complete_through:
        final = f", final through {usage.final_through}" if usage.final_through else ""
        reach = f"usage complete through {usage.complete_through}{final}"
    return [Line("reports", f"publication {latest.number} of {to_text(latest.created_at)}; {reach}")]


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(status)
