"""The one place where evidence is made: whatever pauses, leaves, releases, disables or removes is handed one (E0–E3).

Pure: no I/O, no clock here. None means that nothing is proved yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from connector.directory.names import LOGIN
from connector.reconcile.evidence.edges import Weak
from connector.reconcile.plan.changes import Change, Harm, Kind


class Proof(StrEnum):
    """What kind of evidence it is."""

    RULED = "ruled"
    """A policy, a person, a term, or an attribute with another value says so (E0)."""
    STATED = "stated"
    """The linked entry, or the source's proof of a deletion, says so (E1)."""
    ABSENT = "absent"
    """Two complete readings, far enough apart, do not show the entry (E2)."""
    UNSUPPORTED = "unsupported"
    """In two complete readings nothing that a membership rests on is left (E3)."""
    DOUBTED = "doubted"
    """A name kept somebody absent for so long that a person decides; their approval is the evidence (E15)."""


class Evidence(msgspec.Struct, frozen=True):
    """Why something may be taken. ``why`` in words; ``doubt``: what a person has to decide before, mostly empty."""

    proof: Proof
    why: str
    doubt: str = ""


def ruled(why: str) -> Evidence:
    """E0: at once."""
    return Evidence(Proof.RULED, why)


def stated(why: str) -> Evidence:
    """E1: at once."""
    return Evidence(Proof.STATED, why)


def deleted() -> Evidence:
    """E1: the source proves it."""
    return Evidence(Proof.STATED, "a tombstone proves the entry was deleted")


def absent(firsts: Sequence[datetime | None], late: datetime) -> Evidence | None:
    """E2. ``firsts``: for each link, when the first complete reading ended that did not show it; ``late``: by when it
    must have, for this reading to count as a second one."""
    confirmed = all(first is not None and first <= late for first in firsts)
    return Evidence(Proof.ABSENT, "absent in two complete readings") if confirmed and firsts else None


def unsupported(first: datetime | None, late: datetime, what: str) -> Evidence | None:
    """E3; parameters as of ``absent``, ``what`` is no longer so."""
    return Evidence(Proof.UNSUPPORTED, f"{what} in two complete readings") if first and first <= late else None


def doubted(first: datetime | None, late: datetime, subject: str, kept_by: str, weak: Weak | None) -> Evidence | None:
    """E15. ``first``: since when the doubt stands; ``kept_by``: what it is, ``weak`` the value behind it, if any."""
    if first is None or first > late:
        return None
    mend = f"; if they have left, remove the value with `{removal_command(weak)}`, or approve" if weak else ""
    text = f"{subject}: not shown since {first:%Y-%m-%d}, and kept because {kept_by}{mend or ': approve if they left'}"
    return Evidence(Proof.DOUBTED, f"not shown for so long that a person decided, though {kept_by}", text)


def still_listed(weak: Weak, root: str, reference: str) -> str:
    """Which value stands for somebody, and where: in the mapped group ``reference`` (its DN ``root``), or inside."""
    where = f"group {reference}" if weak.group == root else f"group {weak.group}, inside {reference},"
    if weak.lost:
        return f"{where} has lost them, and nobody took them out (add them again there, or take them out)"
    if weak.instead:
        return f"{where} lists {weak.value}, whom nobody here may see, in place of what it listed before"
    return f"{where} still lists {weak.value}"


def removal_command(weak: Weak) -> str:
    """What removes a member value from its group, on any LDAP server."""
    login = weak.value.startswith(LOGIN)
    kind, value = ("memberUid", weak.value.removeprefix(LOGIN)) if login else ("member", weak.value)
    lines = f"dn: {weak.group}\\nchangetype: modify\\ndelete: {kind}\\n{kind}: {value}\\n"
    return f"printf '{lines}' | ldapmodify -H SERVER -D ADMINISTRATOR -W"


def following(evidence: Evidence | None, why: str) -> Evidence:
    """What ends because something else does (a seat with its last reason), on the same proof; None: it was ruled."""
    return Evidence(evidence.proof if evidence else Proof.RULED, why)


def removal(evidence: Evidence, kind: Kind, subject: str, harm: Harm, **parts: str) -> Change:
    """The only maker of changes that take something away, ``parts`` as of ``Change``: its cause is the evidence."""
    return Change(kind, subject, harm=harm, cause=evidence.why, **parts)
