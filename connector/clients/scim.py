"""Reads a SCIM 2.0 service provider over HTTPS: one GET at a time, with retries inside a deadline (RFC 7644, D12).

Prohibition: knows nothing of people or completeness, writes nothing to the provider, and never sends the token to
another host than the configured one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from ledger.errors import BadInput, Unavailable
from ledger.secret import SecretRef

ACCEPT = "application/scim+json, application/json;q=0.9"
RETRIED = frozenset({429, 500, 502, 503, 504})
RESTARTS = frozenset({"expiredcursor", "invalidcursor"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_LONGEST_WAIT = 60.0
_SAID = 200


class ScimFailure(Unavailable):
    """A GET that gave no usable answer. ``what`` is safe to show.

    ``status`` is the HTTP status (0: no answer), ``scim_type`` the RFC 7644 error type in lower case. ``restart`` is
    true when only a new reading from its start can help (RFC 9865: an expired or unknown cursor).
    """

    def __init__(self, what: str, *, status: int = 0, scim_type: str = "", where: str = "") -> None:
        super().__init__(what, where=where)
        self.status = status
        self.scim_type = scim_type
        self.restart = scim_type in RESTARTS


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a provider. ``url``: base address without a slash at its end; times in seconds, sizes in bytes."""

    url: str
    token: SecretRef | None = None
    tls_ca: Path | None = None
    tls_verify: bool = True
    connect_timeout: float = 10.0
    page_timeout: float = 60.0
    attempts: int = 4
    retry_wait: float = 1.0
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON object with its HTTP status; ``body`` has its outermost names in lower case."""

    status: int
    body: Mapping[str, Any]


@dataclass(slots=True)
class _Again:
    """A try that failed and may be repeated after ``wait`` seconds (None: our own backoff)."""

    failure: ScimFailure
    wait: float | None = field(default=None)


class ScimClient:
    """GETs of one provider; use as an async context manager. Every call ends by its ``deadline`` (loop time)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._base = URL(connection.url)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ScimClient:
        connection = self._connection
        headers = {"Accept": ACCEPT}
        try:
            if connection.token is not None:
                headers["Authorization"] = f"Bearer {connection.token.reveal()}"
            tls = _tls(connection) if self._base.scheme == "https" else True
        except BadInput as error:
            raise ScimFailure(f"the secret of the connection cannot be read: {error}") from error
        except (OSError, ssl.SSLError) as error:
            raise ScimFailure(f"the authority's certificate file cannot be used: {error}") from error
        timeout = aiohttp.ClientTimeout(total=connection.page_timeout, sock_connect=connection.connect_timeout)
        self._session = aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(ssl=tls, limit=4)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, deadline: float) -> Answer:
        """GET ``path`` below the base address; 429, 5xx and lost connections are repeated (D4); else ScimFailure."""
        url = self._address(path, query or {})
        loop = asyncio.get_running_loop()
        for attempt in range(1, self._connection.attempts + 1):
            try:
                async with asyncio.timeout_at(deadline):
                    result = await self._once(url, path)
            except TimeoutError as error:
                raise ScimFailure("the deadline of the whole reading has passed", where=f"GET {path}") from error
            if isinstance(result, Answer):
                return result
            if attempt == self._connection.attempts:
                raise result.failure
            backoff = min(self._connection.retry_wait * 2 ** (attempt - 1), _LONGEST_WAIT)
            wait = backoff if result.wait is None else result.wait
            left = deadline - loop.time()
            if wait >= left:
                said = f"{result.failure.what}; it asks for a wait of {wait:.0f} s and the deadline is in {left:.0f} s"
                raise ScimFailure(said, status=result.failure.status, where=f"GET {path}")
            await asyncio.sleep(wait)
        raise AssertionError("attempts is at least 1")

    def _address(self, path: str, query: Mapping[str, str]) -> URL:
        # Spaces as %20: some providers take "+" for a plus sign.
        text = f"{self._connection.url}/{path}"
        return URL(f"{text}?{urlencode(query, quote_via=quote, safe='')}" if query else text, encoded=True)

    async def _once(self, url: URL, path: str) -> Answer | _Again:
        assert self._session is not None  # noqa: S101  # entered
        where = f"GET {path}"
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                async with self._session.get(url, allow_redirects=False) as answer:
                    if answer.status in _REDIRECTS:
                        url = self._redirected(answer, where)
                        continue
                    body = await self._body(answer, where)
                    return _judge(answer, body, where)
            except aiohttp.ClientSSLError as error:
                said = f"the certificate of {self._base.host} is not accepted: {error}"
                raise ScimFailure(said, where=where) from error
            except TimeoutError:
                waited = self._connection.page_timeout
                return _Again(ScimFailure(f"timed out: no whole answer within {waited:g} s", where=where))
            except aiohttp.ClientConnectorError as error:
                return _Again(ScimFailure(f"cannot connect: {error.strerror or error}", where=where))
            except aiohttp.ClientError as error:
                return _Again(ScimFailure(f"the connection broke: {error or type(error).__name__}", where=where))
        raise ScimFailure("redirects again and again: set `url` to the final address", where=where)

    def _redirected(self, answer: aiohttp.ClientResponse, where: str) -> URL:
        """Where a redirect leads, if that is the same scheme, host and port; the token goes nowhere else."""
        try:
            target = answer.url.join(URL(answer.headers.get("Location", "")))
            origin = target.origin()
        except ValueError:
            raise ScimFailure("redirects to nowhere", status=answer.status, where=where) from None
        if origin != self._base.origin():
            said = f"redirects to another host ({origin}), which is not followed: set `url` to the final address"
            raise ScimFailure(said, status=answer.status, where=where)
        return target

    async def _body(self, answer: aiohttp.ClientResponse, where: str) -> bytes:
        most = self._connection.max_bytes
        parts, size = [], 0
        async for part in answer.content.iter_any():
            size += len(part)
            if size > most:
                said = f"the answer is over {most} bytes: ask for smaller pages (`page_size`)"
                raise ScimFailure(said, status=answer.status, where=where)
            parts.append(part)
        return b"".join(parts)


def lower_keys(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same object with its outermost names in lower case: SCIM names have no case (RFC 7643 §2.1)."""
    return {key.lower(): inner for key, inner in value.items()}


def _judge(answer: aiohttp.ClientResponse, body: bytes, where: str) -> Answer | _Again:
    status = answer.status
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = None
    content = lower_keys(decoded) if isinstance(decoded, dict) else None
    if 200 <= status < 300:
        if content is None:
            kind = _shown(answer.headers.get("Content-Type", "no content type"))
            raise ScimFailure(f"answers {status} with something that is not JSON ({kind})", status=status, where=where)
        return Answer(status, content)
    detail = _shown(str(content.get("detail") or "")) if content else ""
    scim_type = str(content.get("scimtype") or "").lower() if content else ""
    kind = f" {content['scimtype']}" if content and scim_type else ""
    said = f"answers {status}{_shown(kind)}" + (f" ({detail})" if detail else "")
    failure = ScimFailure(said, status=status, scim_type=scim_type, where=where)
    if status in RETRIED:
        return _Again(failure, _retry_after(answer.headers))
    raise failure


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait (RFC 9110 §10.2.3); a date counts from the answer's own Date. None: nothing usable is said."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        until, since = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (until - since).total_seconds())
    except (ValueError, TypeError):
        return None


def _shown(text: str) -> str:
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean if len(clean) <= _SAID else clean[:_SAID] + "…"


def _tls(connection: Connection) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(connection.tls_ca) if connection.tls_ca else None)
    if not connection.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
