"""Reads one SCIM list from its first page to its proved end, again when it moved (S-R61, RFC 7644 §3.4.2, RFC 9865).

Decides nothing about people: it hands back what was read with the reason why that may not be all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from connector.clients.scim import ScimClient, ScimFailure
from connector.directory.scim import proofs, shapes
from connector.directory.scim.proofs import Trail
from connector.directory.scim.shapes import NoPage, Page, Shape

T = TypeVar("T")

_REFUSED_PARAMETER = frozenset({400, 403, 404, 405, 501})


@dataclass(frozen=True, slots=True)
class Patience:
    """``deadline`` in loop time; ``readings``: how often a list is read before it is unknown; ``percent``: proof 7."""

    deadline: float
    readings: int
    percent: int


@dataclass(slots=True)
class Listing(Generic[T]):
    """What was read. ``reason`` is empty only when all proofs hold; ``rows`` by id, of all readings that were made."""

    rows: dict[str, T] = field(default_factory=dict)
    reason: str = ""
    pages: int = 0
    codes: list[int] = field(default_factory=list)
    readings: int = 0


class ListReader(Generic[T]):
    """Reads one list. ``convert`` makes a row of a resource; ``told`` hears of each page's number of new rows."""

    def __init__(
        self,
        client: ScimClient,
        shape: Shape,
        path: str,
        convert: Callable[[Mapping[str, Any]], T],
        *,
        patience: Patience,
        filter_: str = "",
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._shape = shape
        self._path = path
        self._convert = convert
        self._patience = patience
        self._filter = {"filter": filter_} if filter_ else {}
        self._told = told
        self._listing: Listing[T] = Listing()
        self._rows: dict[str, T] = {}
        self._by_cursor = shape.cursor
        self._sort = {} if shape.sort is False else {"sortBy": "id", "sortOrder": "ascending"}
        self._sort_sure = shape.sort is not None
        self._overlap = True

    async def read(self) -> Listing[T]:
        """Read, and read again while it moves. Never raises for what the provider does wrong."""
        listing, most = self._listing, 0
        for listing.readings in range(1, self._patience.readings + 1):
            trail, self._rows = Trail(asked=self._shape.page_size), {}
            try:
                await self._pass(trail)
                listing.reason = proofs.fault(trail, most=most, percent=self._patience.percent)
                again = True
            except ScimFailure as failure:
                page = len(trail.totals) + 1
                listing.reason = f"page {page} of {self._path}: {failure.what}"
                listing.codes += [failure.status] if failure.status else []
                again = failure.restart
            most = max(most, len(trail.ids), *(total or 0 for total in (0, *trail.totals)))
            listing.rows = {**listing.rows, **self._rows} if listing.reason else self._rows
            if not listing.reason or not again:
                return listing
            self._overlap = self._overlap and not trail.torn
        listing.reason = f"{listing.reason} (read {listing.readings} times)"
        return listing

    async def _pass(self, trail: Trail) -> None:
        if self._by_cursor is None:
            self._by_cursor = await self._probe_cursor()
        trail.by_cursor = self._by_cursor
        if self._by_cursor:
            await self._walk_cursor(trail)
        else:
            await self._walk_index(trail)
        if not trail.ended:
            return
        if not self._by_cursor and not self._overlap and len(trail.sizes) > 1:
            second = Trail(asked=trail.asked)
            await self._walk_index(second)
            trail.second = second.ids
        await self._close(trail)

    async def _probe_cursor(self) -> bool:
        """Whether an empty ``cursor`` is answered with a next one; a refusal means no (RFC 9865 §2)."""
        try:
            return bool((await self._get({"cursor": ""})).cursor)
        except ScimFailure as failure:
            if failure.status not in _REFUSED_PARAMETER:
                raise
            return False

    async def _walk_cursor(self, trail: Trail) -> None:
        cursor, seen = "", {""}
        while True:
            page = await self._get({"cursor": cursor})
            self._take(trail, page, 0)
            cursor = page.cursor
            if not cursor:
                trail.ended = True
                return
            if cursor in seen:
                raise ScimFailure("the same cursor came twice")
            seen.add(cursor)

    async def _walk_index(self, trail: Trail) -> None:
        """Advance by what came (proof 4). The last row is asked for once more and must come first: nothing moved."""
        last = ""
        while True:
            overlap = bool(self._overlap and last and len(trail.ids) != trail.total)
            page = await self._get_index(len(trail.ids) + 1 - overlap)
            ids = [shapes.identifier(resource) for resource in page.resources]
            if overlap:
                if not ids or ids[0] != last:
                    trail.torn.append(len(trail.totals) + 1)
                    trail.totals.append(page.total)
                    return
                if len(ids) == 1:  # the end, or a server that gives one row at a time
                    overlap, page = False, await self._get_index(len(trail.ids) + 1)
            elif len(trail.sizes) == 1 and ids and tuple(ids) == trail.first and len(ids) == trail.total:
                trail.ended = True  # a server without paging: it gave everything, and gives it again
                return
            before = len(trail.ids)
            self._take(trail, page, int(overlap))
            if not page.resources:
                trail.ended = True
                return
            if len(trail.ids) == before:
                return
            last = trail.ids[-1]

    async def _get_index(self, start: int) -> Page:
        try:
            page = await self._get({"startIndex": str(start), **self._sort})
        except ScimFailure as failure:
            if self._sort_sure or start > 1 or failure.status not in _REFUSED_PARAMETER:
                raise
            self._sort = {}
            page = await self._get({"startIndex": str(start)})
        self._sort_sure = True
        return page

    async def _close(self, trail: Trail) -> None:
        """Ask for page 1 again, and for the total alone where that is possible (proof 6)."""
        again = await (self._get({"cursor": ""}) if self._by_cursor else self._get_index(1))
        trail.again = tuple(shapes.identifier(resource) for resource in again.resources)
        trail.again_total = again.total
        if self._shape.count_zero and not self._by_cursor and again.total is not None and again.total == trail.total:
            try:
                alone = await self._get({"startIndex": "1"}, count=0)
            except ScimFailure as failure:
                if failure.status not in _REFUSED_PARAMETER:
                    raise
            else:
                trail.again_total = again.total if alone.total is None else alone.total

    def _take(self, trail: Trail, page: Page, skip: int) -> None:
        rows, new = self._rows, 0
        ids = []
        for resource in page.resources[skip:]:
            key = shapes.identifier(resource)
            ids.append(key)
            if not key:
                trail.nameless += 1
            elif key in trail.seen:
                trail.repeated.append(key)
            else:
                trail.seen.add(key)
                rows[key] = self._convert(resource)
                trail.ids.append(key)
                new += 1
        if not trail.totals:
            trail.first = tuple(ids)
        trail.totals.append(page.total)
        trail.sizes.append(len(ids) + skip)
        self._told(new)

    async def _get(self, query: Mapping[str, str], *, count: int | None = None) -> Page:
        asked = {**query, "count": str(self._shape.page_size if count is None else count), **self._filter}
        answer = await self._client.get(self._path, asked, deadline=self._patience.deadline)
        self._listing.pages += 1
        self._listing.codes.append(answer.status)
        try:
            return shapes.page(answer.body)
        except NoPage as error:
            raise ScimFailure(str(error)) from error
