"""One person asked for at a SCIM provider (P6): by id, userName and mail; where it cannot be asked so, all are read.

Groups are listed as a reading lists them: which side shows membership is the provider's own way. Proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from connector.clients.scim import ScimClient, ScimFailure
from connector.directory import finding
from connector.directory.base import ReadRequest
from connector.directory.finding import Finding, FindRequest
from connector.directory.mapping import AttributeRules
from connector.directory.scim import shapes
from connector.directory.scim.listing import Listing
from connector.directory.scim.pull import Pull, Pulled, ScimSource, by_id
from connector.directory.scim.settings import ScimSettings
from connector.directory.scim.shapes import NoPage, Shape, User

_CANNOT = frozenset({400, 403, 404, 405, 501})
"""Answers of a provider that does not know this filter, or filters at all."""
_FEW = 20


class ScimFinder:
    """Asks one provider. ``folder``: what relative paths in the settings are relative to."""

    def __init__(self, settings: ScimSettings, *, folder: Path) -> None:
        self._rules = AttributeRules.from_settings(settings)
        # Sentinels vouch for lists, and one person is none.
        self._source = _OneSource(settings.model_copy(update={"sentinels": ()}), folder=folder)

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        return self._source.id

    async def find(self, request: FindRequest, *, now: datetime) -> Finding:
        """Ask now, inside ``request.deadline``."""
        self._source.asked, self._source.nobody = request, False
        wanted = ReadRequest(request.groups, self._rules.requested, request.deadline)
        reading = await self._source.read(wanted, now=now)
        if self._source.nobody:
            return Finding(self.id, server=self._source.server)
        return finding.of_reading(reading, request, self._rules)

    async def close(self) -> None:
        """Let go of what the source holds."""
        await self._source.close()


class _OneSource(ScimSource):
    """A source whose list of users is one person. ``nobody``: the provider was asked and has no such person."""

    asked: FindRequest = FindRequest(())
    nobody: bool = False

    @property
    def server(self) -> str:
        """Its address."""
        return self._settings.url

    def _pull(self, client: ScimClient, request: ReadRequest) -> Pull:
        return _OnePull(client, self._settings, request, self)


class _OnePull(Pull):
    def __init__(self, client: ScimClient, settings: ScimSettings, request: ReadRequest, source: _OneSource) -> None:
        super().__init__(client, settings, request)
        self._source = source
        self._rules = AttributeRules.from_settings(settings)
        self._read = shapes.user_reader(request.attributes)

    async def run(self) -> Pulled:
        found = await super().run()
        if self._settings.membership == "user-groups" and found.users.rows and not found.users.reason:
            found.membership.reason = ""  # one person who is in no group hides nothing
        return found

    async def _users(self, shape: Shape) -> Listing[User]:
        """The person alone; everybody where the provider cannot be asked for one (or a filter already narrows it)."""
        listing: Listing[User] = Listing()
        if self._settings.users_filter or not await self._asked(shape, listing):
            listing = await super()._users(shape)
        elif not listing.rows:
            self._source.nobody = True
            self._request = replace(self._request, groups=())
        return listing

    async def _asked(self, shape: Shape, listing: Listing[User]) -> bool:
        """Ask by id and by filters; False when an answer shows that the provider does not look at them."""
        for anchor in self._source.asked.anchors:
            await self._by_id(shape, anchor, listing)
        for name in ("userName", "emails.value"):
            for mail in finding.spellings(self._source.asked.mails):
                if not await self._by_filter(shape, f"{name} eq {msgspec.json.encode(mail).decode()}", listing):
                    return False
        return True

    async def _by_id(self, shape: Shape, anchor: str, listing: Listing[User]) -> None:
        try:
            answer = await by_id(self._client, shape.users, anchor, self._patience.deadline)
        except ScimFailure as failure:
            if failure.status not in _CANNOT:
                raise
            return
        user = self._read(answer.body)
        if user.entry.anchor == anchor:
            listing.rows[anchor] = user

    async def _by_filter(self, shape: Shape, condition: str, listing: Listing[User]) -> bool:
        try:
            query = {"filter": condition, "count": str(_FEW)}
            answer = await self._client.get(shape.users, query, deadline=self._patience.deadline)
            page = shapes.page(answer.body)
        except NoPage:
            return False
        except ScimFailure as failure:
            if failure.status not in _CANNOT:
                raise
            return False
        for resource in page.resources:
            user = self._read(resource)
            if not self._is_meant(user, resource):
                return False
            listing.rows[user.entry.anchor] = user
        listing.pages += 1
        return True

    def _is_meant(self, user: User, resource: Mapping[str, Any]) -> bool:
        """Whether the answer has what was asked for: by any of its mail addresses, or its userName."""
        asked = self._source.asked
        everything = shapes.user_reader(("emails", "username"))(resource).entry.attributes
        texts = [value.decode("utf-8", "replace") for values in everything.values() for value in values]
        return finding.is_meant(user.entry, self._rules, asked) or bool(FindRequest(tuple(texts)).keys & asked.keys)
