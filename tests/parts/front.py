"""nginx and Caddy as they stand in ``deploy/``, in front of a daemon on loopback: only names, ports and the certificate
are put in, as the files ask for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.parts.https import Authority
from tests.parts.ports import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = "rosterd.acme.example"
_NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Front:
    """A proxy: its ports for https and http, and the authority of its certificate."""

    port: int
    plain_port: int
    folder: Path
    ca: Path

    @classmethod
    def make(cls, folder: Path) -> Front:
        """Free ports, and a certificate for localhost."""
        folder.mkdir()
        authority = Authority(folder)
        authority.issue("localhost")
        next(folder.glob("server-*.pem")).rename(folder / "own.pem")
        return cls(free_port(), free_port(), folder, authority.file)

    @property
    def url(self) -> str:
        """``[server] public_url``."""
        return f"https://localhost:{self.port}"

    @contextmanager
    def running(self, kind: str, behind: str) -> Iterator[None]:
        """``kind``: nginx or caddy; ``behind``: HOST:PORT of the daemon."""
        command = self._nginx(behind) if kind == "nginx" else self._caddy(behind)
        log = self.folder / "log"
        with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
            try:
                end = time.monotonic() + _SECONDS
                while not self._answers():
                    assert process.poll() is None, log.read_text(encoding="utf-8")
                    assert time.monotonic() < end, log.read_text(encoding="utf-8")
                    time.sleep(0.05)
                yield
            finally:
                process.terminate()
                process.wait(_SECONDS)

    def _answers(self) -> bool:
        asking = HTTPConnection("127.0.0.1", self.plain_port, timeout=_SECONDS)
        try:
            asking.request("GET", "/")
            return asking.getresponse().status > 0
        except (OSError, HTTPException):
            return False
        finally:
            asking.close()

    def _nginx(self, behind: str) -> list[str]:
        site = changed(
            "nginx.conf",
            {
                NAME: "localhost",
                "127.0.0.1:8080": behind,
                "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
                "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
                "/etc/ssl/rosterd/fullchain.pem": str(self.folder / "own.pem"),
                "/etc/ssl/rosterd/privkey.pem": str(self.folder / "own.pem"),
            },
        )
        kept = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        file = self.folder / "nginx.conf"
        file.write_text(
            f"daemon off; {user} pid {self.folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {kept}\n{site} }}",
            encoding="utf-8",
        )
        return [_NGINX, "-c", str(file), "-e", "stderr"]

    def _caddy(self, behind: str) -> list[str]:
        own = self.folder / "own.pem"
        site = changed(
            "Caddyfile",
            {
                f"\n{NAME} {{\n": "\nlocalhost {\n\tbind 127.0.0.1\n",
                "127.0.0.1:8080": behind,
                "#tls /etc/ssl/rosterd/fullchain.pem /etc/ssl/rosterd/privkey.pem": f"tls {own} {own}",
            },
        )
        file = self.folder / "Caddyfile"
        ports = f"http_port {self.plain_port}\n\thttps_port {self.port}"
        file.write_text(f"{{\n\tadmin off\n\t{ports}\n}}\n{site}", encoding="utf-8")
        own_folders = [f"XDG_{kind}_HOME={self.folder}" for kind in ("DATA", "CONFIG")]
        return ["env", *own_folders, "caddy", "run", "--adapter", "caddyfile", "--config", str(file)]


def changed(name: str, changes: dict[str, str]) -> str:
    """A file of ``deploy/`` with what an operator changes in it."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    for before, after in changes.items():
        assert before in text, (name, before)
        text = text.replace(before, after)
    return text
