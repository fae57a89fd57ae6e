"""What really answers: database, published tables, every directory, every domain's gate, the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from connector.directory.base import Checked, CheckLine, Reading, ReadRequest, Source
from ledger.errors import RosterdError
from ledger.settings import show_duration
from rosterd.checks.keys import failed, on_one_line
from rosterd.readiness import ask_daemon, unread

if TYPE_CHECKING:
    from connector.reconcile.reading.whole import Progress
    from connector.reconcile.run import Setup
    from rosterd.service import Service

_DEADLINE = timedelta(minutes=2)


async def every(service: Service, progress: Progress | None = None) -> AsyncIterator[CheckLine]:
    """Database, warehouse, every directory, every domain's gate, and the daemon where one runs. ``progress`` is told
    how far each directory was read."""
    dialect = service.ledger.dialect
    yield await _step(f"database ({dialect}) answers and its schema is current", service.ledger.migrate())
    yield await _step("published tables can be opened", asyncio.to_thread(service.warehouse))
    for name in service.settings.customers:
        async for line in _directories(service, name, progress):
            yield line
        async for line in _domains(service, name):
            yield line
    settings = service.settings
    yield await asyncio.to_thread(ask_daemon, settings.installation.server, required=False)
    for line in (await asyncio.to_thread(unread, settings)).values():
        yield line


async def _directories(service: Service, name: str, progress: Progress | None) -> AsyncIterator[CheckLine]:
    try:
        async with service.setup(name) as setup:
            readings: dict[str, Reading] = {}
            for item in setup.sources:
                told = _told(f"{name}: reading {item.source.id}", progress)
                request = ReadRequest(setup.policy.groups_of(item.source.id), item.rules.requested, _DEADLINE, told)
                checked = await _checked(item.source, request)
                if checked.reading is not None:
                    readings[item.source.id] = checked.reading
                for line in checked.lines:
                    yield replace(line, what=f"{name}/{item.source.id}: {line.what}")
            if setup.sources and len(readings) == len(setup.sources):
                yield await _measured(service, name, setup, readings, progress)
    except RosterdError as error:
        yield failed(f"{name}: directories", error)


def _told(stage: str, progress: Progress | None) -> Callable[[int, int, int], None] | None:
    if progress is None:
        return None
    return lambda entries, pages, scopes: progress(stage, entries, 0, pages, scopes)


async def _checked(source: Source, request: ReadRequest) -> Checked:
    try:
        return await asyncio.wait_for(source.check(request), _DEADLINE.total_seconds())
    except RosterdError as error:
        return Checked([failed("the directory", error)])
    except TimeoutError:
        what = f"no answer within {show_duration(_DEADLINE)}"
        return Checked([CheckLine(False, what, "check the address and the firewall, or look at the server's load")])


async def _measured(
    service: Service, name: str, setup: Setup, readings: Mapping[str, Reading], progress: Progress | None
) -> CheckLine:
    """What a plan would hold; where that cannot be said, why not: the directory itself answered."""
    from rosterd.checks.first_plan import measure

    if progress is not None:
        progress(f"{name}: what a plan would hold", 0, 0)
    step, why = f"rosterd plan -o {name}", f"it took longer than {show_duration(_DEADLINE)}"
    try:
        return await asyncio.wait_for(measure(service, name, setup, readings), _DEADLINE.total_seconds())
    except RosterdError as error:
        step, why = error.next_step or step, on_one_line(error)
    except TimeoutError:
        pass
    return CheckLine(True, f"{name}: what a plan would hold is not known: {why}", step, note=True)


async def _domains(service: Service, name: str) -> AsyncIterator[CheckLine]:
    from connector.sso.gate import evidence
    from connector.sso.gate.decision import GateState

    async with service.ledger.read(name) as reader:
        gates = await evidence.gates(reader, now=service.clock())
    for domain, gate in sorted(gates.items()):
        reasons = ", ".join((*gate.reasons, *gate.warnings))
        what = f"{name}: sign-on of {domain} is {gate.state}" + (f" ({reasons})" if reasons else "")
        yield CheckLine(gate.state is not GateState.UNKNOWN, what, f"rosterd sso status --organization {name}")


async def _step(what: str, work: Awaitable[object]) -> CheckLine:
    try:
        await work
    except RosterdError as error:
        return failed(what, error)
    return CheckLine(True, what)
