"""Replacing the key that signs our sign-in requests: who has to import our metadata again, and since when it is known.

The key is the installation's, so every organization's providers are concerned by each step (N17). Only a provider
that verifies signed requests notices a new key; for the others importing again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connector.sso.gate import evidence
from connector.sso.gate.connections import EXPIRY_WARNINGS
from connector.sso.saml.own_metadata import OwnSide
from connector.sso.saml.rotation import Step, take_step
from connector.sso.saml.signing import KeyState, OwnCertificate, OwnKeys, read_keys
from connector.sso.settings import SamlSettings
from ledger.audit import AuditEvent
from ledger.errors import Refused
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit
from ledger.store import sso as rows
from ledger.store.engine import Ledger

ANNOUNCED_FOR = timedelta(days=1)
"""How long the next certificate is published before it signs: whoever polls metadata (AD FS, Shibboleth) does so
daily. Providers into which somebody uploads it are done when somebody says so."""
_COMMAND = "rosterd sso rotate-key"
_NEXT = {
    KeyState.STEADY: "",
    KeyState.ANNOUNCED: f"{_COMMAND} --finish",
    KeyState.SWITCHED: f"{_COMMAND} --drop; if a provider refuses our requests now: {_COMMAND} --back",
}


@dataclass(frozen=True, slots=True)
class Holder:
    """An identity provider that was given our metadata. ``ours``: the address of it; ``live``: people sign in there.
    ``verifies``: its own metadata says that it wants signed requests; else it may have been told to."""

    organization: str
    connection: str
    entity_id: str
    ours: str
    live: bool
    verifies: bool

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "organization": self.organization,
            "connection": self.connection,
            "entity_id": self.entity_id,
            "our_metadata": self.ours,
            "live": self.live,
            "verifies_requests": self.verifies,
        }

    @property
    def line(self) -> str:
        """What has to happen there."""
        if self.verifies:
            return f"{self.organization}: {self.entity_id} verifies our requests: it must import {self.ours} again"
        return (
            f"{self.organization}: {self.entity_id} does not say that it verifies requests: import {self.ours} again"
            " only if that was switched on there"
        )


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Our key at ``now``; ``holders`` only where somebody asked for them."""

    keys: OwnKeys
    now: datetime
    holders: tuple[Holder, ...] = ()
    changed: bool = False

    @property
    def finish_from(self) -> datetime | None:
        """From when on the announced key may sign without anybody's word for it; None: nobody has to be waited for."""
        since = self.keys.announced_at
        return since + ANNOUNCED_FOR if since is not None and self.holders else None

    @property
    def expired(self) -> bool:
        """Whether the certificate that signs has ended: providers that look at its dates refuse our requests."""
        return self.keys.signing.certificate.value.not_after <= self.now

    @property
    def forecast(self) -> str:
        """The end of the certificate that signs, once the first warning (60, 30, 14, 7, 1 days before) is reached."""
        ends = self.keys.signing.certificate.value.not_after
        when = f"{ends.day} {ends:%B %Y}"
        if self.expired:
            return (
                f"the certificate of our own signing key ended on {when}: providers that check it refuse our requests"
            )
        if ends - self.now > max(EXPIRY_WARNINGS):
            return ""
        left = (ends - self.now).days
        shown = f"in {left} day{'' if left == 1 else 's'}" if left else "within a day"
        return f"on {when} ({shown}) the certificate of our own signing key ends: providers that check it would refuse"

    @property
    def next_step(self) -> str:
        """The command that comes next; empty when nothing has to be done."""
        if self.keys.state is KeyState.STEADY and self.forecast:
            return _COMMAND
        return _NEXT[self.keys.state]

    @property
    def lines(self) -> Sequence[str]:
        """For people."""
        signing = self.keys.signing.certificate
        found = [f"our key: signs with {_shown(signing)}"]
        if self.keys.beside:
            word = "announced beside it" if self.keys.state is KeyState.ANNOUNCED else "still published beside it"
            found += [f"  {word}: {_shown(one)}" for one in self.keys.beside]
        if self.forecast:
            found.append(f"  forecast: {self.forecast}")
        found += [f"  {holder.line}" for holder in self.holders]
        if self.next_step:
            found.append(f"  → {self.next_step}{self._when()}")
        return found

    def _when(self) -> str:
        if self.keys.state is not KeyState.ANNOUNCED:
            return ""
        early = self.finish_from is not None and self.finish_from > self.now
        return f" when every provider has both certificates ({_early(self.finish_from)})" if early else ""

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "state": self.keys.state.value,
            "changed": self.changed,
            "signing": _json(self.keys.signing.certificate),
            "beside": [_json(one) for one in self.keys.beside],
            "finish_from": to_text(self.finish_from) if self.finish_from else None,
            "forecast": self.forecast,
            "next": self.next_step,
            "providers": [holder.to_json() for holder in self.holders],
        }


async def holders(ledger: Ledger, sides: Sequence[OwnSide], now: datetime) -> tuple[Holder, ...]:
    """Every provider that is connected, by its live version and by a newer one that waits; in order of ``sides``."""
    found: dict[tuple[str, str], Holder] = {}
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
                holder = Holder(side.organization, connection.id, row.entity_id, side.entity_id, on, verifies)
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
            next_step=f"wait, or when every provider has it: {_COMMAND} --finish --yes ({_early(before.finish_from)})",
        )
    done = await asyncio.to_thread(take_step, settings, step, name=name, now=now, sure=sure)
    if done.changed:
        facts = {"signing": done.keys.signing.certificate.sha256, "beside": [one.sha256 for one in done.keys.beside]}
        for side in sides:
            async with ledger.write(side.organization, Unleased.BY_HAND, at=now) as book:
                await audit.append(book, [AuditEvent(actor, f"own_key.{step.value}", "own_key", after=facts)])
    return KeyStatus(done.keys, now, found, done.changed)


def _early(at: datetime | None) -> str:
    return f"from {to_text(at)} on without --yes" if at is not None else ""


def _shown(certificate: OwnCertificate) -> str:
    return f"certificate sha256 {certificate.sha256[:16]}…, until {certificate.value.not_after:%Y-%m-%d}"


def _json(certificate: OwnCertificate) -> dict[str, Any]:
    return {
        "sha256": certificate.sha256,
        "not_before": to_text(certificate.value.not_before),
        "not_after": to_text(certificate.value.not_after),
    }
