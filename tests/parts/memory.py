"""Folders in memory, for what a test need not keep when the host dies: a database is copied there in a tenth of the
time."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

_SHARED = Path("/dev/shm")
_ROOM = 4 * 1024**3


def make_folder(prefix: str) -> Path:
    """A new folder, in memory where the host has room for it; whoever asks removes it."""
    roomy = _SHARED.is_dir() and shutil.disk_usage(_SHARED).free > _ROOM
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_SHARED if roomy else None))
