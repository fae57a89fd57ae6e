"""Following a server's changes and looking up single entries (D13): the server of the cursor, tried twice, or ``lost``.

Says nothing of what the changes mean. The methods are in ``refreshing`` and ``newer``; a source may have its own.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from connector.directory.base import ReadRequest
from connector.directory.changes import MOST, Changes, ChangesRequest, Look, LookRequest
from connector.directory.ldap import decode, looking, newer, refreshing, standing, unreported
from connector.directory.ldap.connection import Failed, Session
from connector.directory.settings import LdapSettings

if TYPE_CHECKING:
    from connector.directory.ldap.openldap import LdapSource

T = TypeVar("T")
_TRIES = 2


def position(session: Session, settings: LdapSettings, now: datetime) -> dict[str, Any] | None:
    """Where a full reading that begins now stands; None where changes cannot be followed from it."""
    found = standing.standing(session, settings)
    if (
        not found.method
        or unreported.attribute(settings)
        or standing.too_far_ahead(standing.newest_csn(found.databases), now)
    ):
        return None
    if found.method == standing.SYNCREPL:
        return refreshing.position(found)
    place = newer.position(found)
    if newer.needs_date(place):
        place["units"] = unreported.units(session, settings, found.databases)
    return place


def said(session: Session, settings: LdapSettings) -> str:
    """How changes are followed on this server and why not in a better way, for an operator. Raises ``Failed``."""
    if name := unreported.attribute(settings):
        return f"none ({name} changes without its entry being reported: every run reads everything)"
    return standing.standing(session, settings).said


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


def changes(source: LdapSource, request: ChangesRequest) -> Changes:
    """What changed since the request's cursor, from its server. Never raises for what the directory does wrong."""
    started = time.monotonic()
    settings, since = source._settings, request.since
    method, server = str(since.get("method", "")), str(since.get("server", ""))

    def lost(reason: str) -> Changes:
        return Changes(source.id, method, lost=reason, server=server, seconds=time.monotonic() - started)

    if server not in settings.servers:
        return lost(f"the cursor is of {server or 'no server'}, which is not among `servers` (any more)")
    if since.get("settings") != settings_hash(settings, request.attributes):
        return lost("what is read (bases, filters, attributes) is not what it was when the cursor was made")
    found = _tried(source, server, lambda session: source._changes(session, request))
    if isinstance(found, str):
        return lost(found)
    if not found.lost and len(found.people) + len(found.groups) > MOST:
        return lost(f"more than {MOST} entries changed")
    if found.lost:
        return lost(found.lost)
    source._last = server
    place = cursor(found.cursor, settings, request.attributes, server)
    return replace(
        found, source_id=source.id, cursor=place, groups_base=settings.groups_base, server=server,
        seconds=time.monotonic() - started,
    )  # fmt: skip


def changes_of(source: LdapSource, session: Session, request: ChangesRequest) -> Changes:
    """What changed, by the cursor's own method, on a session with its server. Raises ``Failed``, ``Malformed``."""
    settings, since = source._settings, request.since
    if since.get("method") not in (standing.SYNCREPL, standing.CONTEXT_CSN, standing.MODIFY_TIMESTAMP):
        raise Failed(f"the cursor's method {since.get('method')!r} is none of this kind of directory", transient=False)
    found = standing.databases(session, settings)
    if standing.identities(found) != standing.texts(since, "databases", settings):
        raise Failed("another database is where the one was that the cursor is of", transient=False)
    went_back = standing.gone_back(standing.earlier(since, settings), found)
    if reason := went_back or standing.too_far_ahead(standing.newest_csn(found), source._now):
        raise Failed(reason, transient=False)
    if since["method"] == standing.SYNCREPL:
        told = refreshing.changes(session, settings, request, source.id)
    else:
        newest = newer.Newest()
        attempt = source._attempt(_read_request(request, refreshing.enough), source._ticking)
        attempt.on(session, newest)
        told = newer.changes(attempt.ask, settings, request, found, newest)
        if reason := standing.too_far_ahead(newest.stamp, source._now):
            raise Failed(reason, transient=False)
    if unit := unreported.moved(session, settings, since, found):
        raise Failed(f"{unit} was renamed, moved or changed, and who is below it is not reported then", transient=False)
    return told


def look(source: LdapSource, request: LookRequest) -> Look:
    """Look up single entries, on the server that was last read. Never raises for what the directory does wrong."""
    reasons = []
    for server in [source._last] if source._last else source._settings.servers:

        def looked(session: Session) -> Look:
            attempt = source._attempt(_read_request(request), source._ticking)
            attempt.on(session)
            found = looking.look(attempt, source._settings, request)
            if found.unknown and attempt.transient:
                raise Failed(found.unknown, transient=True)
            return found

        found = _tried(source, server, looked)
        if not isinstance(found, str):
            return found
        reasons.append(f"{server}: {found}")
    return Look(unknown="; ".join(reasons))


def _tried(source: LdapSource, server: str, act: Callable[[Session], T]) -> T | str:
    """The result of ``act`` on a new session with the server; again once when that may help (D4); else why not."""
    reason = ""
    for attempt in range(1, _TRIES + 1):
        try:
            session = source._open(server, source._ticking)
            try:
                return act(session)
            finally:
                session.close()
        except Failed as failure:
            reason, transient = failure.reason, failure.transient
        except decode.Malformed as error:
            reason, transient = f"what the server sent is not LDAP: {error}", True
        if not transient or attempt == _TRIES or not source._wait(attempt):
            break
    return reason


def _read_request(request: ChangesRequest | LookRequest, watch: Callable[[int], None] | None = None) -> ReadRequest:
    def told(entries: int, _pages: int, _done: int) -> None:
        if watch is not None:
            watch(entries)

    return ReadRequest((), request.attributes, request.deadline, told)
