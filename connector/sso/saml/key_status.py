"""Our own key at an instant: what signs, what is published beside it, who holds our metadata, and the next step (N17).

Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.sso.gate.connections import EXPIRY_WARNINGS
from connector.sso.saml.signing import KeyState, OwnCertificate, OwnKeys
from ledger.instant import to_text

ANNOUNCED_FOR = timedelta(days=1)
"""How long the next certificate is published before it signs: whoever polls metadata (AD FS, Shibboleth) does so
daily. Providers into which somebody uploads it are done when somebody says so."""
COMMAND = "rosterd sso rotate-key"
_NEXT = {
    KeyState.STEADY: "",
    KeyState.ANNOUNCED: f"{COMMAND} --finish",
    KeyState.SWITCHED: f"{COMMAND} --drop; if a provider refuses our requests now: {COMMAND} --back",
}


@dataclass(frozen=True, slots=True)
class KeyHolder:
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
    holders: tuple[KeyHolder, ...] = ()
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
            return COMMAND
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
        waits = self.finish_from is not None and self.finish_from > self.now
        return f" when every provider has both certificates ({early(self.finish_from)})" if waits else ""

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


def early(at: datetime | None) -> str:
    """Since when nobody has to say that every provider has the certificate."""
    return f"from {to_text(at)} on without --yes" if at is not None else ""


def _shown(certificate: OwnCertificate) -> str:
    return f"certificate sha256 {certificate.sha256[:16]}…, until {certificate.value.not_after:%Y-%m-%d}"


def _json(certificate: OwnCertificate) -> dict[str, Any]:
    return {
        "sha256": certificate.sha256,
        "not_before": to_text(certificate.value.not_before),
        "not_after": to_text(certificate.value.not_after),
    }
