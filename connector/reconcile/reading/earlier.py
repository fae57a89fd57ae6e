"""What is known from before this reading of entries that may be relinked, and of those they would replace (E6).

Reads only: the last reading of each directory, and for an entry that is in none, the cause of a membership, which
begins with its DN.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from connector.directory.mapping import AttributeRules
from connector.reconcile.desired.addressing import addressed
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.relinking import Candidates
from connector.reconcile.plan.recorded import Earlier
from connector.reconcile.reading import last_reading as parts
from connector.reconcile.reading.last_reading import bucket_of
from ledger.store import last_readings, some_people
from ledger.store.book import Reader

_ARROW = " → "


async def with_earlier(reader: Reader, ground: Ground, rules: Mapping[str, AttributeRules]) -> Ground:
    """The ground with ``Recorded.earlier``; nothing is read where no entry is a candidate. ``rules``: by source."""
    found = _candidates(ground)
    links = [link for identity in found.of for link in found.links(identity)]
    if not links:
        return ground
    wanted: dict[str, set[str]] = {}
    for source_id, anchor in (
        *((link.source_id, link.anchor) for link in links),
        *(candidate.key for several in found.of.values() for candidate in several),
    ):
        wanted.setdefault(source_id, set()).add(anchor)
    earlier: dict[tuple[str, str], Earlier] = {}
    for source_id, anchors in wanted.items():
        earlier |= await _last_read(reader, source_id, anchors, rules.get(source_id))
    causes = await some_people.membership_causes_of(reader, found.of.keys())
    names = {row[0]: row[2].partition(_ARROW)[0] for row in causes if _ARROW in row[2]}
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


async def _last_read(
    reader: Reader, source_id: str, anchors: Collection[str], rules: AttributeRules | None
) -> dict[tuple[str, str], Earlier]:
    last = (await last_readings.readings(reader)).get(source_id)
    if last is None:
        return {}
    buckets = {bucket_of(anchor, last.buckets) for anchor in anchors}
    found: dict[tuple[str, str], Earlier] = {}
    for content in (await last_readings.parts(reader, source_id, parts.PERSON, buckets)).values():
        records = parts.unpack(parts.PERSON, content)
        for anchor in anchors & records.keys():
            enabled = rules is None or rules.account(records[anchor].entry)[0]
            found[source_id, anchor] = Earlier(records[anchor].dn, enabled)
    return found
