"""The address that counts of every entry that shows several, and who is told of another one in front (E7).

Pure: no I/O, no clock here.
"""

from __future__ import annotations

import msgspec

from connector.reconcile.desired.ground import Ground
from connector.reconcile.evidence.addresses import chosen, first_beside
from connector.reconcile.plan.changes import Problem
from ledger.identity import IdentityState


def addressed(ground: Ground) -> Ground:
    """The same ground with the address that counts of every entry that shows several."""
    sources = dict(ground.sources)
    for source_id, source in ground.sources.items():
        links = ground.recorded.links.get(source_id, {})
        several = [anchor for anchor, person in source.people.items() if person.other_mails]
        if not several:
            continue
        people = dict(source.people)
        for anchor in several:
            person, link = people[anchor], links.get(anchor)
            holder = ground.recorded.identities.get(link.identity_id) if link else None
            mail = chosen(person, holder.mail_key if holder else "", ground.domains.open)
            people[anchor] = person if mail == person.mail else person.with_mail(mail)
        sources[source_id] = msgspec.structs.replace(source, people=people)
    return msgspec.structs.replace(ground, sources=sources)


def kept_addresses(ground: Ground) -> tuple[Problem, ...]:
    """One for each who keeps the present address while another one comes first, in the run that finds the entry
    changed: so everybody is told once."""
    found: list[Problem] = []
    for source_id, source in ground.sources.items():
        links = ground.recorded.links.get(source_id, {})
        for anchor, person in source.people.items():
            link = links.get(anchor) if person.other_mails and person.enabled else None
            if link is None or link.fingerprint == person.fingerprint:
                continue
            holder = ground.recorded.identities[link.identity_id]
            first = first_beside(person, holder.mail_key, ground.domains.open)
            if first is not None and holder.state == IdentityState.ACTIVE:
                text = (
                    f"{holder.mail_key} keeps this address: {person.dn} ({source_id}:{anchor}) shows {first.text}"
                    f" first, and still the present one; a run renames only when that one leaves the entry, by hand"
                    f" `rosterd rename {holder.mail_key} --to {first.text}` does"
                )
                found.append(Problem("alias", text, (holder.mail_key,)))
    return tuple(found)
