"""A search whose end is proved (D1): every page's code is looked at; only 0 with an exhausted cookie is complete.

ldap3 encodes requests here; what comes back is framed and decoded by ``decode``. The next page is asked for before the
last one is decoded, so that server and client work at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPExceptionError
from ldap3.operation.search import search_operation
from ldap3.protocol.rfc2696 import paged_search_control
from ldap3.utils.asn1 import encode

from connector.directory.base import Scope, ScopeState
from connector.directory.ldap.session.connection import TRANSIENT_CODES, Failed, Session, words
from connector.directory.ldap.wire import decode
from ledger.counted import counted

_CHUNK = 1 << 18
_FLUSH = 4 << 20
"""Bytes of complete entries after which a long page is decoded before its end, so that memory stays small."""

Span = tuple[int, int]
"""Where an entry's operation starts and its message ends, in the same bytes."""
Taker = Callable[[bytes, Sequence[Span]], None]
"""Decodes the entries of (a part of) a page."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for. ``page_size`` 0: one unpaged search (a base object, unless ``subtree``).

    ``elsewhere`` tells of a continuation reference that it leads out of what was asked for; it is no doubt then.
    ``at_most``: the server stops after so many entries, with result 4; 0: it does not. ``most``: no other page is asked
    for once there are more entries, and the end is not proved; 0: to the end. ``controls``: encoded controls besides
    the one for paging.
    """

    base: str
    filter: str
    attributes: Sequence[str]
    page_size: int = 0
    elsewhere: Callable[[str], bool] | None = None
    subtree: bool = False
    at_most: int = 0
    most: int = 0
    controls: bytes = b""

    @property
    def scope(self) -> str:
        """Paged searches cover the whole subtree, unpaged ones the base object unless they say otherwise."""
        return str(ldap3.SUBTREE if self.page_size or self.subtree else ldap3.BASE)


@dataclass(slots=True)
class Proof:
    """Evidence gathered while searching. ``reason`` is empty only when the end was reached and every code was 0.

    ``cut``: the reason is that no more was asked for (``Query.most``).
    """

    server: str
    pages: int = 0
    entries: int = 0
    codes: list[int] = field(default_factory=list)
    referrals: list[str] = field(default_factory=list)
    reason: str = ""
    transient: bool = False
    usable: bool = True
    cut: bool = False
    seconds: float = 0.0

    @property
    def last_code(self) -> int:
        """The result code of the last page; -1 when none came."""
        return self.codes[-1] if self.codes else -1

    def as_scope(self, name: str) -> Scope:
        """The proof under a scope's name."""
        state = ScopeState.UNKNOWN if self.reason else ScopeState.COMPLETE
        return Scope(
            name, state, self.reason, self.server, self.pages, tuple(self.codes), self.entries, self.seconds
        )  # fmt: skip


def run(session: Session, query: Query, take: Taker, *, page_timeout: float) -> Proof:
    """Search and hand the entries to ``take``, page by page. Never raises for what server or network do.

    ``Proof.usable`` is False when the connection is of no more use.
    """
    proof = Proof(session.url)
    started = time.monotonic()
    try:
        _pages(session, query, take, proof, page_timeout)
    except Failed as failure:
        proof.reason = failure.reason
        proof.transient = failure.transient
        proof.usable = False
    except decode.Malformed as error:
        proof.reason = f"page {proof.pages + 1}: what the server sent is not LDAP: {error}"
        proof.transient, proof.usable = True, False
    proof.seconds = time.monotonic() - started
    if query.elsewhere is not None:
        proof.referrals = [url for url in proof.referrals if not query.elsewhere(url)]
    if proof.referrals:
        shown = ", ".join(proof.referrals[:3])
        referred = f"{counted(len(proof.referrals), 'referral')} not followed ({shown})"
        proof.reason = f"{proof.reason}; {referred}" if proof.reason else referred
    return proof


def _pages(session: Session, query: Query, take: Taker, proof: Proof, page_timeout: float) -> None:
    inflow = _Inflow(session, page_timeout)
    question = _Question(session, query)
    request_id = question.ask(b"", proof)
    while True:
        inflow.begin(request_id, proof)
        while not inflow.fill():
            take(*inflow.taken())
        end = inflow.end
        proof.pages += 1
        proof.codes.append(end.code)
        proof.referrals.extend(end.referrals)
        more = end.code == 0 and bool(end.cookie)
        if more and 0 < query.most < proof.entries:
            proof.reason, proof.cut, more = f"more than {query.most} entries", True, False
        if more:
            request_id = question.ask(end.cookie or b"", proof)
        take(*inflow.taken())
        if more:
            continue
        if end.code != 0:
            proof.reason = f"page {proof.pages}: {words(end.code, end.diagnostic)}"
            proof.transient = end.code in TRANSIENT_CODES
        elif query.page_size and end.cookie is None:
            proof.reason = f"page {proof.pages}: the server did not answer the paging control, so the end is not proved"
        return


