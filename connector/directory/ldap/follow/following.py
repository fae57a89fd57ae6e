"""Following a server's changes and looking up single entries (D13): the server of the cursor, tried twice, or ``lost``.

Says nothing of what the changes mean. The methods are in ``syncrepl`` and ``by_date``; a source may have its own.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from connector.directory.base import ReadRequest
from connector.directory.changes import MOST, Changes, ChangesRequest, Look, LookRequest, Traced, TraceRequest
from connector.directory.ldap.follow import by_date, lookups, server_state, silent_changes, syncrepl
from connector.directory.ldap.session.connection import Clock, Failed, Session
from connector.directory.ldap.session.reach import Reach
from connector.directory.ldap.whole.attempt import Attempt
from connector.directory.ldap.whole.newest import MODIFY_TIMESTAMP, Newest, needs_date
from connector.directory.ldap.wire import decode
from connector.directory.settings import LdapSettings

T = TypeVar("T")
A = TypeVar("A", Look, Traced)
_TRIES = 2


def position(session: Session, settings: LdapSettings, now: datetime) -> dict[str, Any] | None:
    """Where a full reading that begins now stands; None where changes cannot be followed from it."""
    found = server_state.standing(session, settings)
    if (
        not found.method
        or silent_changes.attribute(settings)
        or server_state.too_far_ahead(server_state.newest_csn(found.databases), now)
    ):
        return None
    if found.method == server_state.SYNCREPL:
        return syncrepl.position(found)
    place = by_date.position(found)
    if needs_date(place):
        place["units"] = silent_changes.units(session, settings, found.databases)
    return place


def said(session: Session, settings: LdapSettings) -> str:
    """How changes are followed on this server and why not in a better way, for an operator. Raises ``Failed``."""
    if name := silent_changes.attribute(settings):
        return f"none ({name} changes without its entry being reported: every run reads everything)"
    return server_state.standing(session, settings).said


def cursor(place: Mapping[str, Any], settings: LdapSettings, attributes: Sequence[str], server: str) -> dict[str, Any]:
    """A place as a cursor: with the server it is of, and what has to be the same for it to mean anything."""
    return {**place, "server": server, "settings": settings_hash(settings, attributes)}


def settings_hash(settings: LdapSettings, attributes: Sequence[str]) -> str:
    """32 hex digits over everything that decides what is read; a cursor of other settings is lost."""
    content = [
        settings.people_bases, settings.people_filter, settings.groups_base, settings.groups_filter,
        settings.anchor_attribute, settings.group_name_attribute, settings.member_uid_attribute, sorted(attributes),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def changes(reach: Reach, request: ChangesRequest, clock: Clock, told: Callable[[Session], Changes]) -> Changes:
    """What changed since the request's cursor: what ``told`` says on a session with the cursor's server. Never raises
    for what the directory does wrong."""
    started = time.monotonic()
    settings, since = reach.settings, request.since
    method, server = str(since.get("method", "")), str(since.get("server", ""))

    def lost(reason: str) -> Changes:
        return Changes(reach.id, method, lost=reason, server=server, seconds=time.monotonic() - started)

    if server not in settings.servers:
        return lost(f"the cursor is of {server or 'no server'}, which is not among `servers` (any more)")
    if since.get("settings") != settings_hash(settings, request.attributes):
        return lost("what is read (bases, filters, attributes) is not what it was when the cursor was made")
    found = _tried(reach, clock, server, told)
    if isinstance(found, str):
        return lost(found)
    if not found.lost and len(found.people) + len(found.groups) > MOST:
        return lost(f"more than {MOST} entries changed")
    if found.lost:
        return lost(found.lost)
    place = cursor(found.cursor, settings, request.attributes, server)
    return replace(
        found, source_id=reach.id, cursor=place, groups_base=settings.groups_base, server=server,
        seconds=time.monotonic() - started,
    )  # fmt: skip


def changes_of(reach: Reach, session: Session, request: ChangesRequest, attempt: Attempt, now: datetime) -> Changes:
    """What changed, by the cursor's own method, on a session with its server. Raises ``Failed``, ``Malformed``."""
    settings, since = reach.settings, request.since
    if since.get("method") not in (server_state.SYNCREPL, server_state.CONTEXT_CSN, MODIFY_TIMESTAMP):
        raise Failed(f"the cursor's method {since.get('method')!r} is none of this kind of directory", transient=False)
    found = server_state.databases(session, settings)
    if server_state.identities(found) != server_state.texts(since, "databases", settings):
        raise Failed("another database is where the one was that the cursor is of", transient=False)
    went_back = server_state.gone_back(server_state.earlier(since, settings), found)
    if reason := went_back or server_state.too_far_ahead(server_state.newest_csn(found), now):
        raise Failed(reason, transient=False)
    if since["method"] == server_state.SYNCREPL:
        told = syncrepl.changes(session, settings, request, reach.id)
    else:
        newest = Newest()
        attempt.on(session, newest)
        told = by_date.changes(attempt.ask, settings, request, found, newest)
        if reason := server_state.too_far_ahead(newest.stamp, now):
            raise Failed(reason, transient=False)
    if unit := silent_changes.moved(session, settings, since, found):
        raise Failed(f"{unit} was renamed, moved or changed, and who is below it is not reported then", transient=False)
    return told


