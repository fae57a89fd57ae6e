"""What a request needs besides itself: the constructed pieces of the reporting API, in one value.

Prohibition: constructs nothing; ``app`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from access.rate import Buckets
from access.trail import Trail
from ledger.store.engine import Ledger
from reporting_api.pins import Pins
from reporting_api.query.cursor import Cursors
from reporting_api.query.engine import Engine
from reporting_api.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class Parts:
    """``public_url``: as askers see us, without a slash at the end. ``render``: threads that write large bodies."""

    ledger: Ledger
    engine: Engine
    settings: ApiSettings
    clock: Callable[[], datetime]
    pepper: bytes
    public_url: str
    trail: Trail
    pins: Pins
    cursors: Cursors
    buckets: Buckets
    render: Executor


PARTS = web.AppKey("reporting_parts", Parts)
