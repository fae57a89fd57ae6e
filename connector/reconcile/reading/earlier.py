"""What is known from before this reading of entries that may be relinked, and of those they would replace (E6).

Reads only: the last reading of each directory, and for an entry that is in none, the cause of a membership, which
begins with its DN.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import msgspec

from connector.directory.mapping import AttributeRules
from connector.reconcile.desired.addressing import addressed
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.relinking import Candidates
from connector.reconcile.evidence.causes import entry_of
from connector.reconcile.plan.recorded import Earlier
from connector.reconcile.reading import last_reading as parts
from connector.reconcile.reading.last_reading import Kept, bucket_of
from ledger.store import last_readings, some_people
from ledger.store.book import Reader


async def with_earlier(reader: Reader, ground: Ground, rules: Mapping[str, AttributeRules]) -> Ground:
    """The ground with ``Recorded.earlier``; nothing is read where no entry is a candidate. ``rules``: by source."""
    found = _candidates(ground)
    links = [link for identity in found.of for link in ground.recorded.links_of(identity)]
    if not links:
        return ground
    wanted: dict[str, set[str]] = {}
    for source_id, anchor in (
        *((link.source_id, link.anchor) for link in links),
        *(candidate.key for several in found.of.values() for candidate in several),
    ):
        wanted.setdefault(source_id, set()).add(anchor)
    earlier: dict[tuple[str, str], Earlier] = {}
    for key, old in (await last_read(reader, wanted)).items():
        enabled = key[0] not in rules or rules[key[0]].account(old.entry)[0]
        earlier[key] = Earlier(old.dn, enabled)
    causes = await some_people.membership_causes_of(reader, found.of.keys())
    names = {row[0]: name for row in causes if (name := entry_of(row[2]))}
    for link in links:
        if link.identity_id in names:
            earlier.setdefault((link.source_id, link.anchor), Earlier(names[link.identity_id]))
    return ground.with_recorded(msgspec.structs.replace(ground.recorded, earlier=earlier))


def _candidates(ground: Ground) -> Candidates:
    ground = addressed(ground)
    found, linked = Candidates(ground), ground.recorded.links
    unlinked = [
        (person, "")
        for source in ground.sources.values()
        for anchor, person in source.people.items()
        if person.enabled and anchor not in linked.get(source.source_id, {})
    ]
    here = {
        link.identity_id
        for source in ground.sources.values()
        for anchor, link in linked.get(source.source_id, {}).items()
        if anchor in source.people and source.people[anchor].enabled
    }
    if unlinked:
        found.look(unlinked, here)
    return found


async def last_read(reader: Reader, wanted: Mapping[str, Set[str]]) -> dict[tuple[str, str], Kept]:
    """(source id, anchor) → as last read, of these entries. ``wanted``: source id → anchors."""
    readings = await last_readings.readings(reader)
    found: dict[tuple[str, str], Kept] = {}
    for source_id, anchors in wanted.items():
        if source_id not in readings:
            continue
        buckets = {bucket_of(anchor, readings[source_id].buckets) for anchor in anchors}
        for content in (await last_readings.parts(reader, source_id, parts.PERSON, buckets)).values():
            records = parts.unpack(parts.PERSON, content)
            found |= {(source_id, anchor): records[anchor] for anchor in anchors & records.keys()}
    return found
