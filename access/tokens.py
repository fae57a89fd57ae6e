"""Opaque API tokens ``rpt_<8 id>_<43 base62><6 crc>``: made, shown once, listed, revoked, checked.

The secret part is 32 random bytes. Stored is its HMAC-SHA256 under the installation's pepper: a copied database opens
nothing, and checking costs microseconds. The CRC lets secret scanners and us refuse garbage without the database.
Prohibition: no token text is kept, logged or put into an error.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from access.errors import Unauthenticated
from access.principal import Principal, Purpose, Scope, check_grant, check_scopes
from access.trail import Trail
from ledger.audit import AuditEvent
from ledger.errors import BadInput, NotFound
from ledger.jobs import Unleased
from ledger.store import audit
from ledger.store import tokens as rows
from ledger.store.engine import Ledger
from ledger.store.tables.people import team as team_table
from ledger.store.tokens import TokenRow
from ledger.team import Role

MAX_LIFE = timedelta(days=366)
"""Longest life of a token: one year, a leap day included."""

TOUCH_EVERY = timedelta(minutes=1)
"""``last_used_at`` is written at most this often."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"rpt_([0-9A-Za-z]{8})_[0-9A-Za-z]{43}([0-9A-Za-z]{6})")
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """What a new token shall be. ``team_ids`` empty = every Team; ``networks`` = CIDRs it may come from; ``directory``:
    whose inbox it pushes to, with the scope ``scim`` and only with it."""

    name: str
    expires_at: datetime
    roles: tuple[Role, ...] = (Role.REPORT_READER,)
    scopes: tuple[Scope, ...] = ()
    team_ids: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    purpose: Purpose = Purpose.REPORT
    directory: str = ""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token at the only moment its text exists outside its owner's hands; ``repr`` hides it."""

    text: str
    row: TokenRow

    def __repr__(self) -> str:
        return f"NewToken({self.row.id!r})"

    def to_json(self) -> dict[str, Any]:
        """The stored row and, this once, the token."""
        return {**self.row.to_json(), "token": self.text}


async def create(
    ledger: Ledger, organization: str, spec: TokenSpec, *, pepper: bytes, actor: Principal, now: datetime
) -> NewToken:
    """Make a token of ``organization``.

    Raises ``BadInput`` (life over a year, scopes, network,
    directory), ``Forbidden`` (``actor`` gives more than it could hold) and
    ``NotFound`` (a Team that is not the organization's).
    """
    scopes = check_scopes(spec.roles, spec.scopes)
    if actor.organization != organization:
        raise NotFound("there is no such organization", where=organization)
    check_grant(actor, spec.roles, scopes, spec.team_ids)
    _check_life(spec.expires_at, now)
    _check_directory(spec, scopes)
    for network in spec.networks:
        _network(network)
    public = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    text = _signed(f"rpt_{public}_{_base62(secrets.token_bytes(32))}")
    row = TokenRow(
        id=public,
        organization=organization,
        name=spec.name,
        digest=_digest(text, pepper),
        roles=tuple(sorted(spec.roles)),
        scopes=tuple(sorted(scopes)),
        team_ids=tuple(sorted(set(spec.team_ids))),
        networks=spec.networks,
        purpose=spec.purpose,
        created_at=now,
        created_by=actor.actor,
        expires_at=spec.expires_at,
        directory=spec.directory,
    )
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        known = {found.id for found in await book.all(book.open(team_table, "id"))}
        for missing in sorted(set(spec.team_ids) - known):
            raise NotFound(
                f"there is no Team {missing!r}", where="team_ids", next_step="name Teams of this organization"
            )
        await rows.insert(book, row)
        await audit.append(book, [AuditEvent(actor.actor, "token.created", public, after=row.to_json())])
    return NewToken(text, row)


async def list(ledger: Ledger, organization: str) -> tuple[TokenRow, ...]:
    """Every token of the organization, oldest first."""
    async with ledger.read(organization) as reader:
        return await rows.rows(reader)


