"""Files and folders that only their owner reads: made so whatever the folder and the umask, and looked at afterwards.

The ledger, its keys and the warehouse hold personal data or let somebody make tokens.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

_OTHERS = stat.S_IRWXO | stat.S_IWGRP
_ENTER = stat.S_IXOTH | stat.S_IXGRP


def private_folder(folder: Path) -> None:
    """Make the folder (mode 0700) where there is none; one that is there keeps its mode."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        folder.chmod(0o700)
    except FileExistsError:
        pass


def private_file(file: Path, content: bytes = b"") -> bool:
    """Make the file (mode 0600) where there is none; False where there is one, which stays as it is."""
    private_folder(file.parent)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as handle:
        os.fchmod(descriptor, 0o600)
        handle.write(content)
    return True


def open_to_others(path: Path) -> bool:
    """Whether somebody else may read it, or a group write it; False for what is not there, or stands in a folder that
    nobody else may enter."""
    try:
        return bool(path.stat().st_mode & _OTHERS) and bool(path.parent.stat().st_mode & _ENTER)
    except OSError:
        return False


def not_ours_alone(path: Path) -> tuple[str, str] | None:
    """Why a key is not its owner's alone, and the command that makes it so; None where nothing speaks against it, and
    for what is not there.

    The owner is who runs this; when that is root, it may also be who owns the key's folder: root sets up for others.
    """
    try:
        status, folder = path.stat(), path.parent.stat()
    except OSError:
        return None
    ours = os.geteuid()
    owner = folder.st_uid if ours == 0 else ours
    if status.st_uid not in {ours, owner}:
        return f"{path} belongs to another user (uid {status.st_uid})", f"chown {owner} {shlex.quote(str(path))}"
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"{path} can be read by others (mode {status.st_mode & 0o777:o})", f"chmod 600 {shlex.quote(str(path))}"
    return None
