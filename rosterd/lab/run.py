"""A lab from its start until Ctrl-C or SIGTERM: the processes beside us, and what is said once they answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from ledger.errors import Unavailable
from rosterd.demo.children import last_words, listens, process
from rosterd.lab import own_copy
from rosterd.lab.place import Lab, claim
from rosterd.lab.words import Running
from rosterd.settings import Settings

_LOOK = 0.5


async def run(lab: Lab, settings: Settings, *, write: bool, say: Callable[[Running], None]) -> None:
    """Start everything, say what to do, end everything. Raises ``BadInput`` for ports that are taken and a copy that
    does not fit, ``Unavailable`` when a process does not start or ends by itself."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    claim(lab, write=write)
    config = own_copy.write(lab, settings) if write else settings.file
    with contextlib.ExitStack() as stack:
        children: list[tuple[subprocess.Popen[bytes], Path]] = []
        for name, arguments in _programs(lab):
            log = lab.folder / f"{name}.log"
            children.append((stack.enter_context(process(*arguments, log=log)), log))
        starting = asyncio.gather(*(listens(child, log) for child, log in children))
        stopped = asyncio.create_task(ended.wait(), name="a signal that ends the lab")
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return
        starting.result()
        say(_running(lab, settings, config))
        while not ended.is_set():
            _require_alive(children)
            await asyncio.wait((stopped,), timeout=_LOOK)


def _programs(lab: Lab) -> list[tuple[str, tuple[str, ...]]]:
    """What runs beside us: the name of its log, its module and its arguments."""
    ours = f"{lab.public_url}/sso/{lab.organization}/metadata"
    people = f"whoever you say you are, to {lab.organization}, which takes people of {', '.join(lab.domains)}"
    provider = (
        "--port", str(lab.idp_port), "--folder", str(lab.folder), "--sp-metadata", ours, "--signs-in", people
    )  # fmt: skip
    servers = [
        (f"name-server-{port}", ("rosterd.demo.resolver", "--port", str(port), "--zone-file", str(zone)))
        for port, zone in zip(lab.dns_ports, lab.zones, strict=True)
    ]
    ports = ("--port", str(lab.mail_port), "--page-port", str(lab.mail_port + 1))
    mail = ("rosterd.demo.postbox", *ports, "--folder", str(lab.folder / "mails"))
    return [("identity-provider", ("rosterd.demo.idp", *provider)), *servers, ("mail-server", mail)]


def _running(lab: Lab, settings: Settings, config: Path) -> Running:
    customer = settings.customer(lab.organization)
    copied = config != settings.file
    tables: tuple[tuple[Path, str], ...] = ()
    if not copied and not own_copy.fits(lab, settings):
        metadata = own_copy.organization_table(f"file:{lab.metadata}")
        tables = ((settings.file, own_copy.installation_tables(lab)), (customer.file, metadata))
    others = tuple(name for name in settings.customers if name != lab.organization)
    return Running(lab, config, copied, tables, others, settings.file)


def _require_alive(children: list[tuple[subprocess.Popen[bytes], Path]]) -> None:
    for child, log in children:
        if child.poll() is not None:
            raise Unavailable(
                f"a process of the lab ended: {last_words(log).strip() or 'it said nothing'}",
                where=str(log),
                next_step="rosterd lab starts it again",
            )
