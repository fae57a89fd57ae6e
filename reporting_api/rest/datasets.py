"""``GET /v1/datasets/{name}``: one page of rows of one publication, as JSON or CSV.

THE FILE TO READ FIRST of this face: credential → capability → query → page → answer. Prohibition: decides no right.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from aiohttp import web

from access import entity_tags
from ledger.errors import NotFound
from ledger.publication import Freshness, Publication
from ledger.published.datasets import DATASETS, Dataset
from ledger.store import publications
from reporting_api import catalog
from reporting_api.auth import Readable, Reader
from reporting_api.door import Read, admit, charge, note, refund
from reporting_api.errors import Problem
from reporting_api.parts import PARTS, Parts
from reporting_api.query import cursor as cursors
from reporting_api.query.engine import Page
from reporting_api.query.model import Query, canonical, teams_fingerprint
from reporting_api.rest import answers, parameters
from reporting_api.rest.parameters import Asked

_SOON = "900"
_LOOK_SECONDS = 0.1
_LARGE = 500  # rows; beyond that a body is written in a thread
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything a body is made of."""

    asked: Asked
    reader: Reader
    readable: Readable
    query: Query
    publication: Publication
    fresh: Freshness | None


async def rows(request: web.Request) -> web.Response:
    """One page of a dataset; see the OpenAPI document for parameters and errors."""
    parts = request.app[PARTS]
    reader = await admit(request)
    dataset = _dataset(request.match_info["name"])
    limits = parts.settings
    asked = parameters.parse(
        list(request.query.items()),
        dataset,
        accept=request.headers.get("Accept", ""),
        page_rows=limits.page_rows,
        max_page_rows=limits.max_page_rows,
    )
    if not asked.cursor:
        charge(request, reader)
    answer = await _prepared(parts, reader, dataset, asked)
    read = Read(
        dataset.name,
        answer.query.select,
        answer.query.scope.team_ids,
        canonical(answer.query),
        answer.publication.id,
    )
    note(request, read)
    tag = _etag(answer)
    if entity_tags.names(request.headers.get("If-None-Match", ""), tag):
        refund(request)
        return web.Response(status=304, headers={"ETag": tag})
    page, count = await _watched(request, _fetched(parts, answer))
    if not page.rows:
        _refuse_the_future(answer)
    note(request, replace(read, rows=len(page.rows)))
    following = _next(request, parts, answer, page)
    response = await _body(parts, answer, page, count, following)
    response.headers["ETag"] = tag
    return response


def _dataset(name: str) -> Dataset:
    dataset = DATASETS.get(name)
    if dataset is None:
        step = parameters.suggestion(name, DATASETS)
        raise Problem("not-found", f"there is no dataset {name[:60]!r}", next_step=step)
    return dataset


async def _prepared(parts: Parts, reader: Reader, dataset: Dataset, asked: Asked) -> Answer:
    """The question, bound to a capability and pinned to a publication."""
    readable = reader.open(dataset, asked.team_ids)
    now = parts.clock()
    position = parts.cursors.read(asked.cursor, now) if asked.cursor else None
    if position and asked.snapshot and asked.snapshot != position.snapshot:
        raise Problem("invalid-query", "the cursor is pinned to another snapshot", at="snapshot")
    wanted = position.snapshot if position else asked.snapshot
    publication, fresh = await _publication(parts, reader, dataset, asked, wanted)
    query = readable.query(
        publication.id, asked.select, asked.order, asked.limit, where=asked.where, since=asked.since, until=asked.until
    )
    if position is not None:
        cursors.check(position, query)
        query = replace(query, after=cursors.values_of(position, query.order, dataset))
    return Answer(asked, reader, readable, query, publication, fresh)


async def _publication(
    parts: Parts, reader: Reader, dataset: Dataset, asked: Asked, wanted: str
) -> tuple[Publication, Freshness | None]:
    async with parts.ledger.read(reader.organization) as book:
        fresh = (await publications.freshness(book)).get(dataset.name)
        if not wanted:
            latest = await publications.latest(book)
            if latest is None or dataset.name not in latest.tables:
                raise Problem(
                    "report-not-yet-available",
                    f"{dataset.name} has not been published yet",
                    headers={"Retry-After": _SOON},
                    dataset=dataset.name,
                    complete_through=None,
                    retry_after_s=int(_SOON),
                )
            return latest, fresh
        try:
            return await publications.get(book, wanted), fresh
        except NotFound as error:
            raise _gone(asked) from error


async def _fetched(parts: Parts, answer: Answer) -> tuple[Page, int | None]:
    try:
        page = await parts.engine.page(answer.query, answer.publication)
        if not answer.asked.exact_count:
            return page, None
        return page, await parts.engine.count(replace(answer.query, after=None), answer.publication)
    except NotFound as error:
        if answer.asked.cursor or answer.asked.snapshot:
            raise _gone(answer.asked) from error
        raise


