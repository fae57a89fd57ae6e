"""sso status: where everything stands, and the next command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from ledger.errors import RosterdError
from ledger.instant import to_minute
from rosterd.verbs.console import Json, OneOrganization, Result, Shown, choose, perform
from rosterd.verbs.sso.directory_sync import sync_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connector.sso.gate.status import ConnectionStatus, SsoStatus
    from rosterd.service import Service


def status(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Where every domain and connection stands, what is missing, what will lapse."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import status as standing

        name = choose(service.settings, organization)
        listed = [item.name for item in service.settings.customer(name).settings.domains]
        async with service.ledger.read(name) as reader:
            shown = _status(await standing.status(reader, now=service.clock(), listed=listed))
        ours = await _ours(service, name)
        return Shown((*shown.lines, *ours.lines), {**shown.document, "ours": ours.document})

    perform(context, as_json, work)


def _status(found: SsoStatus) -> Shown:
    lines: list[str] = []
    for domain in found.domains:
        warnings = f" ({', '.join(domain.gate.warnings)})" if domain.gate.warnings else ""
        lines.append(f"{domain.domain}: {domain.standing.state.value}, gate {domain.gate.state.value}{warnings}")
        lines += [f"  mistake: {domain.mistake}"] if domain.mistake else []
        lines += [f"  missing: {step}" for step in domain.missing]
    lines += found.differences
    if not found.domains and not found.differences and not found.sync.missing:
        lines += ["no domain is registered", "  → rosterd sso add DOMAIN"]
    lines += [line for item in found.connections for line in _connection(item)]
    lines += [f"  warning: {found.refused.line}"] if found.refused else []
    for test in found.tests:
        lines += [f"  {line}" for line in test.in_words()]
    lines += found.bonds.lines
    said = {step for domain in found.domains for step in domain.missing}
    lines += sync_lines(replace(found.sync, missing=tuple(step for step in found.sync.missing if step not in said)))
    lines += [f"  forecast: {sentence}" for sentence in found.forecast]
    return Shown(tuple(lines), found.to_json())


def _connection(found: ConnectionStatus) -> Iterator[str]:
    """One connection for somebody who never saw one: what judges sign-ins, since when, until when, and what waits."""
    yield f"{found.entity_id or found.id}: {found.state.value}"
    if found.reasons:
        yield f"  because: {', '.join(found.reasons)}"
    if found.live:
        yield f"  version {found.live} judges sign-ins"
    elif found.newest:
        yield f"  version {found.newest} is not on; nobody signs in through it"
    for item in found.certificates:
        said = "its signature was seen in a test or sign-in" if item.proved else "nothing it signed was seen yet"
        life = f"{item.certificate.not_before:%Y-%m-%d} to {item.certificate.not_after:%Y-%m-%d}"
        yield f"  certificate SHA-256 {item.certificate.thumbprint[:16]}…, {life}: {said}"
        if item.held_until:
            yield f"    new: no test and no first sign-in by it before {to_minute(item.held_until)} → {item.next_step}"
    if found.live:
        yield from _fetched(found)
    yield from (f"  warning: {sentence}" for sentence in found.warnings_in_words)
    if found.draft:
        who = "a refresh made it" if found.draft.refreshed else "it was given by hand"
        yield f"  version {found.draft.number} waits ({who}): {'; '.join(found.draft.differences)}"
        yield from (f"    {step}" for step in found.draft.steps)
    if found.asked:
        yield f"  {found.asked.actor} asked to turn version {found.asked.version} on: somebody else completes it"
        yield "    → rosterd sso on"


def _fetched(found: ConnectionStatus) -> Iterator[str]:
    """Where its metadata is fetched again, and how that went last."""
    if found.source is None:
        yield "  metadata: fetched again from [sso] metadata, where that is an https address"
    elif not found.source:
        yield "  metadata: not from an https address, so that new certificates are not fetched → rosterd sso connect https://…"
    elif found.fetch is None or (found.fetch.read_at is None and not found.fetch.failures):
        yield f"  metadata: {found.source}, not fetched again yet"
    elif found.fetch.failing_since is None:
        yield f"  metadata: {found.source}, read on {to_minute(found.fetch.at)}"
    else:
        last = f", last read on {to_minute(found.fetch.read_at)}" if found.fetch.read_at else ""
        often = f" ({found.fetch.failures} times)" if found.fetch.failures > 1 else ""
        since = f"{to_minute(found.fetch.failing_since)}{often}{last}"
        yield f"  metadata: {found.source} cannot be read since {since}: {found.fetch.why}"


async def _ours(service: Service, organization: str) -> Shown:
    """Our own side: the key that signs, when it ends, and whether providers know us under another address."""
    from connector.sso.provider import own_address
    from connector.sso.saml.key_status import KeyStatus
    from rosterd.own_side import own_keys, own_side

    own, now = own_side(service.settings, organization), service.clock()
    try:
        keys = own_keys(service.settings)
    except RosterdError as error:
        lines, document = f"our key: {error}".split("\n"), None
    else:
        key = KeyStatus(keys, now) if keys else None
        lines, document = list(key.lines if key else ("our key: made at its first use",)), key and key.to_json()
    async with service.ledger.read(organization) as reader:
        moved = await own_address.moves(reader, own, now)
        waits = await own_address.waiting(reader, own, now)
    lines += [f"our address is another than the one that was tested: {move.line}" for move in moved]
    lines += ["  → rosterd check --moved, when it is meant"] if moved else []
    lines += [
        line
        for move in waits
        for line in (
            f"{move.provider} waits for a test under the new address ({move.now.entity_id})",
            f"  → {move.test}",
        )
    ]
    facts = {
        "key": document,
        "moved": [move.to_json() for move in moved],
        "untested": [item.to_json() for item in waits],
    }
    return Shown(tuple(lines), facts)


def add_to(sso: typer.Typer) -> None:
    """Register the verbs."""
    sso.command()(status)
