"""What SCIM resources are to a reading: people ``Users/<id>``, groups ``Groups/<id>``, and sentinels among them.

Pure: no I/O here. One for what is pulled from a provider and for what was pushed to us.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from connector.directory import assembly
from connector.directory.base import Reading
from connector.directory.groups import GroupEntry
from connector.directory.names import dn_key


def group_entries(
    names: Mapping[str, str],
    members: Mapping[str, Iterable[str]],
    people: Container[str],
    faults: Mapping[str, str] | None = None,
    left: Mapping[str, Iterable[str]] | None = None,
) -> list[GroupEntry]:
    """Every group. ``names``: group id → its name; ``members``: group id → ids of people and groups; ``people``: the
    ids that are people; ``faults``: group id → why its members are not all; ``left``: where it is told, group id → ids
    that were taken out of it."""
    found = []
    for anchor, name in names.items():
        inside: list[bytes] = []
        unknown: list[tuple[str, Sequence[str]]] = []
        for value in members.get(anchor, ()):
            if value in people or value in names:
                kind = "Users" if value in people else "Groups"
                inside.append(f"{kind}/{value}".encode("utf-8", "surrogatepass"))
            else:
                unknown.append((value, _either(value)))
        place = f"Groups/{anchor}"
        fault = (faults or {}).get(anchor, "")
        out = None if left is None else [name for value in left.get(anchor, ()) for name in _either(value)]
        found.append(GroupEntry(anchor, place, dn_key(place), name, inside, fault=fault, unknown=unknown, left=out))
    return found


def _either(value: str) -> tuple[str, ...]:
    """What an id may be the name of."""
    return (f"Users/{value}", f"Groups/{value}")


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
