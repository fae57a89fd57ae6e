"""Asks the gate, before reading and again inside the apply transaction (R5, G5). Decides nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from connector.reconcile.sight import Domains
from connector.sso.gate import Gate, GateState
from ledger.errors import Refused
from ledger.store.book import Book, Reader


async def look(reader: Reader, now: datetime) -> Domains:
    """Which domains are open now, and why the others are not; inside a ``Book`` this is the re-check of apply."""
    from connector.sso import evidence

    return judge(await evidence.gates(reader, now=now))


def judge(gates: Mapping[str, Gate]) -> Domains:
    """Gates → open domains and reasons; unknown is not open (it pauses, G5)."""
    closed = {
        name: f"domain {name} is {gate.state.value}: {', '.join(gate.reasons) or 'no reason given'}"
        for name, gate in gates.items()
        if gate.state is not GateState.OPEN
    }
    return Domains(frozenset(name for name, gate in gates.items() if gate.state is GateState.OPEN), closed)


def shut(domains: Domains) -> tuple[str, ...]:
    """Why nothing may be read or written at all; empty when some domain is open."""
    if domains.open:
        return ()
    return tuple(domains.closed[name] for name in sorted(domains.closed)) or ("no domain is registered",)


async def require_enabled(reader: Reader, organization: str) -> bool:
    """Whether sync is suspended (it may resume); raises ``Refused`` when nobody ever enabled it (R5)."""
    from connector.sso import sync

    status = await sync.sync_status(reader)
    if status.state in {sync.SyncState.OFF, sync.SyncState.READY}:
        missing = "; ".join(status.reasons)
        raise Refused(
            f"directory sync is not enabled{': ' + missing if missing else ''}",
            where=organization,
            next_step=f"rosterd sso status {organization} names every missing step",
        )
    return status.state is sync.SyncState.SUSPENDED


async def suspend(book: Book, reasons: tuple[str, ...]) -> None:
    """Record that sync is suspended; takes nothing from anybody."""
    from connector.sso import sync

    await sync.suspend(book, reasons)


async def resume(book: Book) -> None:
    """The gate is open again; this run is a full plan under the guards (G5)."""
    from connector.sso import sync

    await sync.resume(book)
