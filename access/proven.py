"""The mark of a request whose credential somebody accepted, for those who count what strangers ask."""

from __future__ import annotations

from aiohttp import web

PROVEN = web.RequestKey("proven", bool)
"""Set by whoever asked the ledger about the credential of the request."""
