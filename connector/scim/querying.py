"""Finds the resources a list request asks for, by an index where one fits, else by looking at each (S-R44, S-R51).

Prohibition: reads only. The order is that of ids, so what is added meanwhile comes behind everything already shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from connector.scim import filtering, shaping
from connector.scim.answering import Asked
from connector.scim.discovery import LARGEST_PAGE, PAGE
from connector.scim.errors import Fault
from connector.scim.filtering import Probe, Test
from connector.scim.grammar import Filter, parse_filter
from connector.scim.schemas import GROUP, USER, Kind
from ledger.identity import fold
from ledger.store import inbox
from ledger.store.book import Reader
from ledger.store.inbox import Resource

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """``start`` counts from 1. ``total``: of everything that fits, not of this page."""

    resources: Sequence[Resource]
    total: int
    start: int


@dataclass(frozen=True, slots=True)
class _Window:
    """Which of those that fit are shown."""

    start: int
    count: int

    def of(self, found: Sequence[Resource]) -> Page:
        return Page(found[self.start - 1 : self.start - 1 + self.count], len(found), self.start)


async def search(reader: Reader, asked: Asked, kind: Kind) -> Page:
    """The page that ``filter``, ``startIndex`` and ``count`` ask for; raises ``Fault``."""
    window = _Window(max(1, _number(asked, "startIndex", 1)), _count(asked))
    text = asked.parameter("filter")
    connection = asked.pushing.connection_id
    if text is None:
        total = await inbox.count(reader, connection, kind.name)
        skip = window.start - 1
        some = window.count > 0 and skip < total
        rows = await inbox.part(reader, connection, kind.name, skip=skip, limit=window.count) if some else []
        return Page(rows, total, window.start)
    tree = parse_filter(text, strict=asked.pushing.strict)
    search = _Search(reader, connection, kind, tree, filtering.predicate(tree, kind, strict=asked.pushing.strict))
    probes = filtering.probes(tree, kind)
    return await (search.among(window, probes) if probes else search.everywhere(window))


def _count(asked: Asked) -> int:
    return min(LARGEST_PAGE, max(0, _number(asked, "count", PAGE)))


def _number(asked: Asked, name: str, default: int) -> int:
    text = asked.parameter(name)
    if text is None:
        return default
    try:
        return max(-1, min(int(text), 2**31))
    except ValueError as error:
        raise Fault("a whole number is expected", "invalidValue", where=name) from error


class _Search:
    """One filter over one connection's resources of one kind."""

    def __init__(self, reader: Reader, connection: str, kind: Kind, tree: Filter, test: Test) -> None:
        self._reader = reader
        self._connection = connection
        self._kind = kind
        self._tree = tree
        self._test = test
        self._related = "groups" if kind is USER else "members"

    async def among(self, window: _Window, probes: Sequence[Probe]) -> Page:
        """Of those that one of ``probes`` finds."""
        found = {one.id: one for way, value in probes for one in await self._candidates(way, value)}
        candidates = [found[one] for one in sorted(found)]
        fitting = await self._fitting(candidates)
        return window.of([one for one in candidates if one.id in fitting])

    async def everywhere(self, window: _Window) -> Page:
        """Of all there are, looked at in a thread; only those of the page are kept."""
        kept: list[Resource] = []
        total, after = 0, ""
        while batch := await inbox.page(self._reader, self._connection, self._kind.name, after=after, limit=_BATCH):
            after = batch[-1].id
            fitting = await self._fitting(batch)
            for one in (one for one in batch if one.id in fitting):
                total += 1
                if window.start <= total < window.start + window.count:
                    kept.append(one)
        return Page(kept, total, window.start)

    async def _candidates(self, way: str, value: str) -> list[Resource]:
        reader, connection, name = self._reader, self._connection, self._kind.name
        if way == "id":
            one = await inbox.get(reader, connection, name, value)
            return [one] if one else []
        if way == "key":
            key = fold(value)
            return await inbox.find(reader, connection, name, key=key) if key else []
        if way == "external_id":
            return await inbox.find(reader, connection, name, external_id=value)
        if way == "mail":
            return await inbox.with_mail(reader, connection, value)
        inside = inbox.groups_of if self._kind is GROUP else inbox.members
        ids = (await inside(reader, connection, [value])).get(value, [])
        return await inbox.some(reader, connection, name, ids)

    async def _fitting(self, resources: Sequence[Resource]) -> frozenset[str]:
        inside = await self._inside([one.id for one in resources])

        def look() -> frozenset[str]:
            return frozenset(
                one.id for one in resources if self._test(shaping.view(one, self._kind, inside.get(one.id, ())))
            )

        return await asyncio.to_thread(look) if len(resources) > 10 else look()

    async def _inside(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Id → its members (of groups) or groups (of people), as far as the filter asks for them."""
        if not filtering.mentions(self._tree, self._related):
            return {}
        of_groups = self._kind is GROUP
        asked = filtering.ids_asked(self._tree, self._related)
        if asked is None:
            return await (inbox.members if of_groups else inbox.groups_of)(self._reader, self._connection, ids)
        # the other way round: never the fifty thousand members of a group, only where these few are
        found: dict[str, list[str]] = {}
        opposite = await (inbox.groups_of if of_groups else inbox.members)(self._reader, self._connection, asked)
        for one, inside in opposite.items():
            for other in inside:
                found.setdefault(other, []).append(one)
        return found
