"""What SCIM resources are to a reading: people ``Users/<id>``, groups ``Groups/<id>``, and sentinels among them.

Pure: no I/O here. One for what is pulled from a provider and for what was pushed to us.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from connector.directory import assembly
from connector.directory.base import Reading
from connector.directory.groups import GroupEntry, dn_key


def group_entries(
    names: Mapping[str, str],
    members: Mapping[str, Iterable[str]],
    people: Container[str],
    faults: Mapping[str, str] | None = None,
) -> list[GroupEntry]:
    """Every group. ``names``: group id → its name; ``members``: group id → ids of people and groups; ``people``: the
    ids that are people; ``faults``: group id → why its members are not all."""
    found = []
    for anchor, name in names.items():
        inside = [_named(value, people, names) for value in members.get(anchor, ())]
        place = f"Groups/{anchor}"
        found.append(GroupEntry(anchor, place, dn_key(place), name, inside, (), (faults or {}).get(anchor, "")))
    return found


def taken_out(
    root: str, people: Container[str], members: Mapping[str, Iterable[str]], left: Mapping[str, Iterable[str]]
) -> tuple[frozenset[str], frozenset[str]]:
    """Whom pushes took out of group ``root`` itself, and whom out of the groups that are or were in it. ``left``: group
    id → ids that a push took out of it."""
    itself = frozenset(one for one in left.get(root, ()) if one in people)
    inside: set[str] = set()
    seen: set[tuple[str, bool]] = set()
    waiting = [(root, False)]
    while waiting:
        group, over = step = waiting.pop()  # over: it hangs on ``root`` by what a push ended
        if step in seen:
            continue
        seen.add(step)
        for ended, ids in ((True, left.get(group, ())), (over, members.get(group, ()))):
            waiting += [(one, ended or over) for one in ids if one not in people]
            if ended and group != root:
                inside.update(one for one in ids if one in people)
    return itself, frozenset(inside)


def _named(value: str, people: Container[str], groups: Container[str]) -> bytes:
    if value in people:
        return f"Users/{value}".encode()
    return (f"Groups/{value}" if value in groups else value).encode("utf-8", "surrogatepass")


def hidden_sentinels(sentinels: Sequence[str], people: Mapping[str, str], groups: Mapping[str, str]) -> frozenset[str]:
    """The configured sentinels that are not there. ``people`` and ``groups``: id → userName or displayName."""
    if not sentinels:
        return frozenset()
    seen = {f"Users/{text}".casefold() for pair in people.items() for text in pair}
    seen |= {f"Groups/{text}".casefold() for pair in groups.items() for text in pair}
    return frozenset(name for name in sentinels if name.casefold() not in seen)


def doubted(reading: Reading, hidden: frozenset[str]) -> Reading:
    """Scopes whose sentinels are not visible prove nothing (D3)."""
    if not hidden:
        return reading
    scopes = dict(reading.scopes)
    for sentinel in sorted(hidden):
        start = assembly.PEOPLE if sentinel.startswith("Users/") else assembly.GROUP
        for name, scope in scopes.items():
            if name.startswith(start) and not scope.missing:
                scopes[name] = assembly.unknown(scope, f"the sentinel {sentinel} is not visible")
    views = {name: view for name, view in reading.groups.items() if scopes[assembly.GROUP + name].complete}
    return replace(reading, scopes=scopes, groups=views, sentinels_missing=hidden)
