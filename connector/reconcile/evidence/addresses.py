"""Which address of an entry with several is its person's (E7). Pure: no I/O, no clock here.

The present one while the entry still shows it; else one in an open domain; else the first as mapped (``mail_domains``,
the order of attributes, the alphabet). So an alias that sorts first renames nobody, and one of a foreign domain freezes
nobody.
"""

from __future__ import annotations

from connector.reconcile.plan.changes import PersonSeen
from ledger.identity import Email


def chosen(person: PersonSeen, present: str, open_domains: frozenset[str]) -> Email:
    """The address that counts; ``present``: the mail key of whom the entry is linked to, empty for nobody."""
    mails = (person.mail, *person.other_mails)
    held = next((mail for mail in mails if mail.key == present), None)
    return held or next((mail for mail in mails if mail.domain in open_domains), person.mail)


def first_beside(person: PersonSeen, present: str, open_domains: frozenset[str]) -> Email | None:
    """The address that would count if ``present`` left the entry; None while ``present`` is not shown, or comes first.
    ``person``: as mapped, no address chosen yet."""
    if all(mail.key != present for mail in (person.mail, *person.other_mails)):
        return None
    first = chosen(person, "", open_domains)
    return first if first.key != present else None
