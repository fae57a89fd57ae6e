"""By which names people were last read, for ledgers from before there were edges (E3, upgrade).

Writes names alone: in which groups they stood is said by the causes of memberships until a reading shows it.
"""

from __future__ import annotations

from connector.reconcile.evidence.edges import names_of
from connector.reconcile.reading import last_reading as parts
from ledger.store import edges, last_readings, people
from ledger.store.book import Book

_LOGIN = "uid"
"""What ``memberUid`` names people by, unless the directory's settings say otherwise; then the cause alone counts."""


async def keep_first_names(book: Book) -> None:
    """Keep the names of everybody linked of whom none is known, as an earlier version last read them."""
    readings = (await last_readings.readings(book)).values()
    old = [last.source_id for last in readings if not last.rules.endswith(parts.FORMAT)]
    if not old:
        return
    known = await edges.known(book, None)
    linked = {(row[2], row[3]): row[1] for row in await people.directory_links(book)}
    found: dict[edges.Listed, edges.Names] = {}
    for source_id in old:
        for content in (await last_readings.parts(book, source_id, parts.PERSON)).values():
            for anchor, entry in parts.unpack(parts.PERSON, content).items():
                listed = (source_id, linked.get((source_id, anchor), ""))
                if listed[1] and listed not in known:
                    logins = [value.decode("utf-8", "replace") for value in entry.attributes.get(_LOGIN, ())]
                    found[listed] = dict.fromkeys(names_of(entry.dn, logins), frozenset())
    await edges.replace(book, found, {})
