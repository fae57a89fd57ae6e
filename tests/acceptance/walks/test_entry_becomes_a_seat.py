"""The first walk of docs/walkthrough.md, step by step: real command line, slapd, DNS, identity provider and daemon.

A person of a real directory is invited by a plan somebody has seen, signs in at their own identity provider, and holds
an active seat; the same organization file over the same people in an LDIF file gives the same digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rosterd.demo import company, files
from rosterd.demo.signon_acts import sign_in
from tests.parts import company as slapd_company
from tests.parts import slapd
from tests.parts.dns import NameServers, name_servers
from tests.parts.idp import running_idp
from tests.parts.installation import Answer, Installation
from tests.parts.ports import free_port

PEOPLE = company.found(300)


@dataclass(frozen=True)
class World:
    """An installation over a real directory; nothing has been done in it yet."""

    installation: Installation
    names: NameServers
    ldap: str

    def does(self, *arguments: str, code: int = 0) -> Any:
        """One command with ``--json``; returns its document."""
        answer: Answer = self.installation.rosterd(*arguments, "--json")
        assert answer.code == code, (arguments, answer.code, answer.out, answer.err)
        return answer.document

    def directory(self, table: str) -> None:
        """The same organization file with another ``[[directories]]`` table."""
        self.installation.organization.write_text(files.organization(PEOPLE, directory=table), encoding="utf-8")


@pytest.fixture
def world(tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Files, two name servers, a slapd with 300 people; on each database."""
    monkeypatch.setattr(slapd_company, "SUFFIX", company.SUFFIX)
    monkeypatch.setenv("WALK_LDAP_PASSWORD", slapd.SLAPPASSWD_FREE)
    folder = tmp_path / "installation"
    with ExitStack() as parts:
        names = parts.enter_context(name_servers(tmp_path))
        server = parts.enter_context(slapd.running(PEOPLE.to_ldif()))
        addresses = (names.servers[0].address, names.servers[1].address)
        today = datetime.now(UTC).date()
        files.write(folder, PEOPLE, today=today, port=free_port(), resolvers=addresses)
        installation = Installation(folder)
        installation.edit("rosterd.toml", "sqlite:///var", ledger_url)
        with installation.file.open(
            "a", encoding="utf-8"
        ) as handle:  # the walk's own runs only: one run at a time (A2)
            handle.write('\n[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n')
        yield World(installation, names, _ldap_table(server))


def _ldap_table(server: slapd.Slapd) -> str:
    return f"""\
[[directories]]
id = "corp"
kind = "ldap"
servers = ["{server.tls_url}"]
tls_ca = "{server.ca}"
bind_dn = "cn=root,{company.SUFFIX}"
bind_password = "env:WALK_LDAP_PASSWORD"
people_base = "{company.PEOPLE_BASE}"
groups_base = "{company.GROUPS_BASE}"
attributes = {{ mail = ["mail"], department = ["departmentNumber"] }}
disabled = {{ attribute = "employeeType", values = ["disabled"] }}
"""


def test_a_directory_entry_becomes_a_seat(world: World, tmp_path: Path) -> None:
    world.directory(world.ldap)
    world.does("import", "offerings", str(world.installation.folder / "import" / "offerings.csv"))
    world.does("import", "subscriptions", str(world.installation.folder / "import" / "subscriptions.csv"))
    refused = world.does("sync", "enable", code=3)
    assert "single sign-on" in refused["error"]["what"]  # R5
    person = PEOPLE.in_group("design")[0]
    with (
        world.installation.serving("--only", "connector") as daemon,
        running_idp(
            world.installation.folder, f"{daemon.url}/sso/acme/metadata", person=person.mail, now=datetime.now(UTC)
        ),
    ):
        _prove(world)
        seen = world.does("plan", code=3)  # 300 invites are more than the limits let through unasked
        assert seen["counts"]["Invite"] == 300
        document = world.installation.rosterd("plan", "--markdown")
        assert document.out.startswith(f"# Plan `{seen['digest'][:12]}`")
        world.directory(files.LDIF_DIRECTORY)
        assert world.does("plan", code=3)["digest"] == seen["digest"]  # P1: the same people, another source
        world.directory(world.ldap)
        done = world.does("apply", "--digest", seen["digest"])
        assert done["counts"] == seen["counts"]
        assert world.does("plan")["counts"] == {}
        assert "Welcome" in asyncio.run(sign_in(f"{daemon.url}/sso/acme/login?domain=acme.example", person.mail))
    why = world.installation.rosterd("explain", person.mail)
    assert why.code == 0
    assert "seat of CAD in Design: active" in why.out
    assert f"{person.dn} → design → mapping design → Team Design" in why.out  # P6: the whole chain
    preview = world.does("undo", done["run_id"], "--dry-run")
    assert len(preview["changes"]) > 300


def _prove(world: World) -> None:
    """Steps of an SSO admin: domain, DNS record, metadata, test sign-in, on, sync enabled."""
    challenge = world.does("sso", "add", company.DOMAIN)
    world.names.publish(challenge["record_name"], challenge["record_value"])
    assert world.does("sso", "verify", company.DOMAIN)["state"] == "verified"
    world.does("sso", "connect")
    ticket = world.does("sso", "test", company.DOMAIN)
    first = files.first_of(PEOPLE, "Design")
    assert "passed" in asyncio.run(sign_in(ticket["url"], first))
    world.does("sso", "on")
    assert world.does("sync", "enable")["state"] == "enabled"
