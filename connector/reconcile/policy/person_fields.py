"""Our fields of a person, as an attribute filter names and compares them: always without case. Pure: no I/O here."""

from __future__ import annotations

from connector.reconcile.plan.changes import PersonSeen
from ledger.identity import Email, a_label, fold

MAIL = "mail"
MAIL_DOMAIN = "mail_domain"
"""The domain of the mail address; no directory attribute is needed for it."""

OWN = (MAIL, MAIL_DOMAIN, "given_name", "family_name", "display_name", "employee_number")
"""Fields that every person has; what else a directory's ``attributes`` name is kept as an attribute."""


def key_of(field: str, text: str) -> str:
    """The form in which values of ``field`` are compared; empty for a blank. Raises ``ValueError`` for an address or a
    domain that is none."""
    if field == MAIL:
        return Email.parse(text).key
    return a_label(text) if field == MAIL_DOMAIN else fold(" ".join(text.split()))


def text_of(person: PersonSeen, field: str) -> str:
    """The person's value as the directory spells it; empty when the entry showed none."""
    if field == MAIL:
        return person.mail.text
    if field == MAIL_DOMAIN:
        return person.mail.domain
    return str(getattr(person, field)) if field in OWN else person.attributes.get(field, "")


def value_of(person: PersonSeen, field: str) -> str:
    """The person's value as it is compared; empty when the entry showed none."""
    if field == MAIL:
        return person.mail.key
    text = text_of(person, field)
    return text if field == MAIL_DOMAIN or not text else fold(text)
