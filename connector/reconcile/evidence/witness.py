"""Whether a reading may witness that somebody is absent: not when its server is behind what was read before (E2).

An older copy that was put back and a failover that lags agree, reading after reading, that who was added since is not
there. So a server's stand is held against that of the last reading that was believed. The old one counts by what it may
have shown at most (``upto``), the new one by what it shows at least (``marks``): only then does the new content go on
from everything that was seen in the old one. Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from connector.directory.stand import CONTEXT_CSN, EXPORTED, IDENTITY, Marks, Stand
from ledger.instant import to_minute

ACCEPTED_AFTER = timedelta(days=7)
"""A doubt does not last for ever: by then an administrator has seen the runs that said so (exit 4)."""
LAG = timedelta(minutes=5)
"""One address may lead to several replicas that lag behind each other by so much; what went back further is a copy."""


_ANYBODYS = "000"
"""The id under which every OpenLDAP server makes changes that was given none."""


class Kept(msgspec.Struct, frozen=True):
    """What is kept of a source. ``stand``: of the last reading that was believed. ``doubted``: of the first of the
    later ones, all of one place, that were not, and ``since``: when it was made."""

    stand: Stand
    doubted: Stand | None = None
    since: datetime | None = None


class Verdict(msgspec.Struct, frozen=True):
    """``doubt``: why the reading witnesses no absence; empty: it does. ``anew``: absences noted by earlier readings do
    not count, for both have to be of one server. ``kept``: for the next run."""

    kept: Kept
    doubt: str = ""
    anew: bool = False


def judge(kept: Kept | None, now: Stand, at: datetime) -> Verdict:
    """Hold a reading that began ``at`` against what is kept; None: none was read before."""
    believed = Kept(now)
    if kept is None:
        return Verdict(believed)
    if kept.stand.server not in now.servers or _read_elsewhere(kept.stand, now):
        return Verdict(believed, anew=True)  # the organization file names others now: somebody decided
    why = doubt(kept.stand, now, kept.doubted)
    if not why:
        return Verdict(believed, anew=now.server != kept.stand.server)
    first = kept.doubted
    since = kept.since if first is not None and _place(first) == _place(now) else None
    if first is None or since is None or since > at:
        first, since = now, at
    until = since + ACCEPTED_AFTER
    if at >= until:
        return Verdict(believed, anew=True)
    text = f"{why}; if it stays so, it is believed from {to_minute(until)} on"
    return Verdict(Kept(kept.stand, first, since), text)


def doubt(last: Stand, now: Stand, before: Stand | None = None) -> str:
    """Why ``now`` may be older than ``last``, in words; empty: it is not. ``before``: the first doubted stand since.

    Where a server never said how new it is, it is believed as long as it is the same one.
    """
    same = now.server == last.server
    where = now.server if same else f"{now.server} cannot be compared with {last.server}, where people were last read"
    if not last.kind and same:
        return ""
    if not last.kind or now.kind != last.kind:
        return f"{where}: it does not say how new it is" + (f" ({last.kind}) any more" if same else "")
    if any(now.marks.get(name, {}).get(IDENTITY) != known for name, known in _identities(last, now)):
        what = "another database than before" if same else "another database"
        return f"{where}: it holds {what} ({last.kind} counts only within one)"
    behind = list(_behind(last.upto, now.marks))
    if behind:
        name, origin, had, has = behind[0]
        part = " of ".join(filter(None, (last.kind, name)))
        made = f" from server {origin}" if last.kind == CONTEXT_CSN else ""
        who = "is at an older state than when people were last read" if same else (
            f"lags behind {last.server}, where people were last read"
        )  # fmt: skip
        return f"{now.server} {who}: {part}{made} is {has or 'missing'}, and was {had}"
    if before is not None and before.server == now.server and _moved_on(last, before, now):
        return f"{now.server} was behind and was written to since: whether what it lacked has come is not known"
    return ""


def _read_elsewhere(last: Stand, now: Stand) -> bool:
    """Whether nothing that was read then is read now: the bases are others."""
    return bool(last.upto and now.marks) and last.kind == now.kind and last.upto.keys().isdisjoint(now.marks)


def _place(stand: Stand) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    found = tuple(sorted((name, marks.get(IDENTITY, "")) for name, marks in stand.marks.items()))
    return stand.server, stand.kind, found


def _identities(last: Stand, now: Stand) -> Iterator[tuple[str, str | None]]:
    for name, marks in last.upto.items():
        if name in now.marks:
            yield name, marks.get(IDENTITY)


def _behind(old: Marks, new: Marks) -> Iterator[tuple[str, str, str, str]]:
    """Part, origin, newest change then and now, of whatever is older now; parts that are not read now do not count."""
    for name, origins in sorted(old.items()):
        for origin, mark in sorted(origins.items()):
            if origin != IDENTITY and name in new and (has := new[name].get(origin, "")) < mark:
                yield name, origin, mark, has


def _moved_on(last: Stand, before: Stand, now: Stand) -> bool:
    """Whether a server that was behind may only seem to have caught up, for it makes changes of that origin itself.

    Whoever puts an older copy back, or promotes a replica that lagged, writes to it; then its newest change is newer
    than any that it lacks. Only exactly where it had been it is proved to have caught up: the newest copy was put back,
    or the changes came. What a replica has of other servers comes from them, in order.
    """
    same = now.server == last.server
    for name, origin, had, has in _behind(last.upto, before.marks):
        own = origin == _ANYBODYS if not same else _apart(has, had) > LAG
        if own and last.kind != EXPORTED and now.marks.get(name, {}).get(origin) != had:
            return True
    return False


def _apart(older: str, newer: str) -> timedelta:
    """Between two CSNs; what is none (missing, a USN) is as far away as can be."""
    try:
        found = [datetime.strptime(csn[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC) for csn in (older, newer)]
    except ValueError:
        return timedelta.max
    return found[1] - found[0]
