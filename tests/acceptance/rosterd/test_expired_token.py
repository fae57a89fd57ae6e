"""An expired token is refused over HTTP with a clear problem body, on the reporting API and on ingest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from access import tokens
from access.principal import Scope
from ledger.team import Role
from rosterd import faces
from rosterd.demo.story import Faces
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.installation import Installation


class Clock:
    """Moved by the test."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def service(tmp_path: Path, clock: Clock) -> AsyncIterator[Service]:
    installation = Installation.make(tmp_path)
    async with Service.opened(load(installation.file), clock=clock) as opened:
        await opened.register()
        yield opened


@pytest.mark.parametrize(
    ("scope", "role", "method", "path"),
    [
        (Scope.REPORTS_PSEUDONYM, Role.REPORT_READER, "GET", "/v1/teams"),
        (Scope.USAGE_WRITE, Role.SERVICE, "POST", "/ingest/v1/usage-events"),
    ],
)
async def test_an_expired_token_is_told_so_and_nothing_is_done(
    service: Service, clock: Clock, scope: Scope, role: Role, method: str, path: str
) -> None:
    spec = tokens.TokenSpec("short", clock() + timedelta(days=1), roles=(role,), scopes=(scope,))
    who = service.operator("acme")
    made = await tokens.create(service.ledger, "acme", spec, pepper=service.pepper(), actor=who, now=clock())
    headers = {"Authorization": f"Bearer {made.text}", "Content-Type": "application/x-ndjson"}
    async with TestClient(TestServer(await faces.make(Faces(service), connector=True, api=True))) as client:
        async with client.request(method, path, headers=headers, data=b"" if method == "POST" else None) as answer:
            assert answer.status != 401
        clock.now += timedelta(days=2)
        async with client.request(method, path, headers=headers, data=b"" if method == "POST" else None) as answer:
            problem = await answer.json(content_type=None)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"
            assert problem["status"] == 401
