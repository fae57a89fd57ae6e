"""What a worker answers of a job that could not be done: whether it is done again, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from ledger.book_time import WrongClock
from ledger.errors import Busy, Overtaken, Refused, RosterdError, Stale
from ledger.jobs import Claim
from rosterd import worker
from rosterd.handover import Handover
from rosterd.service import Service
from rosterd.settings import Settings

TASK = Handover(cast(Settings, None), "acme", "approve", {}, Claim("j1", 1, "w1"))


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (Busy("at work", after=timedelta(seconds=60)), 60.0),
        (WrongClock("the clock is behind", after=timedelta(seconds=60)), 60.0),  # and no attempt is used up
        (Overtaken("the lease was taken over"), 5.0),  # nothing was written, and it is still wanted
        (Stale("the plan is another one"), None),
        (Refused("the held set is applied"), None),
    ],
)
async def test_a4_what_is_done_again(monkeypatch: pytest.MonkeyPatch, error: RosterdError, after: float | None) -> None:
    async def raises(*_args: Any) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(worker, "WORK", {"approve": raises})
    answered = await worker.answer(cast(Service, None), TASK)
    assert answered == {
        "error": error.what,
        "where": "",
        "retry_after": after,
        "untried": isinstance(error, WrongClock),
    }
