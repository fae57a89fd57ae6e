"""Replacing the key that signs our sign-in requests: who has to import our metadata again, and since when it is known.

The key is the installation's, so every organization's providers are concerned by each step (N17). Only a provider
that verifies signed requests notices a new key; for the others importing again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from connector.sso.gate import evidence
from connector.sso.saml.key_status import COMMAND, KeyHolder, KeyStatus, early
from connector.sso.saml.own_metadata import OwnSide
from connector.sso.saml.rotation import Step, take_step
from connector.sso.saml.signing import KeyState, OwnKeys, read_keys
from connector.sso.settings import SamlSettings
from ledger.audit import AuditEvent
from ledger.errors import Refused
from ledger.jobs import Unleased
from ledger.store import audit, pages
from ledger.store import sso as rows
from ledger.store.book import Reader
from ledger.store.engine import Ledger

_SUBJECT = "own_key"
_FOUND = "found in the key's files; whoever did it ended before it was audited"


async def holders(ledger: Ledger, sides: Sequence[OwnSide], now: datetime) -> tuple[KeyHolder, ...]:
    """Every provider that is connected, by its live version and by a newer one that waits; in order of ``sides``."""
    found: dict[tuple[str, str], KeyHolder] = {}
    for side in sides:
        async with ledger.read(side.organization) as reader:
            known = await evidence.known(reader)
            versions = await rows.versions(reader)
        for row in versions:
            connection = known.connections[row.connection_id]
            live, newest = connection.live(now), connection.newest
            if row.version in {one.number for one in (live, newest) if one is not None}:
                verifies = bool(row.facts.get("wants_signed_requests"))
                on = live is not None and row.version == live.number
                holder = KeyHolder(side.organization, connection.id, row.entity_id, side.entity_id, on, verifies)
                before = found.get((side.organization, row.entity_id), holder)
                found[side.organization, row.entity_id] = replace(
                    holder, live=before.live or on, verifies=before.verifies or verifies
                )
    return tuple(found.values())


async def rotate(
    ledger: Ledger,
    settings: SamlSettings,
    sides: Sequence[OwnSide],
    step: Step,
    *,
    name: str,
    actor: str,
    now: datetime,
    sure: bool = False,
) -> KeyStatus:
    """Do one step of replacing the key and audit it in every organization; doing it again changes nothing.

    Files and audit cannot change together: what the files show and an audit does not tell, because a process ended
    between the two, is audited first, in the name of who comes next.
    ``sure``: every provider has the new certificate, so that no day has to pass; and a next key that never signed may
    be dropped. Raises ``Refused``, ``Busy``, ``BadInput`` as ``take_step`` does.
    """
    for side in sides:
        await _catch_up(ledger, side.organization, settings, actor=actor, now=now)
    found = await holders(ledger, sides, now)
    before = KeyStatus(await asyncio.to_thread(read_keys, settings), now, found)
    if step is Step.SWITCH and not sure and before.finish_from is not None and before.finish_from > now:
        raise Refused(
            "providers that fetch our metadata by themselves may not have the new certificate yet\n"
            + "\n".join(f"  - {holder.line}" for holder in found),
            where=str(settings.signing_certificate),
            next_step=f"wait, or when every provider has it: {COMMAND} --finish --yes ({early(before.finish_from)})",
        )
    done = await asyncio.to_thread(take_step, settings, step, name=name, now=now, sure=sure)
    if done.changed:
        for side in sides:
            async with ledger.write(side.organization, Unleased.BY_HAND, at=now) as book:
                await audit.append(book, [_event(actor, step, done.keys)])
    return KeyStatus(done.keys, now, found, done.changed)


async def _catch_up(ledger: Ledger, organization: str, settings: SamlSettings, *, actor: str, now: datetime) -> None:
    """Audit a step that the files show and the organization's audit does not tell."""
    async with ledger.read(organization) as reader:
        if await _untold(reader, await asyncio.to_thread(read_keys, settings)) is None:
            return
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        # read again: whoever did the step may be auditing it
        keys = await asyncio.to_thread(read_keys, settings)
        if (step := await _untold(book, keys)) is not None:
            await audit.append(book, [replace(_event(actor, step, keys), reason=_FOUND)])


async def _untold(reader: Reader, keys: OwnKeys) -> Step | None:
    """The step that led to the keys as they are, where the audit's last one led elsewhere; None: nothing is missing."""
    last = await pages.audit_page(reader, pages.Asked(subject=_SUBJECT), None, 1)
    if not last and keys.state is KeyState.STEADY:
        return None
    if last and last[0].payload and last[0].payload["after"] == _facts(keys):
        return None
    switched = bool(last) and last[0].verb == f"{_SUBJECT}.{Step.SWITCH.value}"
    if keys.state is KeyState.ANNOUNCED:
        return Step.BACK if switched else Step.ANNOUNCE
    return Step.SWITCH if keys.state is KeyState.SWITCHED else Step.DROP


def _event(actor: str, step: Step, keys: OwnKeys) -> AuditEvent:
    return AuditEvent(actor, f"{_SUBJECT}.{step.value}", _SUBJECT, after=_facts(keys))


def _facts(keys: OwnKeys) -> dict[str, Any]:
    return {"signing": keys.signing.certificate.sha256, "beside": [one.sha256 for one in keys.beside]}
