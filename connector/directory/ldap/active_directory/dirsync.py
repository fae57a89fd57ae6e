"""What changed in a domain by the DirSync control (D13): which objects, which attributes, and what was deleted.

Asks for what the account may read anyway, never for the right to replicate. The cookie belongs to the domain controller
that gave it; whether it may be used is for whoever asks to check before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from connector.directory.changes import MOST
from connector.directory.ldap.active_directory import domain
from connector.directory.ldap.active_directory.touched import Touch, Touched
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import TRANSIENT_CODES, Failed, Session, words
from connector.directory.ldap.wire import decode, dirsync_control

_FLAGS = dirsync_control.OBJECT_SECURITY | dirsync_control.INCREMENTAL_VALUES
_EVERYTHING = ("(objectClass=*)", "*")
_NOBODY = ("(objectGUID=" + r"\00" * 16 + ")", "objectGUID")
"""Matches nothing, by an index: the cookie that comes back is of now."""


def here(session: Session, root: domain.RootEntry, page_timeout: float) -> bytes:
    """The cookie of now. Raises ``Failed``, also when the server needs more than ``page_timeout`` to get there."""
    until = time.monotonic() + page_timeout
    cookie = b""
    while True:
        more, cookie, _ = _ask(session, root, _NOBODY, cookie, page_timeout)
        if not more:
            return cookie
        if time.monotonic() > until:
            raise Failed(f"DirSync has not come to its end after {page_timeout:g} s", transient=False)


def since(
    session: Session, root: domain.RootEntry, cookie: bytes, wanted: frozenset[str], page_timeout: float
) -> Touched:
    """Every object of the domain of which one of the ``wanted`` attributes (lower case) changed, or that is new or
    deleted. Raises ``Failed``."""
    touched = Touched(cookie=cookie)
    more = True
    while more and len(touched) <= MOST:
        more, following, found = _ask(session, root, _EVERYTHING, touched.cookie, page_timeout)
        if more and following == touched.cookie:
            raise Failed("DirSync says that there is more and does not go on", transient=False)
        touched.cookie = following
        for name, attributes in found:
            _sort(touched, name, attributes, wanted)
    return touched


def _ask(
    session: Session, root: domain.RootEntry, what: tuple[str, str], cookie: bytes, page_timeout: float
) -> tuple[bool, bytes, domain.Found]:
    """One call for filter and attribute: whether there is more, the next cookie, and the objects."""
    filter_, attribute = what
    query = search.Query(root.domain, filter_, [attribute], subtree=True)
    control = dirsync_control.request(cookie, _FLAGS)
    found: domain.Found = []
    names = decode.Names()

    def take(data: bytes, spans: Sequence[search.Span]) -> None:
        found.extend(decode.entry(data, start, end, names) for start, end in spans if data[start] == decode.ENTRY)

    try:
        result = search.once(session, query, control, take, search.Proof(session.url), page_timeout=page_timeout)
        end = decode.done(result, 0, len(result))
        answer = dirsync_control.answer(result)
    except decode.Malformed as error:
        raise Failed(f"DirSync: what the server sent is not LDAP: {error}", transient=True) from error
    if end.code:
        raise Failed(f"DirSync: {words(end.code, end.diagnostic)}", transient=end.code in TRANSIENT_CODES)
    if answer is None or not answer[1]:
        raise Failed("DirSync: the server gave no cookie", transient=False)
    return *answer, found


def _sort(touched: Touched, name: str, attributes: decode.Attributes, wanted: frozenset[str]) -> None:
    guid = b"".join(attributes.get("objectguid", ()))
    if len(guid) != 16:
        raise Failed(f"the objectGUID of {name} is not visible, so it is not known what changed", transient=False)
    if domain.is_deleted(attributes):
        touched.live.pop(guid, None)
        touched.deleted.add(guid)
        return
    changed = frozenset(kind.partition(";")[0] for kind in attributes)
    before = touched.live.get(guid)
    if before is not None:  # it changed again between two answers
        changed |= before.attributes or frozenset()
    if not changed.isdisjoint(wanted):
        touched.deleted.discard(guid)
        new = "whencreated" in changed
        touched.live[guid] = Touch(name, new, changed)
