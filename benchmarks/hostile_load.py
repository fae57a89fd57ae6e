"""How fast ``/health/live`` answers while strangers are at the door, beside the same daemon left alone.

Each row is one real daemon in a process of its own and what one prober sees, a connection per probe: alone, and with
200 half requests, 50 slow ones and 20 hostile ones in another process, all of them opened again whenever they end.
``files``: file descriptors of the daemon; ``MB``: its memory at most.

    python -m benchmarks.hostile_load [--seconds 30]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from tests.parts.hostile import strangers
from tests.parts.installation import Daemon, Installation
from tests.parts.raw import exchange, status

_PROBE = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_EVERY = 0.01  # seconds between two probes


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    seconds = 3 if arguments.small else arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        made = Installation.make(Path(folder) / "etc")
        with made.serving() as daemon:
            _compare(daemon, seconds)


def _compare(daemon: Daemon, seconds: float) -> None:
    print(f"one probe of /health/live after the other, {seconds:.0f} s a row")
    columns = f"{'probes':>8}{'failed':>8}{'p50 ms':>8}{'p99 ms':>8}{'most ms':>9}{'x p99':>7}{'files':>7}{'MB':>6}"
    print(f"{'the daemon':<36}{columns}")
    floor = 0.0
    crowd = strangers(daemon.url, half=200, slow=50, hostile=20)
    for name, beside in (
        ("left alone (floor)", nullcontext()),
        ("200 half, 50 slow, 20 hostile", crowd),
        ("left alone again", nullcontext()),
    ):
        with beside:
            times, failed = _probed(daemon.url, seconds)
            files = daemon.files
        p99 = statistics.quantiles(times, n=100)[98]
        floor = floor or p99
        print(
            f"{name:<36}{len(times):>8}{failed:>8}{statistics.median(times) * 1000:>8.1f}{p99 * 1000:>8.1f}"
            f"{max(times) * 1000:>9.1f}{p99 / floor:>7.1f}{files:>7}{daemon.peak_memory:>6.0f}"
        )


def _probed(url: str, seconds: float) -> tuple[list[float], int]:
    """Seconds of each probe, and how many did not answer 200."""
    times, failed, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        failed += status(exchange(url, _PROBE)) != 200
        times.append(time.perf_counter() - began)
        time.sleep(_EVERY)
    return times, failed


if __name__ == "__main__":
    main()
