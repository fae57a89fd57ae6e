"""Act eight: ninety days of usage become days, a publication, and an answer by Team over HTTP."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from access import tokens
from access.principal import Scope
from connector.usage import files as usage_files
from connector.usage.publish import publish
from ledger.errors import Unavailable
from ledger.jobs import Unleased
from ledger.publication import Publication
from ledger.store import consent, people, reporting, seats
from ledger.usage import BasisKind, LegalBasis
from rosterd.demo.files import ORGANIZATION
from rosterd.demo.stage import Stage

DAYS = 90
_CHUNK = 30
_VERSIONS = ("2025.2", "2026.0", "2026.1")
_ENCODE = msgspec.json.Encoder().encode


async def report(stage: Stage) -> None:
    """Record the legal basis, take usage in month by month, publish, ask by Team."""
    tell = stage.teller
    tell.say("Nothing is collected before an admin has recorded the legal basis (R13c) and switched reports on (R11).")
    tell.say("Both done, the clock runs for ninety days.")
    first = stage.clock().date()
    await _legal_basis(stage, first)
    accepted = 0
    publication: Publication | None = None
    with tell.progress("days of usage taken in", DAYS) as step:
        for start in range(0, DAYS, _CHUNK):
            stage.clock.advance(timedelta(days=_CHUNK))
            await stage.keep_evidence()
            accepted += await _take_in(stage, first + timedelta(days=start))
            publication = await _publish(stage)
            step(_CHUNK)
    rows = publication.tables["usage_daily"].rows if publication else 0
    tell.fact(f"{accepted} usage events taken in, {rows} usage days published", ok=accepted > 0 and rows > 0)
    token = await _token(stage)
    stage.notes["token"], stage.notes["from"] = token, first.isoformat()
    await _ask(stage, token, first)


async def _legal_basis(stage: Stage, day: date) -> None:
    basis = LegalBasis(
        kind=BasisKind.WORKS_AGREEMENT,
        purposes=("usage report", "renewal estimate"),
        person_categories=("employees",),
        transfers=(),
        effective_on=day,
        evidence="works agreement 2026/7, § 3",
    )
    async with stage.service.ledger.write(ORGANIZATION, Unleased.INTAKE, at=stage.clock()) as book:
        await consent.record_basis(book, basis, actor="operator:demo")
        for row in await people.open_teams(book):
            await reporting.switch(book, row[0], user_level=True, actor="operator:demo")


async def _take_in(stage: Stage, first: date) -> int:
    """`rosterd import usage FILE` for one month."""
    holders = await _holders(stage)
    path = stage.folder / "import" / f"usage-{first.isoformat()}.ndjson"
    _write(path, holders, first)
    settings = stage.service.settings.customer(ORGANIZATION).settings.reporting
    taken = await usage_files.import_file(
        stage.service.ledger, ORGANIZATION, path, now=stage.clock(), settings=settings
    )
    return taken.accepted


def _write(path: Path, holders: list[tuple[str, str]], first: date) -> None:
    with path.open("wb") as out:
        for offset in range(_CHUNK):
            for event in _events(holders, first + timedelta(days=offset)):
                out.write(_ENCODE(event) + b"\n")


async def _holders(stage: Stage) -> list[tuple[str, str]]:
    async with stage.service.ledger.read(ORGANIZATION) as reader:
        mails = {row[1]: row[2] for row in await people.open_identities(reader)}
        held = await seats.open_seats(reader)
    return sorted((mails[row[5]], row[4]) for row in held if row[6] in {"invited", "active"})


async def _publish(stage: Stage) -> Publication:
    """`rosterd publish`."""
    settings = stage.service.settings.customer(ORGANIZATION).settings.reporting
    return await publish(
        stage.service.ledger,
        stage.service.warehouse(),
        ORGANIZATION,
        now=stage.clock(),
        secret=stage.service.pseudonym_key(),
        settings=settings,
    )


async def _token(stage: Stage) -> str:
    """`rosterd token create`."""
    spec = tokens.TokenSpec(
        name="demo BI tool",
        expires_at=stage.clock() + timedelta(days=30),
        scopes=(Scope.REPORTS_PSEUDONYM, Scope.SEATS_READ),
    )
    made = await tokens.create(
        stage.service.ledger,
        ORGANIZATION,
        spec,
        pepper=stage.service.pepper(),
        actor=stage.service.operator(ORGANIZATION),
        now=stage.clock(),
    )
    return made.text


async def _ask(stage: Stage, token: str, first: date) -> None:
    """What a BI tool does: list Teams, page through a dataset, and be told what is not for it."""
    tell = stage.teller
    base = f"http://127.0.0.1:{stage.port}/v1"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        listed = (await _get(session, f"{base}/teams"))["value"]
        teams = {item["team_id"]: item["name"] for item in listed if item["tier"] == "business"}
        rows: list[tuple[str, str, int]] = []
        snapshot = ""
        for team_id, name in sorted(teams.items(), key=lambda item: item[1]):
            days, users, snapshot = await _team(session, base, team_id, first)
            rows.append((name, str(users), days))
        tell.grid(("Team", "people with usage", "usage days"), rows)
        tell.fact(f"every number from publication {snapshot}; people appear as user keys")
        visual = await _team_id(stage, "Visual")
        async with session.get(f"{base}/datasets/usage_daily", params={"team_id": visual}) as answer:
            problem = await answer.json(content_type=None)
        title = problem.get("detail") or problem.get("title")
        tell.fact(f"Team Visual has no Business tier: {answer.status} {title}", ok=answer.status == 403)


async def _team(session: aiohttp.ClientSession, base: str, team_id: str, first: date) -> tuple[int, int, str]:
    """(usage days, people, snapshot) of one Team, page by page."""
    url: str | None = f"{base}/datasets/usage_daily"
    params: dict[str, str] | None = {
        "team_id": team_id,
        "from": first.isoformat(),
        "to": (first + timedelta(days=DAYS)).isoformat(),
        "select": "usage_date,user_key",
        "limit": "10000",
    }
    keys: Counter[str] = Counter()
    snapshot = ""
    while url:
        page = await _get(session, url, params)
        position = page["columns"].index("user_key")
        keys.update(row[position] for row in page["value"])
        snapshot = page["meta"]["snapshot"]
        url, params = page["next"], None
    return sum(keys.values()), len(keys), snapshot


async def _get(session: aiohttp.ClientSession, url: str, params: dict[str, str] | None = None) -> dict[str, Any]:
    async with session.get(url, params=params) as answer:
        if answer.status != 200:
            raise Unavailable(f"{answer.status}: {await answer.text()}", where=str(answer.url))
        found: dict[str, Any] = await answer.json()
        return found


async def _team_id(stage: Stage, name: str) -> str:
    async with stage.service.ledger.read(ORGANIZATION) as reader:
        return next(str(row[0]) for row in await people.open_teams(reader) if row[1] == name)


def _events(holders: Sequence[tuple[str, str]], day: date, *, seed: int = 2026) -> Iterator[dict[str, Any]]:
    """Events of one day; ``holders``: (mail address, offering code) of every seat."""
    if day.weekday() >= 5:
        return
    chance = random.Random(f"{seed}:{day.isoformat()}")
    for mail, offering in holders:
        if chance.random() < 0.35:
            continue
        at = datetime.combine(day, time(7, 0), UTC) + timedelta(seconds=chance.randrange(9 * 3600))
        yield {
            "event_id": f"{offering}-{day.isoformat()}-{mail}",
            "occurred_at": at.isoformat(),
            "mail": mail,
            "offering_code": offering,
            "version": _VERSIONS[chance.randrange(len(_VERSIONS))],
        }
