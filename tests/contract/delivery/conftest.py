"""What is delivered is delivered on uvloop, as by the daemon; where a test names loops, on asyncio's own too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop; a test that is marked with ``asyncio(loop_factories=[...])`` chooses."""
    found: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if any("loop_factories" in marker.kwargs for marker in item.iter_markers("asyncio")):
        found["asyncio"] = asyncio.new_event_loop
    return found
