"""Asks the gate, before reading and again inside the apply transaction (R5, G5). Decides nothing itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from connector.reconcile.desired.seen import Domains
from connector.sso.gate import evidence, sync
from connector.sso.gate.decision import Gate, GateState
from ledger.errors import Refused
from ledger.store.book import Book, Reader


async def look(reader: Reader, now: datetime) -> Domains:
    """Which domains are open now, and why the others are not; inside a ``Book`` this is the re-check of apply."""
    return judge(await evidence.gates(reader, now=now))


def as_if_open(domains: Domains, names: Collection[str]) -> Domains:
    """The same with these domains taken for open: for a rehearsal, whose plan is never applied."""
    closed = {name: why for name, why in domains.closed.items() if name not in names}
    return Domains(domains.open | frozenset(names), closed)


def judge(gates: Mapping[str, Gate]) -> Domains:
    """Gates → open domains and reasons; unknown is not open (it pauses, G5). No gate at all is a lapse too (R5)."""
    shut = {name: gate for name, gate in gates.items() if gate.state is not GateState.OPEN}
    texts = {
        name: f"domain {name} is {gate.state.value}: {', '.join(gate.reasons) or 'no reason given'}"
        for name, gate in shut.items()
    }
    # said as whoever follows the gate says it, or each run and each look would change the reasons of one lapse
    return Domains(frozenset(gates.keys() - shut.keys()), texts, sync.lapse(gates))


def shut(domains: Domains) -> tuple[str, ...]:
    """Why nothing may be read or written at all; empty when some domain is open."""
    if domains.open:
        return ()
    return tuple(domains.closed[name] for name in sorted(domains.closed)) or ("no domain is registered",)


async def require_enabled(reader: Reader, now: datetime) -> bool:
    """Whether sync is suspended (it may resume); raises ``Refused`` when nobody ever enabled it (R5)."""
    status = await sync.sync_status(reader, now=now)
    if status.state in {sync.SyncState.OFF, sync.SyncState.READY}:
        steps = "".join(f"\n  - {step}" for step in status.reasons)
        missing = f"; single sign-on comes first (R5), missing:{steps}" if steps else ""
        raise Refused(
            f"directory sync is not enabled{missing}",
            where=reader.organization,
            next_step="rosterd sync enable",
        )
    return status.state is sync.SyncState.SUSPENDED


async def suspend(book: Book, domains: Domains) -> None:
    """Record that sync is suspended, given evidence of a lapse or no domain; what cannot be read only pauses (G5)."""
    if domains.lapsed:
        await sync.suspend(book, domains.lapsed)


async def resume(book: Book) -> None:
    """The gate is open again; this run is a full plan under the guards (G5). Raises ``Refused`` after seven days."""
    await sync.resume(book)
