"""How fast invites leave by mail, beside the same mails handed to the same server by smtplib over one connection.

One real daemon in a process of its own, and a real mail server (aiosmtpd) in another. Rows: the floor; the daemon with
its rate out of the way; the daemon at a rate that is set, which it has to keep. ``MB``: the daemon's memory at most.

    python -m benchmarks.deliveries [--mails 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import smtplib
import tempfile
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

from ledger.jobs import Unleased
from ledger.store import outbox, people
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from rosterd.demo.children import listens, process
from rosterd.demo.postbox import mails
from tests.parts.installation import Installation
from tests.parts.ports import free_port

_QUIET = '[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n\n[database]'


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--mails", type=int, default=10_000)
    arguments = parser.parse_args()
    number = 200 if arguments.small else arguments.mails
    print(f"{number} invites to as many people, SQLite")
    print(f"{'':<44}{'seconds':>9}{'mails/s':>9}{'x floor':>9}{'MB':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = free_port()
        log = folder / "postbox.log"
        box = folder / "mails"
        where = ("--port", str(port), "--page-port", str(free_port()), "--folder", str(box))
        with process("rosterd.demo.postbox", *where, log=log) as child:
            asyncio.run(listens(child, log))
            floor = _floor(port, number)
            _row("smtplib, one connection (floor)", floor, number, floor)
            _empty(box)
            seconds, memory = _daemon(folder / "fast", port, box, number, 100_000)
            _row("the daemon, 4 connections", seconds, number, floor, memory)
            _empty(box)
            few, rate = max(20, number // 50), 600
            seconds, _ = _daemon(folder / "paced", port, box, few, rate)
            print(f"{few} at {rate} a minute took {seconds:.1f} s: {few / seconds * 60:.0f} a minute")


def _row(name: str, seconds: float, number: int, floor: float, peak: float = 0.0) -> None:
    memory = f"{peak:>7.0f}" if peak else f"{'':>7}"
    print(f"{name:<44}{seconds:>9.1f}{number / seconds:>9.0f}{seconds / floor:>9.2f}{memory}")


def _floor(port: int, number: int) -> float:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "accounts@vendor.example", "Acme invites you"
    mail.set_content("x\n" * 40)
    mail.add_alternative("<p>x</p>\n" * 40, subtype="html")
    began = time.perf_counter()
    with smtplib.SMTP("127.0.0.1", port) as server:
        for each in range(number):
            del mail["To"]
            mail["To"] = f"p{each}@acme.example"
            server.send_message(mail)
    return time.perf_counter() - began


def _daemon(folder: Path, port: int, box: Path, number: int, rate: int) -> tuple[float, float]:
    """Seconds from the daemon's start until the last mail has come; megabytes that it took at most."""
    made = Installation.make(folder)
    made.edit("rosterd.toml", "[database]", _QUIET)
    with made.file.open("a", encoding="utf-8") as handle:
        handle.write(
            f'\n[mail]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\nsender = "accounts@vendor.example"\n'
            f"rate = {rate}\nconnections = 4\n"
        )
    asyncio.run(_invite(folder, number))
    with made.serving("--only", "connector") as daemon:
        began = time.perf_counter()
        while len(list(box.glob("*.eml"))) < number:
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        memory = daemon.peak_memory
    assert len({str(mail["To"]) for _, mail in mails(box)}) == number, "each once"
    return seconds, memory


async def _invite(folder: Path, number: int) -> None:
    ledger = Ledger.open(f"sqlite:///{folder}/var")
    ids = [f"p{each}" for each in range(number)]
    async with ledger.write("acme", Unleased.BY_HAND, at=datetime.now(UTC)) as book:
        rows = [(p, f"{p}@acme.example", f"{p}@acme.example", "", "", f"Person {p}", "active", "", {}) for p in ids]
        await people.begin_identities(book, rows)
        await outbox.append(book, [Message("invite.mail", p, {"mail": "", "name": p, "mapping": ""}) for p in ids])
    await ledger.close()


def _empty(box: Path) -> None:
    for path in box.glob("*.eml"):
        path.unlink()


if __name__ == "__main__":
    main()
