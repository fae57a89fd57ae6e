"""``docs/guides/keycloak-as-provider.md`` as somebody follows it: its commands as they are printed, in their order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

from tests.parts.installed import ROOT
from tests.parts.keycloak import Keycloak
from tests.parts.keycloak_company import ANNA, QUIET, AtKeycloak, at_keycloak, login

GUIDE = (ROOT / "docs/guides/keycloak-as-provider.md").read_text(encoding="utf-8")
LOG_IN, CLIENT, ADD, CONNECT, ON, NEXT_KEY, ACTIVE = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def acme(keycloak: Keycloak, tmp_path: Path) -> Iterator[AtKeycloak]:
    with at_keycloak(tmp_path, keycloak, f"guide-{uuid.uuid4().hex[:8]}") as made:
        yield made


class Reader:
    """Somebody at a shell in the folder of rosterd.toml, who types what the guide prints."""

    def __init__(self, acme: AtKeycloak, keycloak: Keycloak, folder: Path) -> None:
        self._acme = acme
        self._folder = acme.installation.folder
        trusted, kept = folder / "trusted.p12", folder / "kcadm.config"
        authority = x509.load_pem_x509_certificate(keycloak.ca.read_bytes())
        trusted.write_bytes(serialize_java_truststore([PKCS12Certificate(authority, b"ca")], NoEncryption()))
        programs = folder / "bin"
        programs.mkdir()
        quoted = shlex.quote(str(keycloak.kcadm))
        _program(programs / "kcadm.sh", f'exec {quoted} "$@" --config {shlex.quote(str(kept))}')
        _program(programs / "rosterd", f'exec {shlex.quote(sys.executable)} -m rosterd.cli "$@"')
        trust = f"-Djavax.net.ssl.trustStore={trusted} -Djavax.net.ssl.trustStoreType=PKCS12"
        self._environment = {**os.environ, **acme.trusting, "PATH": f"{programs}:{os.environ['PATH']}"}
        self._environment |= {"PYTHONPATH": str(ROOT), "KC_OPTS": trust, "KC_CLI_PASSWORD": keycloak.password}

    def types(self, block: str) -> str:
        """What the commands of one block print; all of them succeed."""
        for printed, here in (
            ("https://keycloak.acme.example", self._acme.realm.server),
            ("https://rosterd.acme.example", self._acme.url),
            ("-r acme ", f"-r {self._acme.realm.name} "),
        ):
            block = block.replace(printed, here)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        return done.stdout

    def settles(self) -> None:
        """Write what the guide says into the organization's file."""
        [text] = re.findall(r"```toml\n\[sso\]\n(.*?)```", GUIDE, re.DOTALL)
        here = text.replace("https://keycloak.acme.example/realms/acme", self._acme.realm.entity_id)
        self._acme.settle(QUIET, **dict(re.findall(r'^(\w+) = "(.*)"$', here, re.MULTILINE)))

    def signs_in_at(self, printed: str) -> None:
        """Open the page of a test sign-in."""
        [page] = re.findall(r"^http\S+$", printed, re.MULTILINE)
        shown = self._acme.browser().sign_in(page, login(ANNA), self._acme.password)
        assert (shown.status, "passed" in shown.text) == (200, True), shown


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def test_the_guide_leads_to_sign_ins_and_over_a_change_of_keys(
    acme: AtKeycloak, keycloak: Keycloak, tmp_path: Path
) -> None:
    reader = Reader(acme, keycloak, tmp_path)
    reader.settles()
    with acme.serving():
        reader.types(LOG_IN)
        reader.types(CLIENT)
        acme.realm.add_person(ANNA, acme.password, name=login(ANNA))
        [record] = re.findall(r"^  (\S+)  TXT  (.+)$", reader.types(ADD), re.MULTILINE)
        acme.names.publish(*record)
        reader.signs_in_at(reader.types(CONNECT))
        reader.types(ON)
        acme.bring_everybody_in()
        assert "Welcome" in acme.sign_in().text
        standing = acme.everybody()
        reader.signs_in_at(reader.types(NEXT_KEY))
        reader.types(ACTIVE)
        assert "Welcome" in acme.sign_in().text
        [old] = [key["id"] for key in acme.realm.signing_keys() if key["name"] != "next"]
        acme.realm.remove_key(old)
        assert "Welcome" in acme.sign_in().text, "it is the new key that signs"
        assert acme.everybody() == standing
