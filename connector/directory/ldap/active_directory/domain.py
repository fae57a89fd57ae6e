"""What a domain controller says of itself, of its schema and of what it may show (D12, D13).

Asks a few small questions on an open session; decides nothing, and never raises for what the server answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from connector.directory import dn
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Session
from connector.directory.ldap.wire import decode, dirsync_control
from connector.directory.stand import IDENTITY, USN, Marks

ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"
"""The capability (MS-ADTS 3.1.1.3.4.3.1) that a domain controller shows in its root entry."""

_PARTITIONS = ("cn=configuration,", "dc=domaindnszones,", "dc=forestdnszones,")
_DELETED_OBJECTS = "<WKGUID=18E2EA80684F11D2B9AA00C04F79F805,{domain}>"
_TOMBSTONE = "\\0adel:"
"""What stands in the name of every deleted object (MS-ADTS 3.1.1.5.5.1.1)."""

IS_DELETED = "isDeleted"

_NOT_REPLICATED, _CONSTRUCTED = 0x1, 0x4
_ALWAYS = frozenset({"objectguid", "distinguishedname"})
"""Not replicated, but an object whose name changes is reported, and its GUID never changes."""
_ASSERTED = re.compile(r"\(\s*([^()&|!=<>~]*)[<>~]?=")
_NUMBER = re.compile(rb"-?[0-9]{1,19}")
_IN_CHAIN = "1.2.840.113556.1.4.1941"

Found = list[tuple[str, decode.Attributes]]


@dataclass(frozen=True, slots=True)
class RootEntry:
    """What a server says of itself. ``doubt``: why what it holds proves nothing about the domain; empty: it does.

    ``usn``: the highest update sequence number it has committed, 0 when it does not say; ``service``: the DN of its
    NTDS settings; ``schema``: the DN of the schema.
    """

    domain: str
    doubt: str
    controls: frozenset[bytes] = frozenset()
    usn: int = 0
    service: str = ""
    schema: str = ""


def gather(session: Session, query: search.Query, page_timeout: float) -> tuple[Found, search.Proof]:
    """Run a query; all its entries (DN, attributes) and the proof."""
    found: Found = []
    names = decode.Names()

    def take(data: bytes, spans: Sequence[search.Span]) -> None:
        found.extend(decode.entry(data, start, end, names) for start, end in spans)

    return found, search.run(session, query, take, page_timeout=page_timeout)


def root_entry(session: Session, page_timeout: float, *, followed: bool = False) -> RootEntry:
    """Ask the server what it is, and what whoever follows it has to know of it."""
    wanted = ["supportedCapabilities", "defaultNamingContext", "isSynchronized"]
    wanted += ["supportedControl", "highestCommittedUSN", "dsServiceName", "schemaNamingContext"] if followed else []
    found, proof = gather(session, search.Query("", "(objectClass=*)", wanted), page_timeout)
    if proof.reason or not found:
        return RootEntry("", f"its root entry was not read: {proof.reason or 'it is hidden'}")
    attributes = found[0][1]
    domain, service, schema = (
        b"".join(attributes.get(name, ())).decode("utf-8", "replace")
        for name in ("defaultnamingcontext", "dsservicename", "schemanamingcontext")
    )
    doubt = ""
    if ACTIVE_DIRECTORY not in attributes.get("supportedcapabilities", ()):
        doubt = "this is not an Active Directory domain controller"
    elif attributes.get("issynchronized", (b"TRUE",)) != (b"TRUE",):
        doubt = "this domain controller is not synchronized with the others yet"
    controls = frozenset(attributes.get("supportedcontrol", ()))
    return RootEntry(domain, doubt, controls, number(attributes, "highestcommittedusn"), service, schema)


def number(attributes: decode.Attributes, name: str) -> int:
    """The one whole number of an attribute; 0 when there is none."""
    values = attributes.get(name, ())
    return int(values[0]) if len(values) == 1 and _NUMBER.fullmatch(values[0]) else 0


def invocation(session: Session, root: RootEntry, page_timeout: float) -> tuple[str, str]:
    """The invocationId of the server's database, in hex, and "" (or "" and why it is not known).

    It is another one for every domain controller, and a new one after a restore: update sequence numbers count only
    together with it (MS-ADTS 3.1.1.1.9).
    """
    found, proof = gather(session, search.Query(root.service, "(objectClass=*)", ["invocationId"]), page_timeout)
    values = found[0][1].get("invocationid", ()) if found else ()
    if proof.reason or len(values) != 1 or len(values[0]) != 16:
        return "", f"the invocationId of this domain controller is not visible{proof.reason and ': ' + proof.reason}"
    return values[0].hex(), ""


def marks(session: Session, page_timeout: float) -> tuple[str, Marks]:
    """The kind and the marks of a stand (E2): none where the server does not say both parts of where it is."""
    root = root_entry(session, page_timeout, followed=True)
    database, why = invocation(session, root, page_timeout) if not root.doubt else ("", root.doubt)
    if why or root.usn <= 0:
        return "", {}
    return USN, {"": {IDENTITY: database, "usn": f"{root.usn:020}"}}  # as text that orders as the numbers do


def shows_deleted(session: Session, root: RootEntry, page_timeout: float) -> bool:
    """Whether deleted objects are shown to the account. Only seeing one proves it: hidden ones look like none."""
    query = search.Query(
        _DELETED_OBJECTS.format(domain=root.domain), "(isDeleted=TRUE)", ["1.1"], 10,
        elsewhere=anywhere, controls=dirsync_control.SHOW_DELETED, most=1,
    )  # fmt: skip
    found, _ = gather(session, query, page_timeout)
    return any(_TOMBSTONE in name.lower() for name, _ in found)


def is_deleted(attributes: Mapping[str, Sequence[bytes]]) -> bool:
    """Whether the domain says of an object that it was deleted: proof, however little else is shown of it."""
    return tuple(attributes.get(IS_DELETED.lower(), ())) == (b"TRUE",)


def asserted(filter_: str) -> frozenset[str]:
    """What a filter's matches depend on: attribute names in lower case, without options.

    ``dn`` where it matches against the DN itself, and the matching rule where it follows links to other entries.
    """
    found = set()
    for item in _ASSERTED.findall(filter_):
        name, *rest = item.strip().lower().split(":")
        found.add(name.partition(";")[0])
        found.update(part for part in rest if part in {"dn", _IN_CHAIN})
    return frozenset(found - {""})


def unfollowable(
    session: Session, root: RootEntry, names: Iterable[str], page_timeout: float
) -> tuple[frozenset[str], str]:
    """Which of these attributes change without their object being reported (computed, links back, not replicated).

    ``memberOf`` is the one people use: it changes with the group. Names that the schema does not know never have a
    value. Returns the names and "", or nothing and why it is not known.
    """
    asked = sorted({name for name in names if name not in _ALWAYS})
    wrong = {name for name in asked if name in {"dn", _IN_CHAIN}}
    terms = "".join(f"({'attributeID' if name[0].isdigit() else 'lDAPDisplayName'}={name})" for name in asked)
    query = search.Query(
        root.schema, f"(&(objectClass=attributeSchema)(|(lDAPDisplayName=objectGUID){terms}))",
        ["lDAPDisplayName", "attributeID", "systemFlags", "linkID"], 1000, elsewhere=anywhere,
    )  # fmt: skip
    found, proof = gather(session, query, page_timeout)
    if proof.reason or not found:
        return frozenset(), f"the schema was not read: {proof.reason or 'it is hidden'}"
    for _, attributes in found:
        flags = number(attributes, "systemflags")
        if flags & (_NOT_REPLICATED | _CONSTRUCTED) or number(attributes, "linkid") % 2:
            shown = (*attributes.get("ldapdisplayname", ()), *attributes.get("attributeid", ()))
            wrong |= {text for value in shown if (text := value.decode("ascii", "replace").lower()) in asked}
    return frozenset(wrong), ""


def is_partition(url: str) -> bool:
    """Whether a reference leads to a partition that holds no people (configuration, DNS zones), not to a domain."""
    try:
        return dn.key(unquote(urlsplit(url).path.lstrip("/"))).startswith(_PARTITIONS)
    except ValueError:
        return False


def anywhere(url: str) -> bool:
    """For questions about this domain controller's own objects alone: what lies elsewhere is not asked for."""
    return True
