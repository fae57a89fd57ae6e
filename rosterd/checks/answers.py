"""What really answers: database, published tables, every directory, every domain's gate, the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING

from connector.directory.base import CheckLine, ReadRequest, Source
from ledger.errors import RosterdError
from rosterd.checks.keys import failed
from rosterd.readiness import ask_daemon

if TYPE_CHECKING:
    from rosterd.service import Service

_DEADLINE = timedelta(minutes=2)


async def every(service: Service) -> AsyncIterator[CheckLine]:
    """Database, warehouse, every directory, every domain's gate, and the daemon where one runs."""
    dialect = service.ledger.dialect
    yield await _step(f"database ({dialect}) answers and its schema is current", service.ledger.migrate())
    yield await _step("published tables can be opened", asyncio.to_thread(service.warehouse))
    for name in service.settings.customers:
        async for line in _directories(service, name):
            yield line
        async for line in _domains(service, name):
            yield line
    yield await asyncio.to_thread(ask_daemon, service.settings.installation.server, required=False)


async def _directories(service: Service, name: str) -> AsyncIterator[CheckLine]:
    try:
        async with service.setup(name) as setup:
            for item in setup.sources:
                request = ReadRequest(setup.policy.groups_of(item.source.id), item.rules.requested, _DEADLINE)
                async for line in _directory(item.source, request):
                    yield CheckLine(line.ok, f"{name}/{item.source.id}: {line.what}", line.fix)
    except RosterdError as error:
        yield failed(f"{name}: directories", error)


async def _directory(source: Source, request: ReadRequest) -> AsyncIterator[CheckLine]:
    try:
        for line in await asyncio.wait_for(source.check(request), _DEADLINE.total_seconds()):
            yield line
    except RosterdError as error:
        yield failed("the directory", error)
    except TimeoutError:
        yield CheckLine(False, f"no answer within {_DEADLINE}", "check address and firewall")


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