def look(
    reach: Reach, request: LookRequest, clock: Clock, servers: Sequence[str], attempt: Callable[[ReadRequest], Attempt]
) -> Look:
    """Look up single entries, on the first of ``servers`` that answers. Never raises for what the directory does
    wrong."""
    found = _asked(
        reach, clock, servers,
        lambda: attempt(read_request(request)), lambda asking, _: lookups.look(asking, reach.settings, request),
    )  # fmt: skip
    return Look(unknown=found) if isinstance(found, str) else found


def trace(
    reach: Reach,
    request: TraceRequest,
    clock: Clock,
    servers: Sequence[str],
    attempt: Callable[[ReadRequest], Attempt],
    traced: Callable[[Attempt, Session], Traced],
) -> Traced:
    """Look for entries by anchor alone, as ``traced`` does it, on the first of ``servers`` that answers. Never raises
    for what the directory does wrong. Six parameters: as ``look``, and each kind of directory traces in its own way."""
    found = _asked(reach, clock, servers, lambda: attempt(read_request(request)), traced)
    return Traced(unknown=found) if isinstance(found, str) else found


def _asked(
    reach: Reach,
    clock: Clock,
    servers: Sequence[str],
    attempt: Callable[[], Attempt],
    ask: Callable[[Attempt, Session], A],
) -> A | str:
    """What ``ask`` finds on a session with the first of ``servers`` that answers; else why none does."""
    reasons = []
    for server in servers:

        def asked(session: Session) -> A:
            asking = attempt()
            asking.on(session)
            found = ask(asking, session)
            if found.unknown and asking.transient:
                raise Failed(found.unknown, transient=True)
            return found

        found = _tried(reach, clock, server, asked)
        if not isinstance(found, str):
            return found
        reasons.append(f"{server}: {found}")
    return "; ".join(reasons)


def _tried(reach: Reach, clock: Clock, server: str, act: Callable[[Session], T]) -> T | str:
    """The result of ``act`` on a new session with the server; again once when that may help (D4); else why not."""
    reason = ""
    for attempt in range(1, _TRIES + 1):
        try:
            session = reach.open(server, clock)
            try:
                return act(session)
            finally:
                session.close()
        except Failed as failure:
            reason, transient = failure.reason, failure.transient
        except decode.Malformed as error:
            reason, transient = f"what the server sent is not LDAP: {error}", True
        if not transient or attempt == _TRIES or not reach.wait(attempt):
            break
    return reason


def read_request(
    request: ChangesRequest | LookRequest | TraceRequest, watch: Callable[[int], None] | None = None
) -> ReadRequest:
    """What an attempt is made with that only asks single questions; ``watch`` is told how many entries came."""

    def told(entries: int, _pages: int, _done: int) -> None:
        if watch is not None:
            watch(entries)

    return ReadRequest((), request.attributes, request.deadline, told)
