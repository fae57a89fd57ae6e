"""The product as its users have it: a wheel of this checkout, installed with the locked wheels into an empty venv.

One for the whole test run, whichever worker asks first. ``scripts/setup --tests`` has laid out everything it is made
of, so that nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.parts.shared import shared

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".venv" / "wheels"
_NEVER_BUILT = (".*", "__pycache__", "*.egg-info", "build", "dist", "var")
_BACKEND = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Installed:
    """A folder outside the checkout with ``dist/`` (source distribution and wheel) and ``venv/``."""

    folder: Path

    @property
    def wheel(self) -> Path:
        """The wheel that was installed."""
        return next((self.folder / "dist").glob("*.whl"))

    @property
    def sdist(self) -> Path:
        """The source distribution that the wheel was built from."""
        return next((self.folder / "dist").glob("*.tar.gz"))

    def run(self, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """A program of the venv, in a shell of somebody who never saw the checkout."""
        return _run(self.folder / "venv" / "bin" / program, *arguments, cwd=cwd)


@contextmanager
def shared_installation(base: Path) -> Iterator[Installed]:
    """Below ``base``, which every worker of the run knows. Who comes first makes it, who leaves last removes it."""
    with shared(base, "installed", _install) as folder:
        yield Installed(folder)


def _install(folder: Path) -> None:
    if not (KEPT / "complete").exists():
        raise FileNotFoundError(f"{KEPT} is not whole: scripts/setup --tests downloads the locked wheels")
    installed, python = Installed(folder), Path(sys.executable)
    build(folder)
    listed = folder / "wheel.txt"
    digest = hashlib.sha256(installed.wheel.read_bytes()).hexdigest()
    listed.write_text(f"{installed.wheel} --hash=sha256:{digest}\n", encoding="utf-8")
    # pip works from outside and compiles nothing: both would cost more than the rest
    venv = folder / "venv"
    _done(python, "-m", "venv", "--without-pip", str(venv), cwd=folder)
    pip = ("-m", "pip", "--quiet", "--python", str(venv / "bin" / "python"))
    # at once, so that what the wheel asks for and the lock lacks is found
    wanted = ("--requirement", str(ROOT / "requirements-run.lock"), "--requirement", str(listed))
    source = ("--no-index", "--find-links", str(KEPT), "--require-hashes")
    _done(python, *pip, "install", "--no-compile", *source, *wanted, cwd=folder)


def build(folder: Path) -> None:
    """As build tools do: a source distribution of the checkout, and the wheel from nothing but that."""
    checkout, unpacked, dist = folder / "checkout", folder / "unpacked", folder / "dist"
    dist.mkdir(parents=True)
    # a copy, because building leaves files behind, and takes up those that an earlier build left
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*_NEVER_BUILT))
    _done(Path(sys.executable), "-c", _BACKEND, "build_sdist", str(dist), cwd=checkout)
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        sdist.extractall(unpacked, filter="data")
    _done(Path(sys.executable), "-c", _BACKEND, "build_wheel", str(dist), cwd=next(unpacked.iterdir()))


def _done(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = _run(program, *arguments, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{program.name} {' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done


def _run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # nothing of this shell: no PYTHONPATH, no settings of pip, no ROSTERD_*
    environment = {
        "PATH": os.defpath,
        "HOME": str(cwd),
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONNOUSERSITE": "1",
    }
    return subprocess.run(
        [program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
