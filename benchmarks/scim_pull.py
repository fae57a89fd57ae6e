"""How fast and how small reading a SCIM provider is, beside its floor.

Starts a SCIM server with people and three groups on loopback in a process of its own (pages are rendered once and then
served from memory, so that the client is what is measured), then times in fresh processes: a bare loop of aiohttp and
json over the same pages (the floor: it proves and keeps nothing), and our reading with proofs, groups and fingerprints.

    python -m benchmarks.scim_pull --people 10000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.parts import scim_server

PAGE = 100
GROUPS = ("first", "second", "nobody")


def main() -> None:
    """Run the benchmark, or one part of it in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--floor", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--read", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.small:
        arguments.people, arguments.rounds = 1_000, 1
    os.environ["SCIM_TOKEN"] = scim_server.TOKEN
    if arguments.serve:
        asyncio.run(_serve(arguments.people))
    elif arguments.floor:
        print(json.dumps(asyncio.run(_floor(arguments.floor))))
    elif arguments.read:
        print(json.dumps(asyncio.run(_read(arguments.read))))
    else:
        with _server(arguments.people) as url:
            _compare(url, arguments.people, arguments.rounds)


def _compare(url: str, people: int, rounds: int) -> None:
    for part in ("--floor", "--read"):
        _fresh(part, url)  # renders every page once
    floor = [_fresh("--floor", url) for _ in range(rounds)]
    ours = [_fresh("--read", url) for _ in range(rounds)]
    assert all(result["people"] == people for result in [*floor, *ours]), "a reading was not whole"
    assert all(result["unknown"] == 0 for result in ours), "a scope is unknown"
    base = statistics.median(result["seconds"] for result in floor)
    print(f"{people} users in pages of {PAGE}, {len(GROUPS)} groups with {people} members; median of {rounds}")
    print(f"{'what':<44}{'seconds':>9}{'x floor':>9}{'pages/s':>9}{'users/s':>9}{'CPU s':>8}{'peak MB':>9}")
    for name, results in (
        ("aiohttp + json, users only (floor)", floor),
        ("rosterd, users, groups, fingerprints", ours),
    ):
        seconds, cpu = (statistics.median(result[key] for result in results) for key in ("seconds", "cpu"))
        pages, peak = results[0]["pages"], max(result["peak"] for result in results)
        rates = f"{pages / seconds:>9.0f}{people / seconds:>9.0f}"
        print(f"{name:<44}{seconds:>9.2f}{seconds / base:>9.2f}{rates}{cpu:>8.2f}{peak:>9.0f}")


def _fresh(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scim_pull", *arguments]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


async def _floor(url: str) -> dict[str, float]:
    headers = {"Authorization": f"Bearer {scim_server.TOKEN}"}
    found: list[str] = []
    pages = 0
    started, cpu = time.perf_counter(), time.process_time()
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            query = {"startIndex": str(len(found) + 1), "count": str(PAGE), "sortBy": "id"}
            async with session.get(f"{url}/Users", params=query) as answer:
                rows = json.loads(await answer.read())["Resources"]
            pages += 1
            if not rows:
                break
            found += [row["id"] for row in rows]
    return _result(started, cpu, len(found), pages, 0)


async def _read(url: str) -> dict[str, float]:
    from connector.directory.base import ReadRequest
    from connector.directory.mapping import AttributeRules, fingerprint
    from connector.directory.scim.settings import ScimSettings
    from connector.directory.sources import open_source

    settings = ScimSettings.model_validate(
        {"id": "bench", "url": url, "plaintext": True, "token": "env:SCIM_TOKEN", "page_size": PAGE}
    )
    rules = AttributeRules.from_settings(settings)
    source = open_source(settings, folder=Path())
    started, cpu = time.perf_counter(), time.process_time()
    reading = await source.read(ReadRequest(GROUPS, rules.requested), now=datetime(2026, 1, 1, tzinfo=UTC))
    prints = {anchor: fingerprint(entry, rules) for anchor, entry in reading.people.items()}
    assert len(prints) == len(reading.people)
    unknown = sum(not scope.complete for scope in reading.scopes.values())
    return _result(started, cpu, len(reading.people), reading.scopes["people:Users"].pages, unknown)


def _result(started: float, cpu: float, people: int, pages: int, unknown: int) -> dict[str, float]:
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "people": people,
        "pages": pages,
        "unknown": unknown,
    }


@contextlib.contextmanager
def _server(people: int) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.scim_pull", "--serve", "--people", str(people)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _serve(people: int) -> None:
    server = scim_server.of_size(people)
    rendered: dict[str, bytes] = {}

    @web.middleware
    async def remembered(request: web.Request, handler: object) -> web.StreamResponse:
        known = rendered.get(request.path_qs)
        if known is None:
            answer = await handler(request)  # type: ignore[operator]
            known = rendered[request.path_qs] = answer.body
        return web.Response(body=known, content_type="application/scim+json")

    application = server.application()
    application.middlewares.append(remembered)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/scim/v2", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
