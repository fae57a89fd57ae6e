"""What an identity provider pushed to us over SCIM, as a directory source (design.md §1; G6, D3).

The inbox is our own store, so a reading is one snapshot of it and always whole; what it cannot prove is that it holds
all the provider meant to send. So nobody is absent because they are not there: only a deletion that was pushed, or
``active = false``, says that somebody left, and only a push that took somebody out of a group says that they left it.
Prohibition: writes nothing; knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.directory import assembly
from connector.directory.base import Checked, CheckLine, Reading, ReadRequest, Scope, ScopeState
from connector.directory.mapping import AttributeRules
from connector.directory.report import fix_for, reading_lines
from connector.directory.scim import shapes
from connector.directory.scim.graph import doubted, group_entries, hidden_sentinels
from connector.directory.scim.settings import ScimInboxSettings
from ledger.errors import RosterdError
from ledger.store import inbox
from ledger.store.inbox import Inbox

PEOPLE_SCOPE = assembly.PEOPLE + "Users"
_SERVER = "our inbox"
_NOBODY = "nobody was pushed to the inbox yet"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The inbox of one organization."""

    store: Inbox
    organization: str


@dataclass(frozen=True, slots=True)
class _Pushed:
    """One snapshot: (id, document) of users and groups, (group id, member id) of who is in and who was taken out, and
    the ids that were deleted."""

    people: Sequence[tuple[str, Any]]
    groups: Sequence[tuple[str, Any]]
    members: Sequence[tuple[str, str]]
    left: Sequence[tuple[str, str]]
    deleted: frozenset[str]


class ScimInboxSource:
    """Reads one connection of an organization's inbox."""

    def __init__(self, settings: ScimInboxSettings, mailbox: Mailbox) -> None:
        self._settings = settings
        self._mailbox = mailbox

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        return self._settings.id

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        """Everything that was pushed, as it is now."""
        started = time.monotonic()
        try:
            pushed = await self._pushed()
        except RosterdError as error:
            return self._nothing(request, now, started, error.what)
        if not pushed.people:
            return self._nothing(request, now, started, _NOBODY)
        reading = await asyncio.to_thread(self._assemble, pushed, request, now, started)
        if request.progress is not None:
            request.progress(len(reading.people), 1, 1 + len(request.groups))
        return reading

    async def check(self, request: ReadRequest) -> Checked:
        """What has been pushed so far: one line per step, failures with their fix."""
        reading = await self.read(request, now=datetime(1970, 1, 1, tzinfo=UTC))
        scope = reading.scopes[PEOPLE_SCOPE]
        if not scope.complete:
            command = f"rosterd token create {self.id} --scope scim --directory {self.id}"
            fix = f"{command} --organization {self._mailbox.organization}, and give it to the identity provider"
            line = CheckLine(False, scope.reason, fix if scope.reason == _NOBODY else fix_for(scope.reason))
            return Checked([line], reading)
        return Checked(reading_lines(reading, AttributeRules.from_settings(self._settings)), reading)

    async def close(self) -> None:
        """The store is closed by whoever opened it."""

    def _nothing(self, request: ReadRequest, now: datetime, started: float, reason: str) -> Reading:
        scopes = assembly.nothing_read(request, [PEOPLE_SCOPE], reason, server=_SERVER)
        span = (now, now + timedelta(seconds=time.monotonic() - started))
        hidden = frozenset(self._settings.sentinels)
        return Reading(
            self.id, *span, people={}, groups={}, scopes=scopes, sentinels_missing=hidden, deletions_told=True
        )

    async def _pushed(self) -> _Pushed:
        async with self._mailbox.store.read(self._mailbox.organization) as reader:
            return _Pushed(
                await inbox.documents(reader, self.id, inbox.USER),
                await inbox.documents(reader, self.id, inbox.GROUP),
                await inbox.memberships(reader, self.id),
                await inbox.left(reader, self.id),
                await inbox.deleted(reader, self.id, inbox.USER),
            )

    def _assemble(self, pushed: _Pushed, request: ReadRequest, now: datetime, started: float) -> Reading:
        """The reading; in a thread, since a large company's graph takes a while."""
        read = shapes.user_reader(request.attributes)
        users = {anchor: read({**document, "id": anchor}) for anchor, document in pushed.people}
        people = {anchor: user.entry for anchor, user in users.items()}
        names = {anchor: shapes.group(document).name for anchor, document in pushed.groups}
        members, left = _by_group(pushed.members), _by_group(pushed.left)
        seconds = time.monotonic() - started
        scope = Scope(PEOPLE_SCOPE, ScopeState.COMPLETE, server=_SERVER, pages=1, entries=len(people), seconds=seconds)
        findings = assembly.Findings(
            people=people,
            people_scopes={PEOPLE_SCOPE: scope},
            groups=group_entries(names, members, people, left=left),
            group_proof=Scope("", ScopeState.COMPLETE, server=_SERVER, pages=1, seconds=seconds),
            group_proofs={},
            missing_sentinels=frozenset(),
        )
        rules = assembly.Rules({PEOPLE_SCOPE: ""}, "", "username")
        span = (now, now + timedelta(seconds=seconds))
        reading = assembly.assemble(findings, request, source_id=self.id, span=span, rules=rules)
        logins = {anchor: user.user_name for anchor, user in users.items()}
        hidden = hidden_sentinels(self._settings.sentinels, logins, names)
        return replace(doubted(reading, hidden), tombstones=pushed.deleted, deletions_told=True)


def _by_group(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for group, member in pairs:
        found.setdefault(group, []).append(member)
    return found
