"""A company of twelve whose people sign in by a realm of a real Keycloak: the real daemon and the real command line."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ledger.store import people, seats
from rosterd.demo import company, files
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.browser import Browser, Page
from tests.parts.dns import NameServers, name_servers
from tests.parts.installation import Answer, Daemon, Installation
from tests.parts.keycloak import Keycloak
from tests.parts.keycloak_realm import Realm
from tests.parts.ports import free_port
from tests.parts.secret import new_password

PEOPLE = company.found(12)
DESIGN = PEOPLE.in_group("design")
ANNA, EVA = DESIGN[0].mail, DESIGN[1].mail
QUIET = '\n[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n'
"""Only what the test itself asks for is run."""
WATCHFUL = '\n[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "1h"\n'
"""As ``QUIET``, but a daemon looks at its evidence as soon as it has started."""

Everybody = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[tuple[Any, ...]]]


@dataclass(slots=True)
class AtKeycloak:
    """The installation, its name servers, the realm, and what people log in there with."""

    installation: Installation
    names: NameServers
    realm: Realm
    port: int
    password: str
    client: str = ""
    ids: Mapping[str, str] | None = None

    @property
    def url(self) -> str:
        """Our public address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def entity_id(self) -> str:
        """What Keycloak knows us by."""
        return f"{self.url}/sso/acme/metadata"

    @property
    def trusting(self) -> dict[str, str]:
        """The environment of a process that trusts the realm's certificate, as one of the company would."""
        return {"SSL_CERT_FILE": str(self.realm.ca)}

    def does(self, *arguments: str) -> Any:
        """The document of a command that succeeds."""
        answer = self.installation.rosterd(*arguments, "--json")
        assert answer.code == 0, (arguments, answer.code, answer.out, answer.err)
        return answer.document

    def apart(self, *arguments: str) -> Answer:
        """A command in a process of its own, which can trust another authority than this one."""
        command = [sys.executable, "-m", "rosterd.cli", *arguments]
        own = {**os.environ, "ROSTERD_CONFIG": str(self.installation.file), **self.trusting}
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=120, check=False)
        return Answer(done.returncode, done.stdout, done.stderr)

    def settle(self, schedule: str, **sso: str) -> None:
        """Write the schedule, and ``[sso]`` of the organization."""
        with self.installation.file.open("a", encoding="utf-8") as handle:
            handle.write(schedule)
        own = "\n".join(f'{name} = "{value}"' for name, value in sso.items())
        self.installation.edit(
            "organizations/acme.toml", '[sso]\nmetadata = "file:../idp-metadata.xml"', f"[sso]\n{own}"
        )

    @contextmanager
    def serving(self) -> Iterator[Daemon]:
        """The daemon."""
        with self.installation.serving("--only", "connector", under=self.trusting) as daemon:
            yield daemon

    def register(self, name_id: str) -> None:
        """Make us known to Keycloak, and people to the realm; the daemon has made our key already."""
        certificate = (self.installation.folder / "secrets" / "saml-certificate.pem").read_text(encoding="ascii")
        self.client = self.realm.add_client(self.entity_id, f"{self.url}/sso/acme/acs", certificate, name_id=name_id)
        self.ids = {mail: self.realm.add_person(mail, self.password, name=login(mail)) for mail in (ANNA, EVA)}

    def prove(self) -> None:
        """The domain."""
        challenge = self.does("sso", "add", company.DOMAIN)
        self.names.publish(challenge["record_name"], challenge["record_value"])
        assert self.does("sso", "verify", company.DOMAIN)["state"] == "verified"

    def connect(self, metadata: bytes | None = None) -> Any:
        """Hand in the realm's metadata as a file."""
        file = self.installation.folder / "idp-metadata.xml"
        file.write_bytes(metadata or self.realm.metadata())
        return self.does("sso", "connect", str(file))

    def turn_on(self) -> Any:
        """The test sign-in, by Anna, and on."""
        ticket = self.does("sso", "test", company.DOMAIN)
        page = self.browser().sign_in(ticket["url"], login(ANNA), self.password)
        assert (page.status, "passed" in page.text) == (200, True), page
        return self.does("sso", "on")

    def bring_everybody_in(self) -> None:
        """Sync enabled; everybody of the directory is a person with a seat."""
        assert self.does("sync", "enable")["state"] == "enabled"
        for name in ("offerings", "subscriptions"):
            self.does("import", name, str(self.installation.folder / "import" / f"{name}.csv"))
        self.does("apply", "--digest", self.installation.rosterd("plan", "--json").document["digest"])

    def browser(self) -> Browser:
        """A new one, without cookies."""
        return Browser(self.realm.ca)

    def sign_in(self, mail: str = ANNA) -> Page:
        """Where somebody ends who signs in with a new browser."""
        url = f"{self.url}/sso/acme/login?domain={company.DOMAIN}"
        return self.browser().sign_in(url, login(mail), self.password)

    def everybody(self) -> Everybody:
        """People, memberships and seats as the ledger has them."""

        async def look() -> Everybody:
            async with (
                Service.opened(load(self.installation.file, {})) as service,
                service.ledger.read(files.ORGANIZATION) as reader,
            ):
                identities = [tuple(row) for row in await people.open_identities(reader)]
                memberships = [tuple(row) for row in await people.open_memberships(reader)]
                return identities, memberships, [tuple(row) for row in await seats.open_seats(reader)]

        return asyncio.run(look())


def login(mail: str) -> str:
    """The name people log in with, which is not their address."""
    return mail.partition("@")[0].replace(".", "-")


@contextmanager
def at_keycloak(folder: Path, keycloak: Keycloak, name: str) -> Iterator[AtKeycloak]:
    """Everything but the daemon; nothing is proved yet."""
    port = free_port()
    with ExitStack() as parts:
        names = parts.enter_context(name_servers(folder))
        realm = parts.enter_context(keycloak.realm(name))
        resolvers = (names.servers[0].address, names.servers[1].address)
        home = folder / "installation"
        files.write(home, PEOPLE, today=datetime.now(UTC).date(), port=port, resolvers=resolvers)
        installation = Installation(home)
        its_port = urlsplit(realm.metadata_url).port
        opened = f'[outbound]\nallow = ["127.0.0.1:{its_port}", "[::1]:{its_port}"]\n\n'  # localhost is both
        installation.edit("rosterd.toml", "[server]", f"{opened}[server]")
        yield AtKeycloak(installation, names, realm, port, new_password())
