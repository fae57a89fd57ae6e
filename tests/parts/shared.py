"""What is made once in a test run, whichever xdist worker asks first, and taken away by whoever leaves last.

The kernel keeps the locks, so that a worker that was killed is no longer counted.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Act = Callable[[Path], None]


def base_of(factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder that every worker of the run knows: the one above their own."""
    own = factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@contextmanager
def shared(base: Path, name: str, make: Act, unmake: Act | None = None) -> Iterator[Path]:
    """The run's folder ``name``, filled by ``make``. The last to leave calls ``unmake`` and removes it."""
    folder = base / name
    complete = folder / "complete"
    with users_of(folder).open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        # a lock of its own: changing the kind of one lets another worker in for an instant, perhaps the one that leaves
        with folder.with_suffix(".maker").open("w") as maker:
            fcntl.flock(maker, fcntl.LOCK_EX)
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                complete.touch()
        try:
            yield folder
        finally:
            _remove_unless_used(folder, users.fileno(), unmake)


def users_of(folder: Path) -> Path:
    """The file on which everybody who uses ``folder`` holds a shared lock."""
    return folder.with_suffix(".users")


def _remove_unless_used(folder: Path, users: int, unmake: Act | None) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if unmake is not None:
        unmake(folder)
    shutil.rmtree(folder)
