"""The story in eight acts: each act really executed, its result printed from the ledger, not from the script.

``rosterd demo`` plays it in a temporary folder; ``--serve`` keeps the HTTP faces up. Nothing leaves loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from ledger.errors import RosterdError
from rosterd import faces, health, logs
from rosterd.demo import people_acts, report_act, signon_acts, stage
from rosterd.demo.company import found
from rosterd.demo.files import ORGANIZATION
from rosterd.demo.stage import Stage
from rosterd.demo.teller import Teller
from rosterd.service import Service
from rosterd.wire.listener import Listener

Act = Callable[[Stage], Awaitable[None]]

ACTS: tuple[tuple[str, Act], ...] = (
    ("sync is refused without single sign-on", signon_acts.refused),
    ("the domain is proven, single sign-on tested and on", signon_acts.prove),
    ("plan and apply: invites, Teams, seats, a waitlist", people_acts.arrive),
    ("a leaver, a disabled account, a mover, a rename, a rehire", people_acts.change),
    ("a cut-off reading removes nobody", people_acts.cut_off),
    ("a mass removal is held, then approved by digest", people_acts.mass_removal),
    ("single sign-on lapses: suspended, nobody removed; it returns", signon_acts.lapse),
    ("ninety days of usage, published, asked for by Team", report_act.report),
)


class Faces:
    """What the HTTP faces need of a daemon; the story has no schedule, because it moves the clock itself."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.metrics = health.Metrics()
        self.draining = False
        self.down: tuple[str, ...] = ()

    def status(self) -> dict[str, Any]:
        """What ``GET /admin/v1/status`` shows."""
        return {"state": "demo", "organizations": [ORGANIZATION], "workers": {}}

    async def reload(self, organization: str = "") -> None:
        """Nothing to take over."""


@asynccontextmanager
async def listening(service: Service, port: int) -> AsyncIterator[None]:
    """The same HTTP faces as the daemon's, on a loopback port."""
    app = await faces.make(Faces(service), connector=True, api=True)
    listener = await Listener.open(app, ("127.0.0.1", port), key="server.listen", drain=10)
    try:
        yield
    finally:
        await listener.close()


async def play(folder: Path, people: int, teller: Teller, *, serve: bool) -> None:
    """All eight acts; an act that fails ends the story with its error, SIGTERM ends it like Ctrl-C."""
    playing = asyncio.current_task()
    if playing is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    async with (
        stage.opened(folder, found(people), teller) as world,
        listening(world.service, world.port),
        stage.identity_provider(world),
    ):
        for number, (title, act) in enumerate(ACTS, start=1):
            teller.act(number, title)
            await act(world)
        teller.say(f"\nThe end, after {teller.seconds:.0f} seconds. Nobody lost access without proof.")
        if serve:
            _invite(world)
            await asyncio.Event().wait()


def _invite(world: Stage) -> None:
    base, token = f"http://127.0.0.1:{world.port}", world.notes["token"]
    header = f'-H "Authorization: Bearer {token}"'
    first = world.notes["from"]
    world.teller.say("It keeps running; Ctrl-C ends it. Its clock stays where the story moved it. Try:")
    for path in ("/v1/teams", "/v1/freshness", f"/v1/datasets/usage_daily?from={first}&limit=5"):
        world.teller.say(f'  curl -s {header} "{base}{path}"')
    world.teller.say(f'  curl -s {header} -H "Accept: text/csv" "{base}/v1/datasets/seats?limit=5"')
    world.teller.say(f"  every mail that was sent: http://127.0.0.1:{world.mail_page}/")
    command = Path(sys.executable).with_name("rosterd")
    world.teller.say(f"  {command} --config {world.folder / 'rosterd.toml'} report runs")


def main(*, serve: bool = False, people: int = 300, as_json: bool = False) -> int:
    """Play the story; returns the exit code. ``as_json``: the facts as one document at the end, instead of text."""
    teller = Teller(recording=as_json)
    logs.configure(form="text", level="error")
    with tempfile.TemporaryDirectory(prefix="rosterd-demo-") as folder:
        try:
            uvloop.run(play(Path(folder), people, teller, serve=serve))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return 0
        except RosterdError as error:
            sys.stderr.write(f"rosterd demo: {error}\n")
            return error.exit_code
        finally:
            if as_json:
                with contextlib.suppress(BrokenPipeError):
                    sys.stdout.write(json.dumps({"acts": teller.acts}, ensure_ascii=False, indent=2) + "\n")
    return 0 if teller.all_true else 1
