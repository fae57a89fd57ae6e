"""A real Keycloak on loopback, over https: one per test run for all its workers, one realm per test.

``scripts/setup --tests`` keeps it unpacked and built. It keeps nothing on disk (``--db=dev-mem``), and ends with the
last worker, also when that one is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keycloak import KeycloakAdmin

from tests.parts.installed import ROOT
from tests.parts.keycloak_realm import Realm
from tests.parts.ports import free_port
from tests.parts.secret import new_password
from tests.parts.shared import shared, users_of
from tests.parts.slapd import Authority

KEPT = ROOT / ".venv" / "keycloak"
ADMIN = "admin"
_START_SECONDS, _STOP_SECONDS = 200.0, 20.0
_MEMORY = "-Xmx768m"
# one worker may be killed while others go on: who ends it is whoever gets the lock that each of them shares
_UNTIL_NOBODY_USES_IT = '(flock "$0" true; kill -- -$$) & exec "$@"'
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Keycloak:
    """A running server. ``ca`` is whom to trust; ``kcadm`` is its own command line."""

    url: str
    ca: Path
    password: str
    kcadm: Path

    def admin(self) -> KeycloakAdmin:
        """Whoever may do everything in every realm."""
        return KeycloakAdmin(server_url=self.url, username=ADMIN, password=self.password, verify=str(self.ca))

    @contextmanager
    def realm(self, name: str) -> Iterator[Realm]:
        """A new realm with keys of its own; it goes with the block."""
        admin = self.admin()
        admin.create_realm({"realm": name, "enabled": True})
        admin.change_current_realm(name)
        try:
            yield Realm(self.url, name, self.ca, admin)
        finally:
            admin.delete_realm(name)


@contextmanager
def shared_keycloak(base: Path) -> Iterator[Keycloak]:
    """The run's server, below ``base``. Who comes first starts it, who leaves last stops it."""
    with shared(base, "keycloak", _start, _stop) as folder:
        known = json.loads((folder / "known.json").read_text(encoding="utf-8"))
        yield Keycloak(known["url"], folder / "tls" / "ca.pem", known["password"], folder / "server/bin/kcadm.sh")


def _start(folder: Path) -> None:
    if not (KEPT / "complete").exists():
        raise FileNotFoundError(f"{KEPT} is not whole: scripts/setup --tests installs Keycloak")
    # a home of its own, because it writes below it; what it only reads is linked, which takes no room
    shutil.copytree(KEPT / "server", folder / "server", copy_function=_link)
    authority = Authority(folder / "tls")
    password, port = new_password(), free_port()
    url = f"https://localhost:{port}"
    command = [str(folder / "server/bin/kc.sh"), "start", "--optimized", "--http-host=127.0.0.1"]
    command += [f"--https-port={port}", f"--hostname={url}", f"--https-certificate-file={authority.certificate}"]
    command += [f"--https-certificate-key-file={authority.key}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KC_", "JAVA_OPTS"))}
    environment |= {"KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN, "KC_BOOTSTRAP_ADMIN_PASSWORD": password}
    # half of its start is compiling what runs once
    environment |= {"JAVA_OPTS_KC_HEAP": _MEMORY, "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", _UNTIL_NOBODY_USES_IT, str(users_of(folder)), *command],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    _started[process.pid] = process
    (folder / "pid").write_text(str(process.pid), encoding="ascii")
    try:
        _wait(process, url, authority.ca)
    except BaseException as error:
        _stop(folder)
        said = (folder / "log").read_text(encoding="utf-8", errors="replace")[-4000:]
        raise RuntimeError(f"Keycloak does not start:\n{said}") from error
    known: dict[str, Any] = {"url": url, "password": password}
    (folder / "known.json").touch(mode=0o600)
    (folder / "known.json").write_text(json.dumps(known), encoding="utf-8")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _wait(process: subprocess.Popen[bytes], url: str, ca: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(ca))
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/realms/master", timeout=30, context=trusting):  # noqa: S310 - our own
                return
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)


def _stop(folder: Path) -> None:
    """End it with everything that it started: by its process group, as another worker may have been the first."""
    leader = int((folder / "pid").read_text(encoding="ascii"))
    with contextlib.suppress(ProcessLookupError):
        watched = os.pidfd_open(leader)
        try:
            os.killpg(leader, signal.SIGTERM)
            if not select.select([watched], [], [], _STOP_SECONDS)[0]:
                os.killpg(leader, signal.SIGKILL)
        finally:
            os.close(watched)
    if process := _started.pop(leader, None):
        process.wait(_STOP_SECONDS)
