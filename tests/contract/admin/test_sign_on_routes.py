"""Single sign-on and the gate over ``/admin/v1``: the same steps as on the command line (R1, R5)."""

from __future__ import annotations

import io
from urllib.parse import parse_qs, urlsplit

import pytest

from connector.sso import sign_in
from connector.sso.gate import evidence
from ledger.store import sso_requests
from tests.contract.admin.conftest import Admin
from tests.parts.fences import ALONE
from tests.parts.idp import Key, metadata
from tests.parts.sso_organization import IDP, SsoOrganization

DOMAIN = "other.example"


@pytest.fixture
def real_gate(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate as it is, not the open one of the company's fixture."""
    monkeypatch.undo()


async def test_r5_the_whole_way_from_a_domain_to_enabled_sync_and_back(admin: Admin, real_gate: None) -> None:
    world, name = admin.world, admin.world.setup.organization.id
    status, refused = await admin.ask("POST", "/sync/enable")
    assert (status, "missing" in refused["detail"]) == (409, True)
    status, made = await admin.ask("POST", "/sso/domains", {"domain": "Other.Example."})
    assert (status, made["record_name"], made["domain"]) == (201, f"_rosterd-challenge.{DOMAIN}", DOMAIN)
    status, report = await admin.ask("POST", f"/sso/domains/{DOMAIN}/verify")
    assert (status, report["answer"], report["state"]) == (200, "unreadable", "pending")  # nobody answers there
    facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
    async with world.ledger.write(name, ALONE, at=world.now) as book:
        await sso_requests.claim(book, "domain", DOMAIN)
        await evidence.record(book, evidence.DOMAIN_CHECKED, DOMAIN, actor="ada", facts=facts, domains=[DOMAIN])
    key = Key.make(world.now)
    status, report = await admin.ask("POST", "/sso/connection", {"metadata": metadata(IDP, key).decode()})
    assert (status, report["version"], report["domains"]) == (200, 1, ["acme.example", DOMAIN])
    assert (await admin.ask("POST", "/sso/on"))[0] == 409
    status, ticket = await admin.ask("POST", f"/sso/domains/{DOMAIN}/test")
    assert (status, ticket["domain"]) == (201, DOMAIN)
    forger = SsoOrganization(world.ledger, admin.provider, key, name=name, domain=DOMAIN)
    asked = parse_qs(urlsplit(ticket["url"]).query)["ticket"][0]
    going = await sign_in.open_test(world.ledger, admin.provider, name, asked, now=world.now)
    await forger.finish(going, forger.forged(going, world.now).post(), world.now)
    status, report = await admin.ask("POST", "/sso/on")
    assert (status, report["version"]) == (200, 1)
    status, found = await admin.ask("POST", "/sync/enable")
    assert (status, found["state"]) == (200, "enabled")
    shown = await admin.get("/sso")
    assert [one["gate"] for one in shown["domains"] if one["domain"] == DOMAIN] == ["open"]
    assert (await admin.ask("POST", "/sso/off", {"reason": "a test"}))[1] == {"changed": True}
    assert (await admin.get("/sync"))["state"] == "suspended"
    assert (await admin.ask("DELETE", f"/sso/domains/{DOMAIN}"))[0] == 409
    assert (await admin.ask("DELETE", f"/sso/domains/{DOMAIN}?confirmed=true"))[0] == 200
    assert (await admin.ask("POST", "/sync/disable"))[1]["state"] == "off"


async def test_what_is_not_declared_or_not_given_is_a_problem(admin: Admin) -> None:
    status, problem = await admin.ask("POST", "/sso/domains", {"domain": "elsewhere.example"})
    assert (status, "reload" in problem["next_step"]) == (409, True)
    for domain in ("localhost", "a b", "-x.example", "*.acme.example"):
        assert (await admin.ask("POST", "/sso/domains", {"domain": domain}))[0] == 400
        assert (await admin.ask("POST", f"/sso/domains/{domain}/verify"))[0] == 404
    for reason in (" ", "\t\n"):
        status, problem = await admin.ask("POST", "/sso/off", {"reason": reason})
        assert (status, problem["where"]) == (400, "reason")
    both = {"metadata": "<a/>", "url": "https://idp.example/metadata"}
    status, problem = await admin.ask("POST", "/sso/connection", both)
    assert (status, problem["where"]) == (400, "url")
    assert (await admin.ask("POST", "/sso/connection", {"metadata": "x" * 100_000}))[0] == 400
    large = io.BytesIO(b'{"metadata": "' + b"x" * 3_000_000 + b'"}')
    assert (await admin.ask("POST", "/sso/connection", data=large))[0] == 413
