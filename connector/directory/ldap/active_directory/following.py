"""Following one domain controller (D13): by DirSync where it lets us, else by uSNChanged, and how to tell what is lost.

Both say only which objects changed. Each of them is then read as it is now, by the search of full readings, so that
ranges, primary groups and filters count here as they count there. Whatever could make one membership wrong is ``lost``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from connector.directory import dn
from connector.directory.changes import MOST, Changes, ChangesRequest
from connector.directory.ldap.active_directory import dirsync, domain, reread, touched
from connector.directory.ldap.session.connection import Failed, Session
from connector.directory.ldap.session.search import Query
from connector.directory.ldap.wire.dirsync_control import DIRSYNC, SHOW_DELETED
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings

ANCHOR = "objectGUID"
_SHAPE = frozenset(
    {"name", "whencreated", "isdeleted", "objectclass", "objectcategory", "objectsid", "primarygroupid"}
    | {"member", "uniquemember", "memberuid", "ntsecuritydescriptor"}
)
"""What decides whether and where an entry is seen, and who is in a group, whatever is mapped."""
_ALWAYS_SENT = frozenset({"objectguid", "instancetype"})
_LEAVES = frozenset({b"user", b"group", b"contact"})
_UNITS = 50
"""So many units that may have moved are looked into; more of them are a reorganization."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How one domain controller can be followed. ``position``: None where it cannot; ``why``: why not, or why not in a
    better way (empty when there is none)."""

    position: touched.Position | None
    why: str = ""

    def __str__(self) -> str:
        method = self.position.method if self.position else "none"
        return f"{method} ({self.why})" if self.why else method


def choose(session: Session, settings: LdapSettings) -> Choice:
    """What fits this server, these settings and this account, and where the server stands now."""
    page_timeout = settings.page_timeout.total_seconds()
    root = domain.root_entry(session, page_timeout, followed=True)
    reason, database = _fault(session, root, settings, ())
    if reason:
        return Choice(None, reason)
    plain = touched.Position(database, root.usn)
    shown = domain.shows_deleted(session, root, page_timeout)
    hidden = "" if shown else "deletions show only in a full reading: the account does not see deleted objects"
    if DIRSYNC not in root.controls:
        return Choice(plain, "; ".join(filter(None, ("the server does not offer DirSync", hidden))))
    try:
        cookie = dirsync.here(session, root, page_timeout)
    except Failed as failure:
        return Choice(plain, "; ".join(filter(None, (failure.reason, hidden))))
    return Choice(replace(plain, cookie=base64.b64encode(cookie).decode("ascii")), hidden)


def changes(session: Session, settings: LdapSettings, request: ChangesRequest, search: reread.Search) -> Changes:
    """What changed since ``request.since``. Raises ``Failed`` where that is lost.

    ``search`` is that of full readings, which puts the parts of a group's members together.
    """
    return _Followed(session, settings, request).read(search)


class _Followed:
    """One call."""

    def __init__(self, session: Session, settings: LdapSettings, request: ChangesRequest) -> None:
        self._session = session
        self._settings = settings
        self._request = request
        self._timeout = settings.page_timeout.total_seconds()
        self._asserted = domain.asserted(settings.people_filter) | domain.asserted(settings.groups_filter)

    def read(self, search: reread.Search) -> Changes:
        """Raises ``Failed`` where the changes are lost."""
        root = domain.root_entry(self._session, self._timeout, followed=True)
        since = self._checked(root)
        found = self._touched(root, since)
        if len(found) > MOST:
            raise Failed(f"more than {MOST} objects changed, so that everything is read", transient=False)
        shown = domain.shows_deleted(self._session, root, self._timeout)
        entered = [touch.dn for touch in found.live.values() if touch.may_enter(self._asserted)]
        now = reread.reread(search, self._settings, self._request, found, entered)
        seen = now.people.keys() | {group.anchor for group in now.groups}
        rest = {guid: touch for guid, touch in found.live.items() if reread.anchor(guid) not in seen}
        self._nobody_moved_along(root, rest)
        cookie = base64.b64encode(found.cookie).decode("ascii")
        position = touched.Position(since.invocation, root.usn, cookie)
        return Changes(
            self._settings.id, since.method, now.people, now.groups,
            gone=frozenset(map(reread.anchor, (*rest, *found.deleted))) - seen,
            deleted=frozenset(map(reread.anchor, found.deleted)) - seen,
            cursor=position.as_cursor(),
            deletes=shown, server=self._session.url,
        )  # fmt: skip

    def _checked(self, root: domain.RootEntry) -> touched.Position:
        """The cursor's position, if this server can vouch for it."""
        since = touched.position(self._request.since)
        if since is None:
            raise Failed("the cursor holds no position of a domain controller", transient=False)
        reason, database = _fault(self._session, root, self._settings, self._request.attributes)
        if reason:
            raise Failed(reason, transient=False)
        if database != since.invocation:
            other = f"this database is {database}, the cursor's {since.invocation}"
            reason = f"the cursor is of another domain controller, or of this one before it was restored ({other})"
            raise Failed(reason, transient=False)
        if root.usn < since.usn:
            reason = f"this domain controller is at update {root.usn}, the cursor already at {since.usn}"
            raise Failed(f"{reason}: it was put back to an earlier state", transient=False)
        return since

    def _touched(self, root: domain.RootEntry, since: touched.Position) -> touched.Touched:
        if not since.cookie:
            return _numbered_above(self._session, root, since.usn, self._timeout)
        try:
            cookie = base64.b64decode(since.cookie, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Failed(f"the cursor's cookie cannot be read: {error}", transient=False) from error
        wanted = {name.partition(";")[0].lower() for name in self._request.attributes}
        wanted |= {*_SHAPE, *self._asserted, self._settings.group_name_attribute.lower()}
        wanted -= _ALWAYS_SENT
        return dirsync.since(self._session, root, cookie, frozenset(wanted), self._timeout)

    def _nobody_moved_along(self, root: domain.RootEntry, rest: Mapping[bytes, touched.Touch]) -> None:
        """A unit that was renamed or moved takes along who is below, and none of them counts as changed."""
        head = dn.key(root.domain)
        moved = {guid: touch for guid, touch in rest.items() if touch.renamed and dn_key(touch.dn) != head}
        for guid in self._leaves(root, moved):
            del moved[guid]
        if len(moved) > _UNITS:
            raise Failed(f"{len(moved)} units may have been renamed or moved: everything is read", transient=False)
        below = f"(|{self._settings.people_filter}{self._settings.groups_filter})"
        for touch in moved.values():
            query = Query(touch.dn, below, ["1.1"], 10, elsewhere=domain.anywhere, most=1)
            found, proof = domain.gather(self._session, query, self._timeout)
            if found or proof.reason:
                reason = f"{touch.dn} may have been renamed or moved, and with it who is below: everything is read"
                raise Failed(reason, transient=proof.transient)

    def _leaves(self, root: domain.RootEntry, moved: Mapping[bytes, touched.Touch]) -> set[bytes]:
        """Those below which the schema allows no person and no group."""
        leaves = set()
        for some in reread.chunks(reread.equals(ANCHOR, guid) for guid in moved):
            query = Query(root.domain, some, [ANCHOR, "objectClass"], 1000, elsewhere=domain.anywhere)
            found, proof = domain.gather(self._session, query, self._timeout)
            if proof.reason:
                raise Failed(f"what moved was not read: {proof.reason}", transient=proof.transient)
            for _, attributes in found:
                classes = {value.lower() for value in attributes.get("objectclass", ())}
                leaves |= set(attributes.get(ANCHOR.lower(), ())) if classes & _LEAVES else set()
        return leaves & moved.keys()


def _fault(
    session: Session, root: domain.RootEntry, settings: LdapSettings, attributes: Iterable[str]
) -> tuple[str, str]:
    """Why this server cannot be followed under these settings, or "" and which database it is."""
    page_timeout = settings.page_timeout.total_seconds()
    if root.doubt:
        return root.doubt, ""
    if settings.anchor_attribute.lower() != ANCHOR.lower():
        return f"anchor_attribute is not {ANCHOR}, so that a deleted object is not recognised", ""
    asserted = domain.asserted(settings.people_filter) | domain.asserted(settings.groups_filter)
    looked_at = (*attributes, settings.group_name_attribute)
    names = {*asserted, *(name.partition(";")[0].lower() for name in looked_at)}
    wrong, reason = domain.unfollowable(session, root, names, page_timeout)
    if wrong:
        listed = ", ".join(sorted(wrong))
        reason = f"what a filter or a mapping looks at changes without its object being reported ({listed})"
    if reason:
        return reason, ""
    database, reason = domain.invocation(session, root, page_timeout)
    if not reason and root.usn <= 0:
        reason = "this domain controller does not say its highestCommittedUSN"
    return reason, database


def _numbered_above(session: Session, root: domain.RootEntry, usn: int, page_timeout: float) -> touched.Touched:
    """Every object of the domain with a higher update sequence number, deleted ones as far as they are shown: needs no
    control and no right to replicate. Raises ``Failed``."""
    query = Query(
        root.domain, f"(uSNChanged>={usn + 1})", ["objectGUID", domain.IS_DELETED, "uSNCreated"], 1000,
        elsewhere=domain.anywhere, controls=SHOW_DELETED, most=MOST,
    )  # fmt: skip
    found, proof = domain.gather(session, query, page_timeout)
    if proof.reason:
        raise Failed(f"what changed was not read: {proof.reason}", transient=proof.transient)
    above = touched.Touched()
    for name, attributes in found:
        guid = b"".join(attributes.get("objectguid", ()))
        if len(guid) != 16:
            raise Failed(f"the objectGUID of {name} is not visible, so it is not known what changed", transient=False)
        if domain.is_deleted(attributes):
            above.deleted.add(guid)
            continue
        above.live[guid] = touched.Touch(name, domain.number(attributes, "usncreated") > usn)
    return above
