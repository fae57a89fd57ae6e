"""Passwords of a test run: made anew each time, so that none stands in a file that is kept."""

from __future__ import annotations

import secrets


def new_password() -> str:
    """One that no policy of a server refuses."""
    return f"Aa1-{secrets.token_urlsafe(18)}"
