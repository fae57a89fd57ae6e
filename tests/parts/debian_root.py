"""Folders with a small Debian in them, in which programs run as on a machine of their own: own processes, own names,
own network (loopback alone). ``scripts/setup --tests`` lays the first one out; only root can use one.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".venv" / "debian"
WHEELS = ROOT / ".venv" / "wheels"
_APART = ("unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child")
_SECONDS = 600
_INSIDE = """
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
{mounts}
"$python" -c "{loopback}"
exec chroot {whom} "$root" /usr/bin/env --ignore-environment {environment} /bin/sh -c {command}
"""
_LOOPBACK = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 1))"
_BOOTED = """
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
umount -l "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup" 2>/dev/null && umount "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in run tmp dev; do mount -t tmpfs tmpfs "$root/$folder"; done
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/$device"; done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
cd "$root"
mkdir -p before
pivot_root . before
umount -l /before
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
"""


@dataclass(frozen=True, slots=True)
class DebianRoot:
    """One such folder. ``mounts``: folder of this machine → where it is inside."""

    folder: Path
    mounts: Mapping[Path, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> DebianRoot:
        """A fresh one."""
        if not (KEPT / "complete").exists():
            raise FileNotFoundError(f"{KEPT} is not whole: scripts/setup --tests, as root, lays it out")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", KEPT / "root", folder], check=True)
        return cls(folder)

    def inside(self, path: str) -> Path:
        """A path of the machine inside, as this one knows it."""
        return self.folder / path.lstrip("/")

    def runs(self, command: str, *, user: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """A shell command inside, as root or as ``user`` (name or number)."""
        return subprocess.run(
            self._command(command, user, environment), capture_output=True, text=True, timeout=_SECONDS, check=False
        )

    def boots(self, script: str) -> str:
        """Start systemd as the first process, run ``script`` when it has started everything, and power off; what the
        script printed."""
        (self.folder / "script.sh").write_text(script, encoding="utf-8")
        unit = self.inside("/etc/systemd/system/script.service")
        run = "/bin/sh -c '/bin/sh /script.sh >/script.log 2>&1'"
        unit.write_text(
            f"[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart={run}\n"
            "ExecStopPost=/bin/systemctl --no-block --force poweroff\n[Install]\nWantedBy=default.target\n",
            encoding="utf-8",
        )
        assert self.runs("systemctl set-default multi-user.target && systemctl enable script").returncode == 0
        said = self.inside("/script.log")
        said.unlink(missing_ok=True)
        command = [*_APART, "--cgroup", "env", f"root={self.folder}", "sh", "-euc", _BOOTED]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert said.exists(), done.stdout + done.stderr
        return said.read_text(encoding="utf-8")

    def _command(self, command: str, user: str, environment: Mapping[str, str]) -> list[str]:
        lines = []
        for outside, within in self.mounts.items():
            self.inside(within).mkdir(parents=True, exist_ok=True)
            lines.append(f'mount --bind {shlex.quote(str(outside))} "$root{within}"')
        known = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", **environment}
        script = _INSIDE.format(
            mounts="\n".join(lines),
            loopback=_LOOPBACK,
            whom=f"--userspec={user}:" if user else "",
            environment=shlex.join(f"{name}={value}" for name, value in known.items()),
            command=shlex.quote(command),
        )
        return [*_APART, "env", f"root={self.folder}", f"python={sys.executable}", "sh", "-euc", script]


def requires_root() -> None:
    """Raises where only root could go on."""
    if os.geteuid() != 0:
        raise PermissionError("a machine inside a folder is root's to make: run the tests as root")