def once(session: Session, query: Query, controls: bytes, take: Taker, proof: Proof, *, page_timeout: float) -> bytes:
    """One unpaged search with encoded controls of the caller's: its result operation, with the controls behind it.

    Entries and intermediate responses go to ``take`` as they come; the operation's tag tells them apart. The result
    code is the last of ``proof.codes``, for the caller to judge. Raises ``Failed`` and ``decode.Malformed``.
    """
    inflow = _Inflow(session, page_timeout, kept=frozenset({decode.ENTRY, decode.INTERMEDIATE}))
    inflow.begin(_Question(session, query).send(controls, proof), proof)
    while not inflow.fill():
        take(*inflow.taken())
    take(*inflow.taken())
    proof.pages += 1
    proof.codes.append(inflow.end.code)
    proof.referrals.extend(inflow.end.referrals)
    return inflow.last


def filter_fault(text: str) -> str:
    """Why a text is no filter (RFC 4515), as a search would find out; empty when it is one."""
    try:
        encode(_request(Query("", text, ["1.1"])))
    except LDAPExceptionError as error:
        return str(error)
    return ""


def _request(query: Query) -> Any:
    return search_operation(
        query.base, query.filter, query.scope, ldap3.DEREF_NEVER, list(query.attributes), query.at_most, 0,
        False, auto_escape=True, auto_encode=False,
    )  # fmt: skip


class _Question:
    """A search request, encoded by ldap3 once and asked for every page under a new message id and cookie."""

    def __init__(self, session: Session, query: Query) -> None:
        self._session = session
        self._page_size = query.page_size
        self._controls = query.controls
        try:
            self._encoded = bytes(encode(_request(query)))
        except LDAPExceptionError as error:
            raise Failed(f"the filter {query.filter} cannot be used: {error}", transient=False) from error

    def ask(self, cookie: bytes, proof: Proof) -> int:
        """Send it, for the page that ``cookie`` names, and return its message id."""
        paged = bytes(encode(paged_search_control(True, self._page_size, cookie))) if self._page_size else b""
        return self.send(paged + self._controls, proof)

    def send(self, controls: bytes, proof: Proof) -> int:
        """Send it with these encoded controls and return its message id."""
        number = int(self._session.connection.server.next_message_id())
        content = _element(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big")) + self._encoded
        if controls:
            content += _element(0xA0, controls)
        try:
            self._session.socket.settimeout(self._session.clock.left(60))
            self._session.socket.sendall(_element(0x30, content))
        except OSError as error:
            self._session.clock.left()
            reason = f"page {proof.pages + 1}: the request could not be sent: {error}"
            raise Failed(reason, transient=True) from error
        return number


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes((tag, length)) + content
    return bytes((tag, 0x84)) + length.to_bytes(4, "big") + content


class _Inflow:
    """Bytes from the server, framed into entries of the current page until its result arrives."""

    def __init__(self, session: Session, page_timeout: float, kept: frozenset[int] = frozenset({decode.ENTRY})) -> None:
        self._session = session
        self._timeout = page_timeout
        self._kept = kept
        self._buffer = bytearray()
        self._spans: list[Span] = []
        self._at = 0
        self.end = decode.Done(-1, "", (), None)
        self.last = b""
        self._id = 0
        self._proof: Any = None
        self._until = 0.0

    def begin(self, request_id: int, proof: Proof) -> None:
        """Wait for the answer to another request; its clock starts now."""
        self._id, self._proof = request_id, proof
        self._until = time.monotonic() + self._timeout

    def fill(self) -> bool:
        """Read until the page's result is there (True) or a good part of a long page (False)."""
        while True:
            if self._frame():
                return True
            if self._at > _FLUSH:
                return False
            self._receive()

    def taken(self) -> tuple[bytes, list[Span]]:
        """The complete entries so far, which then are no longer kept."""
        data, spans = bytes(self._buffer[: self._at]), self._spans
        del self._buffer[: self._at]
        self._at, self._spans = 0, []
        return data, spans

    def _frame(self) -> bool:
        buffer, spans, at = self._buffer, self._spans, self._at
        message, wanted, kept = decode.message, self._id, self._kept
        try:
            while True:
                request_id, operation, start, end = message(buffer, at)
                if end < 0:
                    return False
                if request_id != wanted:
                    self._unsolicited(request_id)
                elif operation in kept:
                    spans.append((start, end))
                    self._proof.entries += 1
                elif operation == decode.REFERENCE:
                    self._proof.referrals.extend(decode.reference(bytes(buffer[start:end]), 0, end - start))
                elif operation == decode.DONE:
                    self.last = bytes(buffer[start:end])
                    self.end = decode.done(self.last, 0, end - start)
                    at = end
                    return True
                at = end
        finally:
            self._at = at

    def _unsolicited(self, request_id: int) -> None:
        if request_id == 0:
            raise Failed(f"page {self._proof.pages + 1}: the server ended the session", transient=True)
        raise decode.Malformed("an answer to no question of ours")

    def _receive(self) -> None:
        page = f"page {self._proof.pages + 1}"
        left = self._until - time.monotonic()
        if left <= 0:
            raise Failed(f"{page}: timed out after {self._timeout:g} s", transient=True)
        try:
            found = self._session.socket
            found.settimeout(self._session.clock.left(left))
            chunk = found.recv(_CHUNK)
        except TimeoutError:
            self._session.clock.left()
            raise Failed(f"{page}: timed out after {self._timeout:g} s", transient=True) from None
        except OSError as error:
            self._session.clock.left()
            raise Failed(f"{page}: the connection broke off: {error.strerror or error}", transient=True) from error
        if not chunk:
            self._session.clock.left()
            raise Failed(f"{page}: the server closed the connection", transient=True)
        self._buffer += chunk
