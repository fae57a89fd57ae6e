"""A wall clock that a test moves, for processes of their own (libfaketime)."""

from __future__ import annotations

from pathlib import Path

PRELOADED = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def movable(folder: Path) -> tuple[Path, dict[str, str]]:
    """The file that says how far the wall clock is moved, and the environment in which it is."""
    clock = folder / "clock"
    clock.write_text("+0")
    return clock, {
        "LD_PRELOAD": str(PRELOADED),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
