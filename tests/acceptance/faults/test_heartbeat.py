"""While a directory answers slowly, the log says how far the reading is; nobody has to guess whether it hangs (D4)."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta

from connector.reconcile.show.outcome import RunState
from rosterd.heartbeat import heartbeat
from tests.parts.proxy import Fault, between
from tests.parts.reconciled_directory import FAULT_AT, PAGE, Reconciled, ldap_settings
from tests.parts.slapd import Slapd


class _Lines(logging.Handler):
    """Keeps the fields of each line; lets the server go on after ``enough`` lines about a directory."""

    def __init__(self, enough: int, go_on: threading.Event) -> None:
        super().__init__()
        self.kept: list[dict[str, object]] = []
        self._enough, self._go_on = enough, go_on

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "directory.reading":
            self.kept.append(vars(record)["fields"])
        if sum(line["directory"] == "corp" and line["pages"] == 8 for line in self.kept) >= self._enough:
            self._go_on.set()


async def test_d4_a_slow_reading_says_in_the_log_how_far_it_is(reconciled: Reconciled, server: Slapd) -> None:
    before = await reconciled.holdings()
    go_on = threading.Event()
    lines = _Lines(3, go_on)
    logger = logging.getLogger("rosterd.heartbeat")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        with between(server.port, Fault("delay", 8, 9, until=go_on)) as proxy:
            reconciled.reads(ldap_settings(proxy.url, page_timeout="60s"))
            async with heartbeat("acme", interval=timedelta(milliseconds=1)) as step:
                outcome = await reconciled.run(FAULT_AT, progress=step)
    finally:
        logger.removeHandler(lines)
        logger.setLevel(logging.NOTSET)
    assert outcome.state is RunState.NOTHING
    assert await reconciled.holdings() == before
    waiting = [line for line in lines.kept if line["directory"] == "corp" and line["pages"] == 8]
    assert len(waiting) >= 3, "also while the server says nothing"
    assert all((line["organization"], line["scopes"]) == ("acme", 4) for line in waiting)
    assert all(int(str(line["entries"])) > 2 * PAGE for line in waiting)
    assert not [task for task in asyncio.all_tasks() if "heartbeat" in task.get_name()]


async def test_d4_before_the_first_answer_the_organization_has_a_sign_of_life() -> None:
    lines = _Lines(0, told := threading.Event())
    logger = logging.getLogger("rosterd.heartbeat")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        async with heartbeat("acme", interval=timedelta(0)):
            assert await asyncio.to_thread(told.wait, 60)
    finally:
        logger.removeHandler(lines)
        logger.setLevel(logging.NOTSET)
    assert lines.kept[0] == {
        "organization": "acme", "directory": "", "entries": 0, "pages": 0, "scopes": 0, "seconds": 0,
    }  # fmt: skip
