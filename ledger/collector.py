"""The cyclic collector, paused while very many values are made that live on: it would walk them again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """No cyclic collection inside the block, for seconds; reference counting goes on.

    A quarter of the time of a large reading or plan. Blocks may be nested and run in several threads at once: whoever
    found the collector running starts it again, so that it runs after the last of them.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
