"""What changed, by sync searches (RFC 4533 refreshOnly): one per people base and one for the groups, a cookie each.

Concludes no deletion: what the server calls gone, or leaves out of a list of what is there, are hints (D13).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connector.directory.base import Entry
from connector.directory.changes import MOST, Changes, ChangesRequest
from connector.directory.groups import GroupEntry, group_entry
from connector.directory.ldap.follow import server_state
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import TRANSIENT_CODES, Failed, Session, words
from connector.directory.ldap.whole import membership
from connector.directory.ldap.wire import content_sync, decode
from connector.directory.mapping import anchor_text
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings
from ledger.counted import counted


def position(found: server_state.Standing) -> dict[str, Any]:
    """Where a full reading that begins now stands."""
    cookies = {name: server_state.cookie(item.csns).decode() for name, item in found.databases.items()}
    return {"method": server_state.SYNCREPL, "cookies": cookies, "databases": server_state.identities(found.databases)}


def changes(session: Session, settings: LdapSettings, request: ChangesRequest, source_id: str) -> Changes:
    """What changed since the cookies. Raises ``Failed`` and ``decode.Malformed``; then the changes are not known."""
    cookies = server_state.texts(request.since, "cookies", settings)
    told = _Told(settings)
    listing = []
    for name, (base, filter_) in server_state.searched(settings).items():
        query = search.Query(base, filter_, attributes(settings, request, name), subtree=True)
        ended = _search(session, settings, query, cookies[name], told)
        if not ended.deletes:
            listing.append(name)
        cookies[name] = ended.cookie.decode("utf-8", "replace") if ended.cookie else cookies[name]
    partly = 0 < len(listing) < len(cookies)
    for name in listing if partly else ():
        # A list that covers only some of the searches would make everybody else a hint: ask again from there.
        cookies[name] = request.since["cookies"][name]
    shown = told.people.keys() | {group.anchor for group in told.groups.values()}
    gone = frozenset(told.gone - shown)
    enough(len(gone))
    return Changes(
        source_id,
        server_state.SYNCREPL,
        people=told.people,
        groups=tuple(told.groups.values()),
        gone=gone,
        present=frozenset(told.present | shown) if listing and not partly else None,
        cursor={"method": server_state.SYNCREPL, "cookies": cookies, "databases": request.since["databases"]},
        deletes=not partly,
    )


def attributes(settings: LdapSettings, request: ChangesRequest, name: str) -> Sequence[str]:
    """What to ask for in the search that has this name in a cursor."""
    if server_state.is_groups(name):
        return membership.attributes(settings)
    return people_attributes(settings, request.attributes)


def people_attributes(settings: LdapSettings, requested: Sequence[str]) -> tuple[str, ...]:
    """What to ask of people outside a full reading: also what ``memberUid`` names them by, whoever may need it."""
    return tuple(dict.fromkeys((*requested, settings.anchor_attribute, settings.member_uid_attribute)))


class _Told:
    """What the server has told so far, over all searches. ``listed``: it also lists what is there."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self.listed = False
        self.people: dict[str, Entry] = {}
        self.groups: dict[str, GroupEntry] = {}
        self.gone: set[str] = set()
        self.present: set[str] = set()

    def put(self, entry: Entry, *, group: bool) -> None:
        """A changed entry as it is now."""
        if group:
            found = whole_group(entry, self._settings)
            self.groups[found.key] = found
        else:
            put_person(self.people, entry)
        enough(len(self.people) + len(self.groups))


def whole_group(entry: Entry, settings: LdapSettings) -> GroupEntry:
    """A changed group; ``Failed`` when something speaks against its members being all there are."""
    found = group_entry(entry, settings.group_name_attribute)
    if found.fault or not found.anchor:
        raise Failed(f"{entry.dn}: {found.fault or f'it has no {settings.anchor_attribute}'}", transient=False)
    return found


def put_person(people: dict[str, Entry], entry: Entry) -> None:
    """Add a changed person; ``Failed`` when another entry has the same anchor."""
    other = people.setdefault(entry.anchor, entry)
    if other is not entry and dn_key(other.dn) != dn_key(entry.dn):
        raise Failed(f"{entry.dn} and {other.dn} have the same anchor", transient=False)


def enough(changed: int) -> None:
    """``Failed`` from the number of changes on that makes reading everything the better way."""
    if changed > MOST:
        raise Failed(f"more than {MOST} entries changed", transient=False)


def _search(
    session: Session, settings: LdapSettings, query: search.Query, cookie: str, told: _Told
) -> content_sync.Ended:
    names = decode.Names()
    is_groups = "member" in query.attributes
    told.listed = False

    def take(data: bytes, spans: Sequence[search.Span]) -> None:
        for start, end in spans:
            if data[start] == decode.ENTRY:
                _entry(data, start, end, names, told, group=is_groups)
            elif (said := content_sync.note(data, start, end)) is not None:
                told.gone.update(said.deleted)
                told.present.update(said.present)
                told.listed = told.listed or said.present_phase

    proof = search.Proof(session.url)
    timeout = settings.page_timeout.total_seconds()
    last = search.once(session, query, content_sync.request(cookie.encode()), take, proof, page_timeout=timeout)
    done = decode.done(last, 0, len(last))
    if done.code == content_sync.REFRESH_REQUIRED:
        raise Failed("the server cannot go on from our cookie: result 4096 (e-syncRefreshRequired)", transient=False)
    if done.code != 0:
        raise Failed(f"{query.base}: {words(done.code, done.diagnostic)}", transient=done.code in TRANSIENT_CODES)
    if proof.referrals:
        shown = ", ".join(proof.referrals[:3])
        number = counted(len(proof.referrals), "referral")
        raise Failed(f"{query.base}: {number} not followed ({shown})", transient=False)
    ended = content_sync.ended(last, 0, len(last))
    if ended is None:
        raise Failed(f"{query.base}: the server did not answer the sync control", transient=False)
    return ended._replace(deletes=False) if told.listed else ended


def _entry(data: bytes, start: int, end: int, names: decode.Names, told: _Told, *, group: bool) -> None:
    state = content_sync.state(data, start, end)
    if state is None:
        raise Failed("the server sent an entry without its sync state", transient=False)
    if state.state == content_sync.DELETE:
        told.gone.add(state.anchor)
        return
    if state.state == content_sync.PRESENT:
        told.present.add(state.anchor)
        told.listed = True
        return
    name, attributes = decode.entry(data, start, end, names)
    values = attributes.pop("entryuuid", None)
    if not values or anchor_text("entryUUID", values[0]) != state.anchor:
        shown = "has no entryUUID" if not values else "is told under another entryUUID than it has"
        raise Failed(f"{name} {shown}", transient=False)
    told.put(Entry(state.anchor, name, attributes), group=group)
