"""Makes another address of somebody's own entry the one that counts (E7): runs rename only when the old one leaves.

Prohibition: no address that the entry did not show when it was last read; from then on runs keep it while it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.directory.mapping import AttributeRules, Person, map_entry
from connector.reconcile.by_hand.people import Edited, load, replace_identity, require_free
from connector.reconcile.by_hand.rules import Act
from connector.reconcile.by_hand.rules import Person as Known
from connector.reconcile.policy.invites import parse_mail
from connector.reconcile.reading.earlier import last_read
from connector.reconcile.state import gate
from ledger.audit import AuditEvent
from ledger.errors import Refused
from ledger.identity import Email
from ledger.jobs import Unleased
from ledger.store import audit, last_readings
from ledger.store.book import Reader
from ledger.store.engine import Ledger


async def rename(
    ledger: Ledger, organization: str, identity_id: str, to: str, rules: Mapping[str, AttributeRules], act: Act
) -> Edited:
    """Rename the person to ``to``, one of the addresses their linked entry shows. Needs a reason; idempotent.

    ``rules``: how each directory is mapped. Raises ``BadInput`` for what is no address, ``NotFound``, ``Refused``: not
    linked, not shown, of a domain that is not open, somebody else's.
    """
    act.require_reason()
    wanted = parse_mail(to)
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        person = await load(book, identity_id)
        person.require_whole_by(act)
        person.require_active()
        if wanted.key == person.identity.mail_key:
            return Edited(identity_id, False, f"{person.mail} is their address already")
        if not person.directory_links:
            raise Refused(
                f"no directory owns {person.mail}", where="id",
                next_step=f"PATCH /admin/v1/people/{identity_id} edits them",
            )  # fmt: skip
        mail = _shown(wanted, await _mails(book, person, rules))
        domains = await gate.look(book, book.at)
        if mail.domain not in domains.open:
            raise Refused(
                f"{mail} cannot be anybody's address now: {domains.reason(mail.domain)}", where="mail",
                next_step="rosterd sso status",
            )  # fmt: skip
        await require_free(book, mail, identity_id)
        await replace_identity(book, person, {"mail": mail.text}, mail)
        event = AuditEvent(
            act.actor, "person.renamed", identity_id, act.reason, before=person.mail, after=mail.text
        )  # fmt: skip
        await audit.append(book, [event])
        await last_readings.forget_base(book)
    note = "runs keep this address while the entry shows it"
    return Edited(identity_id, True, f"{person.mail} is {mail.text} from now on", (note,))


def _shown(wanted: Email, mails: list[Email]) -> Email:
    """The address as an entry writes it. Raises ``Refused``."""
    for mail in mails:
        if mail == wanted:
            return mail
    known = ", ".join(mail.text for mail in mails) or "none, or it is in no last reading"
    raise Refused(
        f"the linked entry did not show {wanted.text} when it was last read (it showed: {known})", where="mail",
        next_step="add the address to the entry, let a run read it (rosterd apply --auto), and try again",
    )  # fmt: skip


async def _mails(reader: Reader, person: Known, rules: Mapping[str, AttributeRules]) -> list[Email]:
    """The usable addresses of their linked entries as last read."""
    wanted: dict[str, set[str]] = {}
    for link in person.directory_links:
        wanted.setdefault(link.source_id, set()).add(link.anchor)
    found: list[Email] = []
    for (source_id, _), kept in (await last_read(reader, wanted)).items():
        entry = map_entry(kept.entry, rules[source_id]) if source_id in rules else None
        found += [entry.mail, *entry.other_mails] if isinstance(entry, Person) else []
    return found
