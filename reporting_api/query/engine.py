"""What an engine promises: the rows of a ``Query`` from the snapshots of one publication, under limits.

Prohibition: no engine decides what may be seen; that is in the query's scope already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
