"""Mails are sent on the loop that the daemon runs on, and where a test asks for both, on asyncio's own too."""

from __future__ import annotations

import asyncio

import pytest
import uvloop


@pytest.fixture
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """uvloop's, unless the test asks for ``asyncio``."""
    if getattr(request, "param", "uvloop") == "asyncio":
        return asyncio.DefaultEventLoopPolicy()
    return uvloop.EventLoopPolicy()