def _gone(asked: Asked) -> Problem:
    if asked.cursor:
        return cursors.expired("the publication this cursor is pinned to has expired")
    return Problem("report-expired", "this snapshot has expired, or never was", next_step="ask without a snapshot")


async def _watched(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``; when the asker hangs up first, it is cancelled, and with it the query."""
    task = asyncio.create_task(work, name=f"query {request.path}")
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            transport = request.transport
            if not task.done() and (transport is None or transport.is_closing()):
                raise ConnectionResetError("the asker has gone")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _refuse_the_future(answer: Answer) -> None:
    """Days that were not processed yet are an error, never an empty answer that looks like no use."""
    since, fresh = answer.query.since, answer.fresh
    if since is None or answer.query.after is not None:
        return
    through = fresh.complete_through if fresh else None
    if through is None or since > through:
        raise Problem(
            "report-not-yet-available",
            f"{answer.query.dataset} is complete through {through or 'no day yet'}",
            headers={"Retry-After": _SOON},
            dataset=answer.query.dataset,
            requested=since.isoformat(),
            complete_through=through.isoformat() if through else None,
            retry_after_s=int(_SOON),
        )


def _next(request: web.Request, parts: Parts, answer: Answer, page: Page) -> str | None:
    """The absolute link to the following page, through the configured public URL (proxies)."""
    if not page.more:
        return None
    now = parts.clock()
    text = parts.cursors.write(answer.query, page.rows[-1], page.columns, now)
    parts.pins.hold(answer.reader.organization, answer.publication.id, now + parts.cursors.life)
    pairs = [(name, value) for name, value in request.query.items() if name != "cursor"]
    url = request.rel_url.with_query([*pairs, ("cursor", text)])
    return f"{parts.public_url}{url}"


async def _body(parts: Parts, answer: Answer, page: Page, count: int | None, following: str | None) -> web.Response:
    dataset, select = answer.readable.dataset, answer.query.select
    headers = {"Rosterd-Snapshot": answer.publication.id}
    if following:
        headers["Link"] = f'<{following}>; rel="next"'
    if count is not None:
        headers["Rosterd-Count"] = str(count)
    if answer.asked.media_type == "text/csv":
        headers["Content-Disposition"] = f'attachment; filename="{dataset.name}.csv"'
        body = await _rendered(parts, page, lambda: answers.csv_body(dataset, select, page.rows))
    else:
        meta = _meta(answer, count)
        body = await _rendered(
            parts,
            page,
            lambda: answers.json_body(
                {
                    "columns": select,
                    "value": answers.json_rows(dataset, select, page.rows, objects=answer.asked.objects),
                    "next": following,
                    "meta": meta,
                }
            ),
        )
    return web.Response(body=body, content_type=answer.asked.media_type, charset="utf-8", headers=headers)


async def _rendered(parts: Parts, page: Page, write: Any) -> bytes:
    """A large body is written in a thread: the loop is never held for long."""
    if len(page.rows) <= _LARGE:
        return bytes(write())
    return bytes(await asyncio.get_running_loop().run_in_executor(parts.render, write))


def _meta(answer: Answer, count: int | None) -> dict[str, Any]:
    query, fresh, publication = answer.query, answer.fresh, answer.publication
    defined: Mapping[str, str] = {
        name: version for name, version in catalog.DEFINITIONS.items() if name in query.select
    }
    return {
        "as_of": publication.created_at,
        "snapshot": publication.id,
        "complete_through": fresh.complete_through if fresh else None,
        "final_through": fresh.final_through if fresh else None,
        "provisional_from": publication.provisional_from if query.shape.day_column else None,
        "privacy": query.scope.privacy,
        "k": answer.reader.k(query.scope.team_ids),
        "suppressed_cells": 0,
        "truncated": False,
        "definitions": defined,
        "teams": list(query.scope.team_ids),
        "excluded_teams": dict(answer.readable.excluded),
        "withheld_columns": dict(answer.readable.withheld),
        **({} if count is None else {"count": count}),
    }


def _etag(answer: Answer) -> str:
    """Weak, because the body may be compressed: publication, privacy mode, canonical query, position and form."""
    asked, query = answer.asked, answer.query
    form = (asked.media_type, asked.objects, asked.exact_count, query.limit, asked.cursor)
    rights = (answer.readable.excluded, answer.readable.withheld, answer.reader.k(query.scope.team_ids))
    facts = (
        query.snapshot,
        query.scope.privacy,
        canonical(query),
        teams_fingerprint(query),
        form,
        rights,
        answer.fresh,
    )
    return f'W/"{hashlib.sha256(repr(facts).encode("utf-8")).hexdigest()[:32]}"'
