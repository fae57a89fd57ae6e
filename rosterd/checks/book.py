"""What the ledger says of the configuration: offerings, domains, our address, the audit.

Writes only what ``--moved`` asks for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from connector.directory.base import CheckLine
from ledger.errors import RosterdError
from rosterd.checks.keys import failed

if TYPE_CHECKING:
    from rosterd.service import Service


async def confirm_moved(service: Service) -> AsyncIterator[CheckLine]:
    """Write down that our address is another now; which providers have to be changed."""
    from connector.sso.provider import own_address
    from rosterd.own_side import own_side
    from rosterd.service import actor

    for name in service.settings.customers:
        own = own_side(service.settings, name)
        for move in await own_address.confirm_moved(service.ledger, own, actor=actor(), now=service.clock()):
            yield CheckLine(True, f"moved: {move.line}")


async def own_addresses(service: Service) -> AsyncIterator[CheckLine]:
    """Every provider knows us under the address that we have (N17)."""
    from connector.sso.gate import evidence
    from connector.sso.provider import own_address
    from rosterd.own_side import own_side

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            given = (await evidence.known(reader)).connections
            moved = await own_address.moves(reader, own_side(service.settings, name), service.clock())
            waits = await own_address.waiting(reader, own_side(service.settings, name), service.clock())
        for move in moved:
            fix = "set [server] public_url back; or, when the address moved: rosterd check --moved"
            yield CheckLine(False, f"our address is another than the one that was tested: {move.line}", fix)
        for move in waits:
            said = f"{name}: its identity provider was not tested under the address that we have since it moved"
            yield CheckLine(True, said, move.test, note=True)
        if given and not moved and not waits:
            yield CheckLine(True, f"{name}: its identity provider was given the address that we have")


async def known_offerings(service: Service) -> AsyncIterator[CheckLine]:
    """Every offering that a mapping names is in the ledger."""
    from ledger.store import seats
    from rosterd.service import policy

    for name, customer in service.settings.customers.items():
        async with service.ledger.read(name) as reader:
            known = [item.code for item in await seats.open_offerings(reader)]
        line = CheckLine(True, f"{name}: every offering of its mappings is known")
        try:
            policy(customer).require_offerings(known)
        except RosterdError as error:
            line = failed(f"{name}: offerings", error)
        yield line


async def declared_domains(service: Service) -> AsyncIterator[CheckLine]:
    """Every registered domain is in its organization's file, and those that are in the file only are named."""
    from connector.sso.gate import evidence
    from connector.sso.gate.explain_gate import missing_steps

    for name, customer in service.settings.customers.items():
        listed = [item.name for item in customer.settings.domains]
        async with service.ledger.read(name) as reader:
            registered = (await evidence.known(reader)).domains
        for domain in registered:
            if domain not in listed:
                [step] = missing_steps(domain, ["domain_undeclared"])
                what, _, fix = step.partition(" → ")
                yield CheckLine(False, f"{name}: {what}", fix)
        for domain in listed:
            if domain not in registered:
                fix = f"rosterd sso add {domain} --organization {name}"
                yield CheckLine(True, f"{name}: {domain} is in its file and was not added", fix, note=True)


async def audits(service: Service) -> AsyncIterator[CheckLine]:
    """The audit chain of every organization, and whether its history runs forward."""
    from ledger.store import audit, histories

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            verdict = await audit.verify(reader)
            wrong = await histories.backward(reader)
        if verdict.broken is None:
            yield CheckLine(True, f"{name}: audit: {verdict.events} events, sealed through {verdict.sealed_through}")
        else:
            fix = "somebody changed the audit: find out who, compare with a backup and the exported heads"
            yield CheckLine(False, f"{name}: audit is broken: {verdict.broken}", fix)
        fix = "rows were changed beside rosterd: compare with a backup"
        said = f"{name}: history: {'; '.join(wrong)}" if wrong else f"{name}: history: every interval runs forward"
        yield CheckLine(not wrong, said, fix if wrong else "")
