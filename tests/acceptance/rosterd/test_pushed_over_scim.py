"""An identity provider pushes over real HTTP to the real daemon; runs follow by themselves, and harm waits (G6)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.enabled import enable_sync
from tests.parts.installation import Daemon, Installation

TABLES = """
[[directories]]
id = "okta"
kind = "scim_inbox"

[[mappings]]
id = "design"
directory = "okta"
group = "Design"
team = "Design"
offerings = ["CAD"]
"""
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
STAFF = [f"p{number:02}" for number in range(20)]


class Provider:
    """An identity provider with a token."""

    def __init__(self, daemon: Daemon, token: str) -> None:
        self.daemon = daemon
        self.token = token
        self.ids: dict[str, str] = {}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON."""
        return ask(self.daemon, method, f"/scim/v2{path}", self.token, body, "application/scim+json")

    def hire(self, *names: str) -> None:
        for name in names:
            mail = f"{name}@acme.example"
            body = {"schemas": [USER], "userName": mail, "displayName": name, "active": True,
                    "emails": [{"value": mail, "type": "work", "primary": True}]}  # fmt: skip
            status, made = self.ask("POST", "/Users", body)
            assert status == 201, made
            self.ids[name] = made["id"]

    def group(self, name: str, *members: str) -> None:
        values = [{"value": self.ids[member]} for member in members]
        status, made = self.ask("POST", "/Groups", {"schemas": [GROUP], "displayName": name, "members": values})
        assert status == 201, made
        self.ids[name] = made["id"]

    def deactivate(self, name: str) -> None:
        operation = {"op": "Replace", "path": "active", "value": "False"}  # as Entra writes it
        path = f"/Users/{self.ids[name]}"
        assert self.ask("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})[0] in {200, 204}


def ask(
    daemon: Daemon, method: str, path: str, token: str, body: Any = None, kind: str = "application/json"
) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(daemon.url + path, data=data, method=method)  # noqa: S310 - our own daemon
    request.add_header("Content-Type", kind)
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            text = answer.read().decode()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text else None


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Twenty-five seats, sync enabled, nobody pushed yet; a run follows every push."""
    made = Installation.make(tmp_path_factory.mktemp("pushed") / "etc")
    quiet = 'reconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\nreconcile_after_push = "1s"\n'
    made.edit("rosterd.toml", "[database]", f"[schedule]\n{quiet}\n[database]")
    made.append(TABLES)
    enable_sync(made)
    for name, text in {
        "offerings": "code,name\nCAD,Cad\n",
        "subscriptions": "id,team,offering,quantity,tier,starts_on,ends_on\n"
        "s1,Design,CAD,25,business,2020-01-01,2090-01-01\n",
    }.items():
        (made.folder / f"{name}.csv").write_text(text, encoding="utf-8")
        assert made.rosterd("import", name, str(made.folder / f"{name}.csv")).code == 0
    return made


@pytest.fixture(scope="module")
def daemon(acme: Installation) -> Iterator[Daemon]:
    with acme.serving() as running:
        yield running


@pytest.fixture(scope="module")
def provider(acme: Installation, daemon: Daemon) -> Provider:
    made = acme.rosterd("token", "create", "okta", "--scope", "scim", "--directory", "okta", "--json")
    return Provider(daemon, str(made.document["token"]))


@pytest.fixture(scope="module")
def admin(acme: Installation) -> str:
    made = acme.rosterd("token", "create", "anna", "--role", "primary_admin", "--scope", "runs:approve",
                        "--scope", "people:read", "--json")  # fmt: skip
    return str(made.document["token"])


def seats(daemon: Daemon, admin: str) -> dict[str, str]:
    """Person → state of their seat."""
    _, found = ask(daemon, "GET", "/admin/v1/seats?limit=100", admin)
    return {seat["mail"].partition("@")[0]: seat["state"] for seat in found["seats"]}


def test_an_inbox_without_a_directory_gets_no_token(acme: Installation) -> None:
    refused = acme.rosterd("token", "create", "x", "--scope", "scim", "--directory", "okto")
    assert (refused.code, "name one of: okta" in refused.err) == (2, True)


def test_g6_pushed_people_get_seats_and_a_pushed_burst_takes_none_unapproved(
    acme: Installation, daemon: Daemon, provider: Provider, admin: str
) -> None:
    provider.hire(*STAFF)
    provider.group("Design", *STAFF)
    daemon.wait_for("job.done")
    digest = acme.rosterd("plan", "--json").document["digest"]  # so many invites at once wait for somebody (G1)
    assert any(acme.rosterd("apply", "--digest", digest).code == 0 for _ in range(20)), "the daemon's own run ends"
    before = seats(daemon, admin)
    assert before == dict.fromkeys(STAFF, "invited")

    for name in STAFF[:5]:
        provider.deactivate(name)
    for name in STAFF[5:12]:
        assert provider.ask("DELETE", f"/Users/{provider.ids[name]}")[0] == 204
    assert provider.ask("GET", f"/Users/{provider.ids['p05']}")[0] == 404, "the view has it at once"
    assert provider.ask("GET", f"/Users/{provider.ids['p00']}")[1]["active"] is False
    paused, held = 0, []
    while paused + sum(item["changes"] // 2 for item in held) < 12:  # a run may have seen the first of them alone
        daemon.wait_for("job.done")
        held = ask(daemon, "GET", "/admin/v1/held", admin)[1]["held"]
        paused = list(seats(daemon, admin).values()).count("paused")
        assert paused <= 5, "the day's limit, whatever was pushed"
    assert len(held) == 1

    body = {"digest": held[0]["digest"], "reason": "the office closes"}
    assert ask(daemon, "POST", "/admin/v1/approvals", admin, body)[0] == 202
    while "kind=approve" not in daemon.wait_for("job.done"):
        pass
    after = seats(daemon, admin)
    assert {name for name, state in after.items() if state == "paused"} == set(STAFF[:12])


def test_the_token_of_another_kind_pushes_nothing(
    acme: Installation, daemon: Daemon, provider: Provider, admin: str
) -> None:
    assert "scim → okta" in acme.rosterd("token", "list").out
    assert provider.ask("GET", "/Users?count=0")[0] == 200
    status, error = ask(daemon, "GET", "/scim/v2/Users", admin)
    assert status == 403
    assert error["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert error["status"] == "403"
