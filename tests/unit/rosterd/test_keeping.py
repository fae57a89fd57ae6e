"""Tasks of the daemon that end early: told, counted, not ready meanwhile, and begun again."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from ledger.errors import Busy, Unavailable
from rosterd import health, keeping
from rosterd import schedule as scheduling
from rosterd.daemon import Daemon
from rosterd.health import Metrics
from rosterd.keeping import Keeping
from rosterd.loading import load
from rosterd.schedule import Schedule
from rosterd.service import Service
from rosterd.settings import InstallationSettings, Settings
from tests.parts.installation import Installation


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_SHORTEST": 0.02, "_LONGEST": 0.1, "_PROVED": 0.05}.items():
        monkeypatch.setattr(keeping, name, seconds)


class Work:
    """Fails so many times, however it does, and then stays at work."""

    def __init__(self, times: int, failing: Exception | None) -> None:
        self.begun, self._times, self._failing = 0, times, failing

    async def __call__(self) -> None:
        self.begun += 1
        if self.begun <= self._times:
            if self._failing is not None:
                raise self._failing
            return
        await asyncio.Event().wait()


@pytest.mark.parametrize("failing", [ValueError("unforeseen"), RecursionError("deep"), OSError(24, "files"), None])
async def test_a_task_that_ends_early_is_told_and_begun_again(
    failing: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, work = Metrics(), Work(3, failing)
    kept = Keeping(metrics)
    with caplog.at_level(logging.ERROR):
        kept.keep("supervisor", work)
        await asyncio.sleep(0.01)
        assert kept.down == ("supervisor",)
        assert await unready(kept) == "supervisor: not at work, and begun again"
        await asyncio.sleep(0.4)
    assert work.begun == 4
    assert kept.down == ()
    ends = metrics.registry.get_sample_value("rosterd_task_ends_total", {"task": "supervisor"})
    assert ends == 3 == caplog.text.count("task.died")
    await kept.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "supervisor"]


async def test_one_that_is_let_end_ends(caplog: pytest.LogCaptureFixture) -> None:
    kept, work = Keeping(Metrics()), Work(1, None)
    kept.let_end()
    kept.keep("supervisor", work)
    await asyncio.sleep(0.1)
    assert (work.begun, kept.down, caplog.text) == (1, (), "")


async def test_what_is_done_once_is_told_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    kept, work = Keeping(Metrics()), Work(1, ValueError("unforeseen"))
    kept.once("reload", work)
    await asyncio.sleep(0.1)
    assert (work.begun, kept.down) == (1, ())
    assert "task.died" in caplog.text


async def unready(kept: Keeping) -> str:
    """Why ``/health/ready`` says 503."""
    settings = Settings(InstallationSettings(), {}, Path("rosterd.toml"))
    service = cast(Service, SimpleNamespace(settings=settings))
    routes = health.operators_routes(service, Metrics(), draining=lambda: False, down=lambda: kept.down)
    ready = next(route.handler for route in routes if route.path == "/health/ready")
    answer: Any = await ready(make_mocked_request("GET", "/health/ready"))  # type: ignore[arg-type,misc]
    assert answer.status == 503
    return str(json.loads(answer.body)["why"])


async def test_a_scheduler_whose_timer_is_lost_is_found_and_planned_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "_OVERDUE", timedelta(seconds=0.3))
    made = Schedule(cast(Service, type("_", (), {"clock": staticmethod(lambda: datetime.now(UTC))})()))
    fired: list[str] = []

    async def enqueue(kind: str) -> None:
        fired.append(kind)

    monkeypatch.setattr(made, "enqueue", enqueue)
    monkeypatch.setattr(
        Schedule, "_plan", lambda self: self._add("reconcile", timedelta(seconds=0.1), datetime.now(UTC))
    )
    made.start()
    watching = asyncio.create_task(made.watch())
    try:
        await asyncio.sleep(0.3)
        assert fired
        made._scheduler._stop_timer()
        fired.clear()
        await asyncio.sleep(1.0)
        assert fired, "no firing for longer than anything may be overdue"
    finally:
        await made.stop()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_settings_are_in_force_when_they_stand_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = Installation.make(tmp_path / "etc")
    async with Service.opened(load(acme.file, {})) as service:
        daemon = Daemon(service)
        before, standing = service.settings, list[bool]()
        register = service.register

        async def registered(settings: Settings | None = None) -> dict[str, tuple[str, ...]]:
            standing.append(service.settings is before)
            if len(standing) == 1:
                raise Busy("another writer")
            return await register(settings)

        monkeypatch.setattr(service, "register", registered)
        with pytest.raises(Unavailable):
            await daemon.reload()
        assert service.settings is before
        await daemon.reload()
    assert standing == [True, True]
    assert service.settings is not before
