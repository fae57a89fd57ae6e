"""What an engine promises: the rows of a ``Query`` from the snapshots of one publication, under limits.

Prohibition: no engine decides what may be seen; that is in the query's scope already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from ledger.errors import Busy
from ledger.publication import Publication
from reporting_api.query.model import Query


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page: ``columns`` are the selected ones followed by those only the next cursor needs.

    ``more``: another page follows.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    more: bool


class QueryTimeout(Busy):
    """The query ran into its time limit and was interrupted."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the query took longer than {seconds:g} s", after=timedelta(seconds=1))


class Overloaded(Busy):
    """As many queries wait as may wait."""

    def __init__(self) -> None:
        super().__init__("too many queries are waiting", after=timedelta(seconds=2))


class Engine(Protocol):
    """Answers queries. Cancelling the awaiting task interrupts the query."""

    async def page(self, query: Query, publication: Publication) -> Page:
        """One page; raises ``QueryTimeout``, ``Overloaded``, ``NotFound`` (snapshot gone), ``Unavailable``."""
        ...

    async def count(self, query: Query, publication: Publication) -> int:
        """How many rows on all pages together; raises like ``page``."""
        ...

    async def close(self) -> None:
        """Interrupt what runs and let everything go."""
        ...
