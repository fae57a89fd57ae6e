"""The daemon behind real nginx and Caddy, each as ``deploy/`` has it (N11)."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import re
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.usage.formats.bodies import MAX_BYTES
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.browser import Browser, Page
from tests.parts.front import DEPLOY, Front
from tests.parts.idp import running_idp
from tests.parts.installation import Daemon, Installation
from tests.parts.sso_organization import prove

PROXIES = ("nginx", "caddy")
FILES = {"nginx": "nginx.conf", "caddy": "Caddyfile"}
GUIDE = (Path(__file__).parents[3] / "docs/guides/behind-a-proxy.md").read_text(encoding="utf-8")
ANNA = "anna@acme.example"
PER_ADDRESS = 60
ELSEWHERE = "127.0.0.2"  # who asks; the proxy's own address is trusted


@dataclass(frozen=True, slots=True)
class Fronted:
    """An installation, its daemon and the proxy in front."""

    acme: Installation
    daemon: Daemon
    front: Front

    def ask(
        self, method: str, path: str, body: bytes = b"", *, come_from: str = ELSEWHERE, **headers: str
    ) -> tuple[int, bytes]:
        """One request through the proxy, from another address than the proxy's."""
        line = http.client.HTTPSConnection(
            "localhost", self.front.port, timeout=60, source_address=(come_from, 0),
            context=ssl.create_default_context(cafile=str(self.front.ca)),
        )  # fmt: skip
        with closing(line):
            line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = line.getresponse()
            return answer.status, answer.read()

    def token(self, *arguments: str) -> str:
        made = self.acme.rosterd("token", "create", "bi", *arguments, "--json")
        return f"Bearer {made.document['token']}"


@pytest.fixture(scope="module", params=PROXIES)
def fronted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    folder = tmp_path_factory.mktemp(request.param)
    acme, front = Installation.make(folder / "etc"), Front.make(folder / "front")
    [printed] = re.findall(r"```toml\n\[server\]\n(.*?)```", GUIDE, re.DOTALL)
    [trusted] = re.findall(r"^trusted_proxies = .*$", printed, re.MULTILINE)
    assert f"#   {trusted}" in (DEPLOY / FILES[request.param]).read_text(encoding="utf-8")
    acme.edit("rosterd.toml", 'public_url = "http://127.0.0.1:8080"', f'public_url = "{front.url}"\n{trusted}')
    acme.edit("rosterd.toml", "[server]", f"[server]\nanonymous_per_address = {PER_ADDRESS}")
    quiet = '[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n'
    acme.edit("rosterd.toml", "[secrets]", f"[saml]\nallow_http_on_loopback = true\n\n{quiet}\n[secrets]")
    with acme.serving() as daemon, front.running(request.param, daemon.url.removeprefix("http://")):
        yield Fronted(acme, daemon, front)


def test_n11_whoever_asks_is_known_and_cannot_say_otherwise(fronted: Fronted) -> None:
    own = fronted.token("--network", f"{ELSEWHERE}/32")
    others = fronted.token("--network", "198.51.100.0/24")
    lies = ({}, {"X_Forwarded_For": "198.51.100.7"}, {"Forwarded": "for=198.51.100.7"})
    assert [fronted.ask("GET", "/v1/teams", Authorization=own, **lie)[0] for lie in lies] == [200] * 3
    assert [fronted.ask("GET", "/v1/teams", Authorization=others, **lie)[0] for lie in lies] == [401] * 3


def test_n10_the_limit_is_that_of_the_asker_whatever_they_say_of_themselves(fronted: Fronted) -> None:
    def ask(number: int) -> int:
        lie = f"198.51.100.{number % 250}"
        return fronted.ask("GET", "/openapi.json", come_from="127.0.0.3", X_Forwarded_For=lie)[0]

    with ThreadPoolExecutor(16) as asking:
        found = list(asking.map(ask, range(2 * PER_ADDRESS)))
    assert set(found) == {200, 429}
    assert fronted.ask("GET", "/openapi.json")[0] == 200, "somebody else is not refused for it"


