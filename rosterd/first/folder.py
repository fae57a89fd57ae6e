"""The folder of a first configuration while it is written: all of it, or nothing.

Each file is written beside its place and renamed; what fails takes back what this run made, and nothing else.
Prohibition: replaces no file but the JSON Schemas, which are ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ledger.errors import BadInput

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FirstFolder:
    """What one run has made in a folder so far. ``written``: names of files, as they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[str] = []
        self._made: list[Path] = []

    def text(self, name: str, text: str) -> None:
        """Write a file where there is none; raises ``FileExistsError`` where there is one."""
        if (self.folder / name).exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.folder / name))
        self._write(name, text.encode("utf-8"), 0o644)
        path = self.folder / name
        for each in (path, path.parent):  # whoever else wrote them would say whose keys are read
            each.chmod(stat.S_IMODE(each.stat().st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))

    def ours(self, name: str, text: str) -> None:
        """Write a file that rosterd alone writes, unless it says the same already."""
        path = self.folder / name
        if not path.exists() or path.read_bytes() != text.encode("utf-8"):
            self._write(name, text.encode("utf-8"), 0o644)

    def secret(self, name: str, content: bytes) -> None:
        """Write a key (mode 0600, in a folder of mode 0700) unless there is one."""
        if not (self.folder / name).exists():
            self._write(name, content, 0o600)

    def expect(self, *names: str) -> None:
        """Name what others are about to write, so that it can be taken back."""
        for path in (self.folder / name for name in names):
            self._folders(path.parent, private=True)
            if not path.exists():
                self._made.append(path)

    def take_back(self) -> None:
        """Remove what was made, the last first; what cannot be removed stays."""
        for path in reversed(self._made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def _write(self, name: str, content: bytes, mode: int) -> None:
        path = self.folder / name
        self._folders(path.parent, private=mode == 0o600 or name.endswith("/.gitignore"))
        beside = path.with_name(f".{path.name}.new")
        fresh = not path.exists()
        try:
            beside.unlink(missing_ok=True)  # what a crash left
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(descriptor)
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        if fresh:
            self._made.append(path)
        self.written.append(name)

    def _folders(self, folder: Path, *, private: bool = False) -> None:
        """Make the folder and those above it, remembering which are new."""
        if folder.is_dir():
            return
        if folder.exists():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        self._folders(folder.parent)
        folder.mkdir()
        self._made.append(folder)
        if private:
            folder.chmod(0o700)


@contextmanager
def all_or_nothing(folder: Path, again: Sequence[str]) -> Iterator[FirstFolder]:
    """The folder to write into, kept from other runs meanwhile. Raises ``BadInput`` for whatever the system refuses;
    ``again``: the options of the same command, for the next step."""
    made = FirstFolder(folder)
    try:
        made._folders(folder)
        with _held(folder):
            yield made
    except OSError as error:
        made.take_back()
        raise _refused(error, folder, again) from error
    except BaseException:
        made.take_back()
        raise


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """One run at a time; the lock ends with the process, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refused(error: OSError, folder: Path, again: Sequence[str]) -> BadInput:
    where = str(error.filename or folder)
    options = f" {shlex.join(again)}" if again else ""
    elsewhere = f'rosterd init "$HOME/rosterd"{options}'
    same = f"rosterd init {shlex.quote(str(folder))}{options}"
    if error.errno in _FULL:
        place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(place).free // 1024
        step = f"make room ({free} KiB are free), then run it again: {same}"
        return BadInput("there is no space left; nothing was written", where=where, next_step=step)
    if error.errno in _READ_ONLY:
        said = f"cannot be written: {error.strerror}; nothing was written"
        return BadInput(said, where=where, next_step=f"name a folder of your own: {elsewhere}")
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        what = "is there already" if error.errno == errno.EEXIST else "is no folder"
        return BadInput(f"{what}; nothing was written", where=where, next_step=f"name another folder: {elsewhere}")
    said = f"cannot be written: {error.strerror or error}; nothing was written"
    return BadInput(said, where=where, next_step=f"when that is mended, run it again: {same}")
