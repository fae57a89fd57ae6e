"""Replacing the key that signs our sign-in requests: who has to import our metadata again, and since when it is known.

The key is the installation's, so every organization's providers are concerned by each step (N17). Only a provider
that verifies signed requests notices a new key; for the others importing again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from connector.sso.gate import evidence
from connector.sso.saml.key_status import COMMAND, KeyHolder, KeyStatus, early
from connector.sso.saml.own_metadata import OwnSide
from connector.sso.saml.rotation import Step, take_step
from connector.sso.saml.signing import read_keys
from connector.sso.settings import SamlSettings
from ledger.audit import AuditEvent
from ledger.errors import Refused
from ledger.jobs import Unleased
from ledger.store import audit
from ledger.store import sso as rows
from ledger.store.engine import Ledger


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

    ``sure``: every provider has the new certificate, so that no day has to pass; and a next key that never signed may
    be dropped. Raises ``Refused``, ``Busy``, ``BadInput`` as ``take_step`` does.
    """
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
        facts = {"signing": done.keys.signing.certificate.sha256, "beside": [one.sha256 for one in done.keys.beside]}
        for side in sides:
            async with ledger.write(side.organization, Unleased.BY_HAND, at=now) as book:
                await audit.append(book, [AuditEvent(actor, f"own_key.{step.value}", "own_key", after=facts)])
    return KeyStatus(done.keys, now, found, done.changed)
