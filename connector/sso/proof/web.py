"""Reads the file at a registered domain's own web server that proves it, for whoever cannot write DNS (N13).

Prohibition: opens no connection itself. ``Fetch`` is the one door out (N12), which follows no redirect, reaches no
private address and, for proofs, believes public authorities only. A 404 is the only negative: everything else proves
nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from connector.sso.gate.domains import Answer, Finding, file_url, token_of_file
from ledger.errors import NotFound, RosterdError

_KIND = "text/plain"


class Page(Protocol):
    """A whole document. ``content_type``: in lower case without parameters, empty when none was said."""

    @property
    def body(self) -> bytes:
        """Its bytes."""

    @property
    def content_type(self) -> str:
        """What it is said to be."""

    @property
    def own_ca(self) -> bool:
        """Whether other authorities than the public ones were believed."""


Fetch = Callable[[str], Awaitable[Page]]
"""Address → document (status 200). Raises ``NotFound`` for a 404, another ``RosterdError`` for everything else."""


async def look_at(domain: str, fetch: Fetch, expected_hash: str) -> Finding:
    """What the file of ``domain`` proves. Never raises for what a server does."""
    url = file_url(domain)
    try:
        page = await fetch(url)
    except NotFound:
        return Finding(Answer.ABSENT, f"{url} answers 404")
    except RosterdError as error:
        return Finding(Answer.UNREADABLE, f"{url}: {error.what}")
    if page.own_ca:
        return Finding(Answer.UNREADABLE, f"{url} was fetched with authorities of our own, which prove no domain")
    if page.content_type != _KIND:
        said = page.content_type or "of no kind"
        return Finding(Answer.UNREADABLE, f"{url} is {said}, not {_KIND}")
    token = token_of_file(page.body)
    if token == expected_hash:
        return Finding(Answer.FOUND)
    what = "is not the token alone" if token is None else "holds another token"
    return Finding(Answer.UNREADABLE, f"{url} {what}")
