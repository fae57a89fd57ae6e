"""What an operator may set about the reporting API: section ``[api]`` of rosterd.toml."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from ledger.settings import Duration, SettingsModel


class ApiSettings(SettingsModel):
    """Section ``[api]``: limits of the reporting API. Every limit answers with an error; nothing is cut silently."""

    page_rows: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Rows of a page when the asker names no limit."""

    max_page_rows: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    """Most rows a page may be asked for; a greater limit is an error."""

    queries_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 60
    """Queries a token may make in a minute; further pages and answers of 304 are free. Counted per process."""

    query_time: Duration = timedelta(seconds=30)
    """A query that runs longer is interrupted and answered with 503 query-timeout."""

    query_memory: Annotated[str, Field(pattern=r"^\d+(MB|GB)$")] = "1GB"
    """Memory all queries together may take."""

    query_threads: Annotated[int, Field(ge=1, le=256)] = 2
    """Processor threads all queries together may take."""

    queries_at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Queries that run at the same time; others wait."""

    queries_waiting: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Queries that may wait; beyond that the answer is 503 with Retry-After."""

    cursor_life: Duration = timedelta(hours=48)
    """How long the link to a next page is good for; at least 24h."""

    min_group_size: Annotated[int, Field(ge=1, le=1000)] = 5
    """Groups of fewer people are suppressed in aggregates, for Teams that set nothing else."""

    @model_validator(mode="after")
    def _consistent(self) -> ApiSettings:
        if self.cursor_life < timedelta(hours=24):
            raise ValueError("cursor_life is at least 24h: BI tools come back the next morning")
        if self.page_rows > self.max_page_rows:
            raise ValueError("page_rows cannot exceed max_page_rows")
        return self
