"""How new the content of a reading is, as its server says it (E2). Pure: values only; no I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

CONTEXT_CSN, USN, EXPORTED = "contextCSN", "highestCommittedUSN", "export time"
Marks = Mapping[str, Mapping[str, str]]
"""Part of the content (searched base, suffix; empty: all of it) → origin of changes (server id, …) → its newest change,
as text that orders as the changes do. Under ``IDENTITY``: what tells this database from another one."""
IDENTITY = ""


class Stand(msgspec.Struct, frozen=True):
    """Where one server stood while it was read. ``kind``: what the marks are; empty: it says nothing of the sort.

    The content is at least as new as ``marks`` and at most as new as ``upto``: the one is asked for before a reading
    begins, the other after it ended. ``servers``: all that could have answered.
    """

    server: str
    kind: str = ""
    marks: Marks = {}
    upto: Marks = {}
    servers: tuple[str, ...] = ()


def between(before: Stand, after: Stand) -> Stand:
    """The stand of a reading between these two; it says nothing where one of them does not."""
    if not before.kind or before.kind != after.kind:
        return Stand(before.server, servers=before.servers)
    return Stand(before.server, before.kind, before.marks, after.upto, before.servers)


def made_by(csn: str) -> str:
    """The id of the server that made a change: the third part of its CSN."""
    return csn.split("#")[2] if csn.count("#") == 3 else ""


def csn_marks(identity: str, csns: Sequence[str]) -> dict[str, str]:
    """The marks of one database out of its contextCSN values."""
    return {IDENTITY: identity, **{made_by(csn) or "?": csn for csn in csns}}