def test_n11_long_and_packed_bodies_come_as_they_were_sent(fronted: Fronted) -> None:
    sender = fronted.token("--role", "service", "--scope", "usage:write")
    rows = b'{"event_id": "1", "version": "%s"}\n' % (b"x" * 400) * 6_000
    for body, coding in ((rows, {}), (gzip.compress(rows), {"Content_Encoding": "gzip"})):
        status, report = fronted.ask(
            "POST", "/ingest/v1/usage-events", body,
            Authorization=sender, Content_Type="application/x-ndjson", **coding,
        )  # fmt: skip
        assert (status, json.loads(report)["rows"]) == (200, 6_000)


def test_a_body_that_is_too_long_is_refused_in_the_words_of_the_product(fronted: Fronted) -> None:
    sender = fronted.token("--role", "service", "--scope", "usage:write")
    status, report = fronted.ask(
        "POST", "/ingest/v1/usage-events", b"x" * (MAX_BYTES + 1),
        Authorization=sender, Content_Type="application/x-ndjson",
    )  # fmt: skip
    assert (status, json.loads(report)["title"]) == (413, "Batch too large")


def test_what_is_the_operators_is_not_handed_on(fronted: Fronted) -> None:
    for path in ("/metrics", "/admin", "/nothing"):
        assert fronted.ask("GET", path)[0] == 404
    assert json.loads(fronted.ask("GET", "/health/ready")[1]) == {"status": "ready"}


def test_whoever_follows_the_foot_of_a_mail_is_told_what_this_is(fronted: Fronted) -> None:
    status, page = fronted.ask("GET", "/")
    assert (status, b"follow the link in it" in page, b"Acme" in page) == (200, True, False)
    assert fronted.ask("HEAD", "/") == (200, b"")


def test_http_leads_to_https(fronted: Fronted) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", fronted.front.plain_port, timeout=30)) as line:
        line.request("GET", "/v1/teams", headers={"Host": "localhost"})
        answer = line.getresponse()
    assert answer.status in {301, 308}
    assert answer.headers["Location"].startswith("https://localhost")
    assert answer.headers["Location"].endswith("/v1/teams")


def test_sign_in_and_invite_over_the_public_address(fronted: Fronted, tmp_path: Path) -> None:
    acme = fronted.acme

    def does(*arguments: str) -> dict[str, object]:
        answer = acme.rosterd(*arguments, "--json")
        assert answer.code == 0, (arguments, answer.out, answer.err)
        return dict(answer.document)

    async def prove_domain() -> None:
        async with Service.opened(load(acme.file, {})) as service:
            await prove(service.ledger, "acme", "acme.example", datetime.now(UTC))

    async def link(identity: str) -> str:
        async with Service.opened(load(acme.file, {})) as service:
            return service.invite_link("acme", identity)

    asyncio.run(prove_domain())
    ours, theirs = tmp_path / "ours.xml", tmp_path / "idp.xml"
    does("sso", "metadata", "--out", str(ours))
    assert f"{fronted.front.url}/sso/acme/acs" in ours.read_text(encoding="utf-8")
    with running_idp(tmp_path / "idp", str(ours), person=ANNA, now=datetime.now(UTC)) as idp:
        theirs.write_bytes(idp.metadata)
        does("sso", "connect", str(theirs))
        tested = sign_in(fronted, str(does("sso", "test", "acme.example")["url"]))
        assert (tested.status, "passed" in tested.text) == (200, True), tested
        does("sso", "on")
        invited = str(does("invite", "add", ANNA, "--team", "Design")["id"])
        page = Browser(fronted.front.ca).open(asyncio.run(link(invited)))
        assert page.url.startswith(fronted.front.url)
        welcome = sign_in(fronted, f"{fronted.front.url}/sso/acme/login?domain=acme.example")
    assert (welcome.status, f"Welcome, {ANNA}" in welcome.text) == (200, True), welcome


def sign_in(fronted: Fronted, url: str) -> Page:
    """Where Anna ends, whom the provider knows already."""
    return Browser(fronted.front.ca).sign_in(url, "anna", "")
