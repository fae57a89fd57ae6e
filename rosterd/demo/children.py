"""Processes of our own beside us: they end with the block that started them, and when their starter is gone.

A starter holds the other end of a child's stdin and never writes to it. The system closes it when the starter ends,
however it ends: that is what a child waits for (``starter_gone``). Prohibition: no process is ended that is not ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import Unavailable

WITH_STARTER = "--with-starter"
"""The option by which a child is told to end with its starter."""
LISTENING = "listening on "
"""What a child prints once it can be asked."""
_START, _LAST_WORDS = 20.0, 500


@contextmanager
def process(*arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m MODULE … --with-starter`` as a child of this process; ended with the block, or with this process."""
    command = [sys.executable, "-m", *arguments, WITH_STARTER]
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.PIPE)
    try:
        yield child
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
        if child.poll() is None:
            child.kill()
            child.wait()
        if child.stdin is not None:
            child.stdin.close()


async def listens(child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a child says that it listens; raises ``Unavailable`` with its last words when it ends first."""
    until = time.monotonic() + _START
    while time.monotonic() < until and child.poll() is None:
        if LISTENING in last_words(log):
            return
        await asyncio.sleep(0.05)
    raise Unavailable(
        f"a process did not start: {last_words(log).strip() or 'it said nothing'}",
        where=str(log),
        next_step="run the same command again",
    )


def last_words(log: Path) -> str:
    """How a child's log ends."""
    return log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]


async def starter_gone(with_starter: bool) -> None:
    """In a child: return when whoever started it has gone; without a starter, never."""
    if not with_starter:
        await asyncio.Event().wait()
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), sys.stdin
    )
    try:
        await stream.read()
    finally:
        transport.close()
