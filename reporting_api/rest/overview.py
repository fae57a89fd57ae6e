"""``/v1/teams``, ``/v1/meta``, ``/v1/freshness``, ``/v1/errors/{type}``: what can be read, and how fresh it is.

Prohibition: no row of a dataset leaves through here.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ledger.published.datasets import DATASETS
from ledger.store import publications
from reporting_api import catalog, privacy
from reporting_api.door import Read, admit, charge, note
from reporting_api.errors import KINDS, Problem
from reporting_api.parts import PARTS
from reporting_api.rest.answers import json_body


async def teams(request: web.Request) -> web.Response:
    """The Teams of the credential; ``readable`` says which the datasets answer for (R10)."""
    reader = await admit(request)
    charge(request, reader)
    value = [
        {
            "team_id": team.id,
            "name": team.name,
            "tier": team.tier,
            "readable": not privacy.barred(DATASETS["subscriptions"], team),
            "user_level": team.user_level,
            "personal_data": team.personal_data,
            "min_group_size": team.min_group_size or reader.default_k,
        }
        for team in reader.teams
    ]
    note(request, Read("teams", team_ids=tuple(team.id for team in reader.teams)))
    return _json({"value": value})


async def meta(request: web.Request) -> web.Response:
    """Datasets, their fields and parameters, metrics and their definitions, as this credential may use them."""
    reader = await admit(request)
    charge(request, reader)
    note(request, Read("meta"))
    return _json(catalog.described(reader.mode))


async def freshness(request: web.Request) -> web.Response:
    """Per dataset how far it reaches; what matters to a BI tool before it asks for a day."""
    reader = await admit(request)
    charge(request, reader)
    parts = request.app[PARTS]
    async with parts.ledger.read(reader.organization) as book:
        latest = await publications.latest(book)
        facts = await publications.freshness(book)
    now = parts.clock()
    value: list[dict[str, Any]] = []
    for name in DATASETS:
        fact = facts.get(name)
        received = fact.last_received_at if fact else None
        value.append(
            {
                "dataset": name,
                "last_processed_at": fact.last_processed_at if fact else None,
                "complete_through": fact.complete_through if fact else None,
                "final_through": fact.final_through if fact else None,
                "source_lag_s": max(0, round((now - received).total_seconds())) if received else None,
            }
        )
    snapshot = latest.id if latest else None
    note(request, Read("freshness", snapshot=snapshot or ""))
    as_of = latest.created_at if latest else None
    provisional = latest.provisional_from if latest else None
    return _json({"snapshot": snapshot, "as_of": as_of, "provisional_from": provisional, "value": value})


async def error_type(request: web.Request) -> web.Response:
    """What a problem's ``type`` leads to; needs no credential."""
    kind = KINDS.get(request.match_info["kind"])
    if kind is None:
        raise Problem("not-found", "there is no such type of problem", types=sorted(KINDS))
    return _json({"title": kind.title, "status": kind.status, "description": kind.description})


def _json(value: Any) -> web.Response:
    return web.Response(body=json_body(value), content_type="application/json", charset="utf-8")
