"""Fetches one document over https for an operator: certificates verified, no redirect, a size and a time limit.

Prohibition: only addresses an operator has typed or written into an admin file come here.
"""

from __future__ import annotations

import aiohttp

from ledger.errors import BadInput, Unavailable

MAX_BYTES = 5 * 1024 * 1024
_SECONDS = 30.0


async def fetch(url: str) -> bytes:
    """The body of ``url``; raises ``Unavailable``, or ``BadInput`` for a redirect or too large an answer."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise BadInput(
                    f"answers {answer.status}", where=url, next_step="use the final address of the document itself"
                )
            body = await answer.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and (part := await answer.content.read(MAX_BYTES + 1 - len(body))):
                body += part
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(
            f"cannot be fetched: {error or type(error).__name__}",
            where=url,
            next_step="or download it and give the file",
        ) from error
    if len(body) > MAX_BYTES:
        raise BadInput(f"is over {MAX_BYTES // 1024**2} MiB", where=url)
    return body
