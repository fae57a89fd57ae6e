"""The daemon behind real nginx and Caddy, set up as ``docs/guides/behind-a-proxy.md`` prints (N11)."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.parts.installation import Daemon, Installation, free_port

GUIDE = (Path(__file__).parents[3] / "docs/guides/behind-a-proxy.md").read_text(encoding="utf-8")
_NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
ELSEWHERE = "127.0.0.2"  # who asks; the proxy's own address is trusted


def printed(language: str) -> str:
    """The guide's only block in ``language``."""
    [found] = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(found)


def nginx(folder: Path, port: int, behind: str) -> list[str]:
    """The command that runs the guide's location in a server of its own."""
    location = printed("nginx").replace("127.0.0.1:8080", behind)
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; user root; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {kept} server {{ listen 127.0.0.1:{port}; {location} }} }}",
        encoding="utf-8",
    )
    return [_NGINX, "-c", str(file), "-e", "stderr"]


def caddy(folder: Path, port: int, behind: str) -> list[str]:
    """The command that runs the guide's site on plain HTTP."""
    site = printed("caddy").replace("127.0.0.1:8080", behind)
    file = folder / "Caddyfile"
    where = f"http://:{port} {{\n    bind 127.0.0.1\n"
    file.write_text("{\n    admin off\n}\n" + site.replace("rosterd.acme.example {\n", where), encoding="utf-8")
    return ["env", f"XDG_DATA_HOME={folder}", f"XDG_CONFIG_HOME={folder}", "caddy", "run", "--config", str(file)]


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation.make(tmp_path_factory.mktemp("proxies") / "etc")
    [trusted] = re.findall(r"^trusted_proxies = .*$", printed("toml"), re.MULTILINE)
    made.edit("rosterd.toml", "[server]", f"[server]\n{trusted}")
    return made


@pytest.fixture(scope="module")
def daemon(acme: Installation) -> Iterator[Daemon]:
    with acme.serving() as running:
        yield running


Ask = Callable[..., tuple[int, bytes]]


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def ask(request: pytest.FixtureRequest, daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """One request through the proxy."""
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()

    def asking(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(ELSEWHERE, 0))
        with closing(line):
            line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = line.getresponse()
            return answer.status, answer.read()

    with running(request.param(folder, port, daemon.url.removeprefix("http://")), folder / "log"):
        end = time.monotonic() + 20
        while True:
            try:
                assert asking("GET", "/health/live")[0] == 200
                break
            except ConnectionError:
                assert time.monotonic() < end, (folder / "log").read_text(encoding="utf-8")
                time.sleep(0.05)
        yield asking


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def token(acme: Installation, *arguments: str) -> str:
    made = acme.rosterd("token", "create", "bi", *arguments, "--json")
    return f"Bearer {made.document['token']}"


def test_n11_whoever_asks_is_known_and_cannot_say_otherwise(acme: Installation, ask: Ask) -> None:
    own, others = token(acme, "--network", f"{ELSEWHERE}/32"), token(acme, "--network", "198.51.100.0/24")
    lies = ({}, {"X_Forwarded_For": "198.51.100.7"}, {"Forwarded": "for=198.51.100.7"})
    assert [ask("GET", "/v1/teams", Authorization=own, **lie)[0] for lie in lies] == [200] * 3
    assert [ask("GET", "/v1/teams", Authorization=others, **lie)[0] for lie in lies] == [401] * 3


def test_n11_long_and_packed_bodies_come_as_they_were_sent(acme: Installation, ask: Ask) -> None:
    sender = token(acme, "--role", "service", "--scope", "usage:write")
    rows = b'{"event_id": "1", "version": "%s"}\n' % (b"x" * 400) * 6_000
    for body, coding in ((rows, {}), (gzip.compress(rows), {"Content_Encoding": "gzip"})):
        status, report = ask(
            "POST", "/ingest/v1/usage-events", body,
            Authorization=sender, Content_Type="application/x-ndjson", **coding,
        )  # fmt: skip
        assert (status, json.loads(report)["rows"]) == (200, 6_000)


def test_what_is_the_operators_is_not_handed_on(ask: Ask) -> None:
    assert ask("GET", "/metrics")[0] == 404
    assert json.loads(ask("GET", "/health/ready")[1]) == {"status": "ready"}
