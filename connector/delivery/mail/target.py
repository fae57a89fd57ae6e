"""Mail as a target of deliveries: who, in which words, through the server of ``[mail]`` (L5–L7)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from connector.delivery.mail import recipients
from connector.delivery.mail.kinds import KINDS, RAISED, MailKind, Readers
from connector.delivery.mail.message import RecipientRefused, compose
from connector.delivery.mail.recipients import Recipient
from connector.delivery.mail.relay import Relay
from connector.delivery.mail.settings import MailSettings, OrganizationMailSettings
from connector.delivery.mail.words import MOST_ITEMS, Item, Letter, Rendered, Templates
from connector.delivery.outcome import Never, Outcome
from connector.delivery.target import Pace, Parcel
from ledger.errors import BadInput
from ledger.identity import INVITE_EXPIRY, Email
from ledger.store import people, roster, runs
from ledger.store.book import Reader
from ledger.store.deliveries import Batch, Digest, Told

TARGET = "mail"


@dataclass(frozen=True, slots=True)
class Sender:
    """How one organization presents itself: its name, and ``[mail]`` of its file."""

    organization: str
    settings: OrganizationMailSettings


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What goes to the server for one recipient."""

    message: EmailMessage
    sender: str
    recipient: str


@dataclass
class MailTarget:
    """Every kind of mail that the product raises. ``senders``: organization → how it presents itself; ``links``:
    (organization, identity) → the page where an invite begins; ``public_url``: for the foot of a mail."""

    settings: MailSettings
    senders: Callable[[], Mapping[str, Sender]]
    links: Callable[[str, str], str]
    public_url: str
    clock: Callable[[], datetime]
    name: str = TARGET
    kinds: frozenset[str] = RAISED
    digest: Digest = field(init=False)
    pace: Pace = field(init=False)
    _relay: Relay = field(init=False)
    _templates: dict[Path | None, Templates] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What the settings say of pace and digests."""
        own = self.settings
        together = frozenset(kind.name for kind in KINDS.values() if kind.digest and own.digest)
        apart = frozenset(kind.name for kind in KINDS.values() if kind.readers is Readers.TEAM_ADMIN)
        self.digest = Digest(together, own.digest, MOST_ITEMS, apart)
        self.pace = Pace(own.rate, own.connections, own.retry_for)
        self._relay = Relay(own)

    async def prepare(self, reader: Reader, batch: Batch) -> list[Parcel]:
        """One mail for each recipient, all of them under the id of the batch; who cannot be written to holds up nobody
        else. Raises ``NotFound`` when nobody is there to read it, ``BadInput`` for an own template that is broken."""
        kind, sender = KINDS[batch.kind], self.senders().get(batch.organization)
        if sender is None:
            raise BadInput("the organization's file has gone", where=batch.organization)
        found = await recipients.of_batch(reader, kind, batch.messages, self.settings.operator)
        letter = await self._letter(reader, kind, batch.messages, sender, batch.organization)
        words = self._words(sender.settings.templates)
        language = sender.settings.language or self.settings.language
        parcels = list[Parcel]()
        for recipient in found:
            try:
                rendered = words.render(kind, language, letter(recipient))
                message = composed(
                    rendered, _message_id(kind, batch, recipient), self.settings, sender, recipient, self.clock()
                )
            except RecipientRefused as refused:
                parcels.append(Parcel(recipient.mail, Never(str(refused))))
                continue
            except ValueError as error:
                raise BadInput(str(error), where=kind.name) from error
            parcels.append(Parcel(recipient.mail, _Envelope(message, self.settings.envelope_sender, recipient.mail)))
        return parcels

    async def send(self, parcel: Parcel) -> Outcome:
        """Hand it to the server; see ``Relay.send``."""
        envelope: _Envelope | Never = parcel.content
        if isinstance(envelope, Never):
            return envelope
        return await self._relay.send(envelope.message, sender=envelope.sender, recipient=envelope.recipient)

    async def close(self) -> None:
        """Hang up."""
        await self._relay.close()

    def _words(self, folder: Path | None) -> Templates:
        """The templates of a folder, compiled once: that takes longer than a mail."""
        if folder not in self._templates:
            self._templates[folder] = Templates(folder)
        return self._templates[folder]

    async def _letter(
        self, reader: Reader, kind: MailKind, messages: tuple[Told, ...], sender: Sender, organization: str
    ) -> Callable[[Recipient], Letter]:
        """What every recipient reads, but for their own name."""
        items = [Item(told.payload, told.created_at, await _about(reader, told)) for told in messages]
        values: dict[str, Any] = {
            "public_url": self.public_url,
            "named": organization if len(self.senders()) > 1 else "",
        }
        if kind.readers is Readers.PERSON:
            identity = messages[0].subject
            due = await runs.due_dates_of(reader, INVITE_EXPIRY, [identity])
            row = await roster.person(reader, identity)
            if row is not None:  # what the mail says of them may be old by now
                items = [replace(item, payload={**item.payload, "mail": row.mail}) for item in items]
            values |= {
                "teams": await people.teams_of(reader, identity),
                "link": self.links(organization, identity),
                "expires_at": due.get(identity),
            }
        return lambda recipient: Letter(organization=sender.organization, items=items, person=recipient.name, **values)


def composed(
    rendered: Rendered, message_id: str, settings: MailSettings, sender: Sender, recipient: Recipient, now: datetime
) -> EmailMessage:
    """A mail in the name of one organization. Raises ``ValueError`` for what no mail may hold."""
    return compose(
        rendered,
        message_id=message_id,
        sender=sender.settings.sender or settings.sender,
        sender_name=sender.settings.sender_name or settings.sender_name or sender.organization,
        recipient=recipient.mail,
        recipient_name=recipient.name,
        reply_to=sender.settings.reply_to,
        date=now,
        language=sender.settings.language or settings.language,
    )


def _message_id(kind: MailKind, batch: Batch, recipient: Recipient) -> str:
    """The same for the same batch and recipient, however often it is sent (L6)."""
    if kind.readers is Readers.PERSON:
        return batch.id
    return f"{batch.id}.{hashlib.sha256(Email.parse(recipient.mail).key.encode()).hexdigest()[:8]}"


async def _about(reader: Reader, told: Told) -> str:
    """The name of the person that a message is about; empty when it is about something else."""
    row = await roster.person(reader, told.subject)
    return str(row.display_name or row.mail) if row is not None else ""