async def revoke(ledger: Ledger, organization: str, token_id: str, *, actor: Principal, now: datetime) -> None:
    """Revoke at once. ``NotFound``: the organization has no such live token; ``Forbidden``: no right to."""
    actor.require(Scope.TOKENS_WRITE)
    found = False
    if actor.organization == organization:
        async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
            found = await rows.revoke(book, token_id, actor=actor.actor)
            if found:
                await audit.append(book, [AuditEvent(actor.actor, "token.revoked", token_id)])
    if not found:
        raise NotFound(f"there is no live token {token_id!r}", next_step="rosterd token list")


async def authenticate(
    ledger: Ledger, text: str, *, pepper: bytes, now: datetime, remote: str = "", trail: Trail | None = None
) -> Principal:
    """The principal behind a token's text; raises ``Unauthenticated`` for every reason it could be refused for.

    ``remote``: address of the asker. Asks the ledger each time: a revocation counts from the next request on. The use
    is noted at most once a minute, through ``trail`` where there is one (so that a busy ledger delays nobody).
    """
    match = _SHAPE.fullmatch(text)
    if match is None or not hmac.compare_digest(_checksum(text[:-6]), match[2]):
        raise Unauthenticated("not of the shape of a token")
    async with ledger.unscoped_read() as connection:
        row = await rows.find(connection, match[1])
    same = hmac.compare_digest(_digest(text, pepper), row.digest if row else _NO_DIGEST)
    if row is None or not same:
        raise Unauthenticated("unknown token")
    if row.revoked_at is not None and row.revoked_at <= now:
        raise Unauthenticated(f"token {row.id} was revoked")
    if row.expires_at <= now:
        raise Unauthenticated(f"token {row.id} has expired")
    if row.networks and not _inside(remote, row.networks):
        raise Unauthenticated(f"token {row.id} came from a network it may not come from")
    if trail is not None:
        trail.used(row.id, now, row.last_used_at, TOUCH_EVERY)
    elif row.last_used_at is None or now - row.last_used_at >= TOUCH_EVERY:
        async with ledger.unscoped_write() as connection:
            await rows.touch(connection, {row.id: now})
    return _principal(row)


def _principal(row: TokenRow) -> Principal:
    return Principal(
        actor=f"token:{row.id}",
        organization=row.organization,
        roles=frozenset(map(Role, row.roles)),
        scopes=frozenset(map(Scope, row.scopes)),
        team_ids=frozenset(row.team_ids),
        purpose=Purpose(row.purpose),
        token_id=row.id,
        directory=row.directory,
    )


def _check_directory(spec: TokenSpec, scopes: frozenset[Scope]) -> None:
    """A token that pushes is bound to one directory, and to everybody in it."""
    if (Scope.SCIM in scopes) != bool(spec.directory):
        raise BadInput(
            "a token that pushes over SCIM names one directory, and no other token names any",
            where="directory",
            next_step="rosterd token create NAME --scope scim --directory ID",
        )
    if spec.directory and spec.team_ids:
        raise BadInput("a token that pushes over SCIM cannot be bound to Teams", where="team_ids")


def _check_life(expires_at: datetime, now: datetime) -> None:
    if not now < expires_at <= now + MAX_LIFE:
        raise BadInput(
            "a token lives more than nothing and at most one year",
            where="expires_at",
            next_step="choose an earlier day",
        )


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise BadInput(
            f"{text!r} is not a network: {error}", where="networks", next_step="write 192.0.2.0/24"
        ) from error


def _inside(remote: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in _network(network) for network in networks)


def _digest(text: str, pepper: bytes) -> str:
    if not pepper:
        raise ValueError("tokens need a pepper")
    return hmac.digest(pepper, b"api-token\x1f" + text.encode("ascii"), hashlib.sha256).hex()


def _base62(value: bytes) -> str:
    return _encode(int.from_bytes(value, "big"), 43)


def _encode(number: int, width: int) -> str:
    out = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        out.append(_ALPHABET[rest])
    return "".join(reversed(out))


def _checksum(text: str) -> str:
    return _encode(zlib.crc32(text.encode("ascii")), 6)


def _signed(text: str) -> str:
    return text + _checksum(text)
