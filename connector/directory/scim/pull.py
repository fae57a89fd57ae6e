"""A SCIM provider as a directory source (D16; S-R61, S-R62, S-R63): all users, all groups, and who is in which.

Never raises for what the provider does wrong: whatever was not proved is an unknown scope that says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from connector.clients.scim import Answer, Connection, ScimClient, ScimFailure
from connector.directory import assembly
from connector.directory.base import Checked, CheckLine, Entry, Reading, ReadRequest, Scope, ScopeState
from connector.directory.changes import Traced, TraceRequest
from connector.directory.groups import GroupEntry
from connector.directory.mapping import AttributeRules
from connector.directory.report import fix_for, reading_lines
from connector.directory.scim import membership as scim_membership
from connector.directory.scim import shapes
from connector.directory.scim.graph import doubted, group_entries, hidden_sentinels
from connector.directory.scim.listing import Listing, ListReader, Patience
from connector.directory.scim.membership import Membership
from connector.directory.scim.settings import ScimSettings
from connector.directory.scim.shapes import Group, Shape, User
from connector.directory.stand import Stand
from connector.directory.survey import Survey, SurveyedGroup, by_name

PEOPLE_SCOPE = assembly.PEOPLE + "Users"
_NOT_FOUND = 404
_NOBODY_ANSWERS = frozenset({0, 401, 429})
"""Failures after which whoever else is asked for is not answered for either."""


class ScimSource:
    """Reads one provider. ``folder``: what relative paths in the settings are relative to."""

    def __init__(self, settings: ScimSettings, *, folder: Path) -> None:
        self._settings = settings
        self._connection = Connection(
            url=settings.url,
            token=settings.token.anchored(folder) if settings.token else None,
            tls_ca=folder / settings.tls_ca if settings.tls_ca else None,
            tls_verify=settings.tls_verify,
            connect_timeout=settings.connect_timeout.total_seconds(),
            page_timeout=settings.page_timeout.total_seconds(),
            attempts=settings.attempts,
            retry_wait=settings.retry_wait.total_seconds(),
            max_bytes=settings.page_bytes,
        )

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        return self._settings.id

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        """Read users, groups and membership; all of it ends by ``request.deadline``."""
        started = time.monotonic()
        try:
            async with ScimClient(self._connection) as client:
                found = await self._pull(client, request).run()
        except ScimFailure as failure:
            scopes = assembly.nothing_read(request, [PEOPLE_SCOPE], str(failure.what), server=self._settings.url)
            span = (now, now + timedelta(seconds=time.monotonic() - started))
            hidden = frozenset(self._settings.sentinels)
            return Reading(self.id, *span, people={}, groups={}, scopes=scopes, sentinels_missing=hidden)
        return await asyncio.to_thread(self._assemble, found, request, now, started)

    async def trace(self, request: TraceRequest, *, now: datetime) -> Traced:
        """Users that the list left out, each by its id (E1). 404 proves nothing: it may be hidden from us."""
        deadline = asyncio.get_running_loop().time() + request.deadline.total_seconds()
        users, read = shapes.shape(self._settings, None).users, shapes.user_reader(request.attributes)
        found: dict[str, Entry] = {}
        reasons: list[str] = []
        try:
            async with ScimClient(self._connection) as client:
                for anchor in request.anchors:
                    try:
                        user = read((await by_id(client, users, anchor, deadline)).body)
                    except ScimFailure as failure:
                        reasons += [] if failure.status == _NOT_FOUND else [failure.what]
                        if failure.status in _NOBODY_ANSWERS:
                            break
                        continue
                    if user.entry.anchor == anchor:
                        found[anchor] = user.entry
        except ScimFailure as failure:
            reasons.append(failure.what)
        return Traced(found, unknown="; ".join(dict.fromkeys(reasons)))

    async def check(self, request: ReadRequest) -> Checked:
        """Connect and ask what the provider can do, then read: one line per step, failures with their fix."""
        try:
            async with ScimClient(self._connection) as client:
                deadline = asyncio.get_running_loop().time() + request.deadline.total_seconds()
                config = await service_provider_config(client, deadline)
        except ScimFailure as failure:
            return Checked([CheckLine(False, f"{self._settings.url}: {failure.what}", fix_for(failure.what))])
        kind = shapes.shape(self._settings, config)
        how = "over http, not encrypted" if self._settings.plaintext else "over https"
        lines = [CheckLine(True, f"{self._settings.url}: answers {how}"), CheckLine(True, kind.said)]
        reading = await self.read(request, now=datetime(1970, 1, 1, tzinfo=UTC))
        return Checked([*lines, *reading_lines(reading, AttributeRules.from_settings(self._settings))], reading)

    async def survey(self, request: ReadRequest) -> Survey:
        """``check``, and the groups that the provider lists, by name."""
        lines = tuple((await self.check(request)).lines)
        try:
            async with ScimClient(self._connection) as client:
                listed = await self._pull(client, request).groups()
        except ScimFailure as failure:
            said = any(failure.what in line.what for line in lines)
            return Survey(
                lines if said else (*lines, CheckLine(False, f"Groups: {failure.what}", fix_for(failure.what)))
            )
        if listed.reason:
            lines = (*lines, CheckLine(False, f"Groups: {listed.reason}", fix_for(listed.reason)))
        groups = [
            SurveyedGroup(group.name, group.name, None if group.members is None else len(group.members))
            for group in listed.rows.values()
        ]
        return Survey(lines, by_name(groups))

    async def close(self) -> None:
        """Nothing is kept open between readings."""

    def _pull(self, client: ScimClient, request: ReadRequest) -> Pull:
        return Pull(client, self._settings, request)

    def _assemble(self, found: Pulled, request: ReadRequest, now: datetime, started: float) -> Reading:
        """The reading; in a thread, since a large company's graph takes a while."""
        hidden = found.hidden(self._settings.sentinels)
        people = {anchor: user.entry for anchor, user in found.users.rows.items()}
        seconds = time.monotonic() - started
        scope = _scope(PEOPLE_SCOPE, found.users, self._settings.url, seconds)
        if scope.complete and not people:
            scope = assembly.unknown(scope, "no entry is a person: the provider shows no users at all")
        proof = _scope("", found.groups, self._settings.url, seconds)
        if found.membership.reason:
            proof = assembly.unknown(proof, found.membership.reason)
        findings = assembly.Findings(
            people=people,
            people_scopes={PEOPLE_SCOPE: scope},
            groups=found.entries(),
            group_proof=proof,
            group_proofs={},
            missing_sentinels=frozenset(),
        )
        span = (now, now + timedelta(seconds=seconds))
        rules = assembly.Rules({PEOPLE_SCOPE: ""}, "", "username")
        reading = assembly.assemble(findings, request, source_id=self.id, span=span, rules=rules)
        url = self._settings.url  # the protocol has nothing that says how new a list is (RFC 7644)
        return doubted(replace(reading, stand=Stand(url, servers=(url,))), hidden)


