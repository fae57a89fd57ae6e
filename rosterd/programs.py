"""Which program a daemon is, as a value: ``serve --help`` shows it without loading the daemon. Pure: names only."""

from __future__ import annotations

from enum import StrEnum


class Only(StrEnum):
    """Which of the two programs this process is."""

    BOTH = "both"
    CONNECTOR = "connector"
    API = "api"
