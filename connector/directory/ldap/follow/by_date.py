"""What changed, by date: entries whose modifyTimestamp is not older than where we stand, less an overlap (D13).

For servers without sync searches. A deletion does not show here; only a full reading finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from connector.directory.base import Entry
from connector.directory.changes import Changes, ChangesRequest
from connector.directory.groups import GroupEntry
from connector.directory.ldap.follow import server_state, syncrepl
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Failed
from connector.directory.ldap.whole import membership
from connector.directory.ldap.whole.newest import MODIFY_TIMESTAMP, Newest, less
from connector.directory.settings import LdapSettings

OVERLAP = timedelta(minutes=5)
"""How far before where we stand changes are asked for again. An entry is dated when its change begins and seen when it
is committed, replicas see changes late, and a corrected clock repeats minutes; five cover all three on servers that
keep time, and an entry that is told twice changes nothing."""


def position(found: server_state.Standing) -> dict[str, Any]:
    """Where a full reading that begins now stands; for ``modifyTimestamp`` it has to be completed with ``since``."""
    cursor = {"method": found.method, "databases": server_state.identities(found.databases)}
    if found.method == server_state.CONTEXT_CSN:
        cursor["csns"] = {name: ";".join(item.csns) for name, item in found.databases.items()}
    return cursor


def changes(
    search_: membership.Search,
    settings: LdapSettings,
    request: ChangesRequest,
    found: Mapping[str, server_state.Database],
    newest: Newest,
) -> Changes:
    """What changed since the cursor. ``found``: where the databases stood before this began; ``newest`` sees every
    entry that ``search_`` returns. Raises ``Failed``; then the changes are not known. The caller adds whose they are.
    """
    since = request.since
    cursor: dict[str, Any] = {"method": since["method"], "databases": since["databases"]}
    if since["method"] == server_state.CONTEXT_CSN:
        cursor["csns"] = {name: ";".join(database.csns) for name, database in found.items()}
        earlier = server_state.earlier(since, settings)
        stamps = {name: server_state.oldest_news(earlier[name], database) for name, database in found.items()}
    else:
        newest.stamp = str(since.get("since", ""))
        stamps = dict.fromkeys(found, newest.stamp)
    people: dict[str, Entry] = {}
    groups: list[GroupEntry] = []
    seconds = 0.0
    for name, (base, filter_) in server_state.searched(settings).items():
        wanted = syncrepl.attributes(settings, request, name)
        dated = f"(&{filter_}(modifyTimestamp>={less(stamps[name], OVERLAP)}))"
        entries, proof = search_(search.Query(base, dated, wanted, settings.page_size))
        if proof.reason:
            raise Failed(f"{base}: {proof.reason}", transient=proof.transient)
        seconds += proof.seconds
        for entry in entries:
            if server_state.is_groups(name):
                groups.append(syncrepl.whole_group(entry, settings))
            else:
                syncrepl.put_person(people, entry)
        syncrepl.enough(len(people) + len(groups))
    if newest.undated:
        raise Failed("an entry shows no modifyTimestamp", transient=False)
    if since["method"] == MODIFY_TIMESTAMP:
        cursor["units"] = since.get("units")
        cursor["since"] = max(newest.before(seconds), str(since["since"]))
    method = str(since["method"])
    return Changes("", method, people=people, groups=tuple(groups), cursor=cursor, deletes=False)