async def by_id(client: ScimClient, users: str, anchor: str, deadline: float) -> Answer:
    """One user. Raises ``ScimFailure``."""
    return await client.get(f"{users}/{quote(anchor, safe='')}", deadline=deadline)


async def service_provider_config(client: ScimClient, deadline: float) -> Mapping[str, object] | None:
    """What the provider says it can do; None when it has no usable page (unknown, not "no").

    Raises where nothing else would be answered either: no connection, a token that is not valid, a redirect elsewhere.
    """
    try:
        answer: Answer = await client.get("ServiceProviderConfig", deadline=deadline)
    except ScimFailure as failure:
        if failure.status in _NOBODY_ANSWERS or 300 <= failure.status < 400:
            raise
        return None
    return answer.body


@dataclass(slots=True)
class Pulled:
    """Users, groups, and membership by group id."""

    users: Listing[User]
    groups: Listing[Group]
    membership: Membership = field(default_factory=Membership)

    def entries(self) -> list[GroupEntry]:
        """Every group, its members by the names the graph knows people and groups by."""
        names = {anchor: group.name for anchor, group in self.groups.rows.items()}
        return group_entries(names, self.membership.members, self.users.rows, self.membership.faults)

    def hidden(self, sentinels: Sequence[str]) -> frozenset[str]:
        """Configured resources that did not come."""
        people = {anchor: user.user_name for anchor, user in self.users.rows.items()}
        return hidden_sentinels(sentinels, people, {anchor: group.name for anchor, group in self.groups.rows.items()})


class Pull:
    """One reading."""

    def __init__(self, client: ScimClient, settings: ScimSettings, request: ReadRequest) -> None:
        self._client = client
        self._settings = settings
        self._request = request
        self._entries = self._pages = self._done = 0
        deadline = asyncio.get_running_loop().time() + request.deadline.total_seconds()
        self._patience = Patience(deadline, settings.readings, settings.shrink_percent)

    async def run(self) -> Pulled:
        """Users first; groups only where some are wanted."""
        config = await service_provider_config(self._client, self._patience.deadline)
        shape = shapes.shape(self._settings, config)
        users = await self._users(shape)
        self._step()
        wants_groups = self._request.groups or any(name.startswith("Groups/") for name in self._settings.sentinels)
        if not wants_groups:
            return Pulled(users, Listing())
        listing = await self._groups(shape)
        found = Pulled(users, listing)
        if listing.rows and self._request.groups:
            reader = scim_membership.MembershipReader(
                self._client, shape, self._settings.membership, self._patience, self._told
            )
            found.membership = await reader.read(users, listing, self._request.groups)
        self._done += len(self._request.groups)
        self._step(0)
        return found

    async def groups(self) -> Listing[Group]:
        """The groups alone."""
        config = await service_provider_config(self._client, self._patience.deadline)
        return await self._groups(shapes.shape(self._settings, config))

    async def _groups(self, shape: Shape) -> Listing[Group]:
        return await ListReader(
            self._client, shape, shape.groups, shapes.group, patience=self._patience, told=self._told
        ).read()

    async def _users(self, shape: Shape) -> Listing[User]:
        return await ListReader(
            self._client,
            shape,
            shape.users,
            shapes.user_reader(self._request.attributes),
            patience=self._patience,
            filter_=self._settings.users_filter,
            told=self._told,
        ).read()

    def _told(self, new: int) -> None:
        self._entries += new
        self._pages += 1
        self._step(0)

    def _step(self, done: int = 1) -> None:
        self._done += done
        if self._request.progress is not None:
            self._request.progress(self._entries, self._pages, self._done)


def _scope(name: str, listing: Listing[User] | Listing[Group], server: str, seconds: float) -> Scope:
    state = ScopeState.UNKNOWN if listing.reason else ScopeState.COMPLETE
    codes = tuple(listing.codes)
    return Scope(name, state, listing.reason, server, listing.pages, codes, len(listing.rows), seconds)
