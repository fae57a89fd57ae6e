"""What changed, by date: entries whose modifyTimestamp is not older than where we stand, less an overlap (D13).

For servers without sync searches. A deletion does not show here; only a full reading finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from connector.directory.base import Entry
from connector.directory.changes import Changes, ChangesRequest
from connector.directory.groups import GroupEntry
from connector.directory.ldap import membership, refreshing, search, standing
from connector.directory.ldap.connection import Failed
from connector.directory.settings import LdapSettings

OVERLAP = timedelta(minutes=5)
"""How far before where we stand changes are asked for again. An entry is dated when its change begins and seen when it
is committed, replicas see changes late, and a corrected clock repeats minutes; five cover all three on servers that
keep time, and an entry that is told twice changes nothing."""

_STAMP = "modifytimestamp"


class Newest:
    """The newest modifyTimestamp among entries, taken out of them; one without it makes the others say nothing."""

    def __init__(self, stamp: str = "") -> None:
        self.stamp = stamp
        self.undated = False

    def see(self, attributes: dict[str, tuple[bytes, ...]]) -> None:
        """Take one entry's date out of its attributes."""
        values = attributes.pop(_STAMP, None)
        if not values or len(values[0]) < 15 or not values[0][:14].isdigit():
            self.undated = True
        elif (stamp := values[0].decode("ascii", "replace")) > self.stamp:
            self.stamp = stamp

    def before(self, seconds: float) -> str:
        """Where a reading of so many seconds surely stood when it began: whatever it missed is dated later than that,
        less the overlap. Empty when nothing is dated."""
        if self.undated or not self.stamp:
            return ""
        return _less(self.stamp, timedelta(seconds=seconds + 1))


def needs_date(cursor: Mapping[str, Any] | None) -> bool:
    """Whether only the reading itself can say where it stands."""
    return cursor is not None and cursor.get("method") == standing.MODIFY_TIMESTAMP


def asking_for_dates(query: search.Query) -> search.Query:
    """The query, with the date of each entry."""
    return replace(query, attributes=[*query.attributes, "modifyTimestamp"])


def dated(cursor: Mapping[str, Any] | None, newest: Newest | None, seconds: float) -> Mapping[str, Any] | None:
    """The cursor with where a reading of so many seconds began; None when its entries do not say it."""
    if cursor is None or newest is None:
        return cursor
    stamp = newest.before(seconds)
    return {**cursor, "since": stamp} if stamp else None


def position(found: standing.Standing) -> dict[str, Any]:
    """Where a full reading that begins now stands; for ``modifyTimestamp`` it has to be completed with ``since``."""
    cursor = {"method": found.method, "databases": standing.identities(found.databases)}
    if found.method == standing.CONTEXT_CSN:
        cursor["csns"] = {name: ";".join(item.csns) for name, item in found.databases.items()}
    return cursor


def changes(
    search_: membership.Search,
    settings: LdapSettings,
    request: ChangesRequest,
    found: Mapping[str, standing.Database],
    newest: Newest,
) -> Changes:
    """What changed since the cursor. ``found``: where the databases stood before this began; ``newest`` sees every
    entry that ``search_`` returns. Raises ``Failed``; then the changes are not known. The caller adds whose they are.
    """
    since = request.since
    cursor: dict[str, Any] = {"method": since["method"], "databases": since["databases"]}
    if since["method"] == standing.CONTEXT_CSN:
        cursor["csns"] = {name: ";".join(database.csns) for name, database in found.items()}
        earlier = standing.earlier(since, settings)
        stamps = {name: standing.oldest_news(earlier[name], database) for name, database in found.items()}
    else:
        newest.stamp = str(since.get("since", ""))
        stamps = dict.fromkeys(found, newest.stamp)
    people: dict[str, Entry] = {}
    groups: list[GroupEntry] = []
    seconds = 0.0
    for name, (base, filter_) in standing.searched(settings).items():
        wanted = refreshing.attributes(settings, request, name)
        dated = f"(&{filter_}(modifyTimestamp>={_less(stamps[name], OVERLAP)}))"
        entries, proof = search_(search.Query(base, dated, wanted, settings.page_size))
        if proof.reason:
            raise Failed(f"{base}: {proof.reason}", transient=proof.transient)
        seconds += proof.seconds
        for entry in entries:
            if standing.is_groups(name):
                groups.append(refreshing.whole_group(entry, settings))
            else:
                refreshing.put_person(people, entry)
        refreshing.enough(len(people) + len(groups))
    if newest.undated:
        raise Failed("an entry shows no modifyTimestamp", transient=False)
    if since["method"] == standing.MODIFY_TIMESTAMP:
        cursor["units"] = since.get("units")
        cursor["since"] = max(newest.before(seconds), str(since["since"]))
    method = str(since["method"])
    return Changes("", method, people=people, groups=tuple(groups), cursor=cursor, deletes=False)


def _less(stamp: str, span: timedelta) -> str:
    return f"{standing.instant(stamp) - span:%Y%m%d%H%M%S}Z"
