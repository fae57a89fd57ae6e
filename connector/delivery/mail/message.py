"""A mail as it is handed to a server: headers that cannot be forged by a name, text and HTML, the same bytes each time.

Pure: no I/O here, no clock. Header values are encoded here and not by the standard library, whose folding takes the
quotes from a name with a comma and a letter outside ASCII (a second address), and leaves ``=?`` in a name to be read as
an encoding.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime

from connector.delivery.mail.characters import is_control, name, one_line
from connector.delivery.mail.words import Rendered
from ledger.identity import Email
from ledger.instant import require_aware
from ledger.settings import Language

_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_WORDS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~. -]*")
"""Names that stand in a header without quotes."""
_CHUNK, _LINE, _LONGEST_WORD = 39, 76, 60
"""Octets in one encoded word (64 characters with its marks) · characters of a folded line · of a word in it."""


class _Header(str):
    """The value of a header beside the form in which it goes out; ``EmailMessage`` takes it as it is, because it has
    ``name`` and ``fold``."""

    __slots__ = ("name", "wire")
    name: str
    wire: str

    def fold(self, *, policy: policy.EmailPolicy) -> str:
        """The whole header, folded."""
        return f"{self.name}: {self.wire}".replace("\n", policy.linesep) + policy.linesep


class RecipientRefused(ValueError):
    """What is wrong is the recipient's: their mail cannot be written, everybody else's can."""


def compose(
    rendered: Rendered,
    *,
    message_id: str,
    sender: str,
    sender_name: str,
    recipient: str,
    recipient_name: str,
    reply_to: str,
    date: datetime,
    language: Language,
) -> EmailMessage:
    """One mail to one recipient. ``message_id``: the id of the outbox message, so that the same is the same at the
    receiver (L6). Names are cut to 64 characters, without characters that turn the direction; empty: the address
    alone. ``reply_to`` empty: none is said. Domains are written as A-labels; the policy has ``utf8`` when an address is
    not ASCII before its @: then the server needs SMTPUTF8.

    Raises ``ValueError``, naming the value, for a control character in any of them, for an address that no relay takes
    (``Email.refused_by_relays``, which judges addresses at intake too), and for what is no id; ``RecipientRefused``
    where that is the recipient's.
    """
    values = {
        "message_id": message_id,
        "sender": sender,
        "sender_name": sender_name,
        "recipient": recipient,
        "recipient_name": recipient_name,
        "reply_to": reply_to,
        "subject": rendered.subject,
    }
    for which, value in values.items():
        if any(is_control(character) for character in value):
            raise _refused(which, "holds a line break or another control character")
    if not _ID.fullmatch(message_id):
        raise ValueError("message_id is letters, digits and . _ -")
    sender, recipient = _address("sender", sender), _address("recipient", recipient)
    reply_to = _address("reply_to", reply_to) if reply_to else ""
    for which, value in (("text", rendered.text), ("html", rendered.html)):
        if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise ValueError(f"{which} holds half of a character (a lone surrogate)")
    ascii_only = (sender + recipient + reply_to).isascii()
    message = EmailMessage(policy.SMTP if ascii_only else policy.SMTPUTF8)
    headers = [
        ("From", *_mailbox(sender_name, sender)),
        ("To", *_mailbox(recipient_name, recipient)),
        *([("Reply-To", reply_to, reply_to)] if reply_to else []),
        ("Subject", one_line(rendered.subject), _unstructured(one_line(rendered.subject))),
        ("Date", *(format_datetime(require_aware(date)),) * 2),
        ("Message-ID", *(f"<{message_id}@{sender.rpartition('@')[2]}>",) * 2),
        ("Auto-Submitted", *("auto-generated",) * 2),
    ]
    for title, value, wire in headers:
        message[title] = _header(title, value, wire)
    message.set_content(_lines(rendered.text), cte="quoted-printable")
    message.add_alternative(_lines(rendered.html), subtype="html", cte="quoted-printable")
    message["Content-Language"] = language  # after the parts, which take what begins with Content-
    # no line of a part can begin so: in quoted-printable the sign = is written =3D
    message.set_boundary(f"=_{hashlib.sha256(message_id.encode()).hexdigest()[:40]}")
    return message


def _refused(which: str, why: str) -> ValueError:
    return (RecipientRefused if which.startswith("recipient") else ValueError)(f"{which} {why}")


def _address(which: str, value: str) -> str:
    """The address as every server can read it. What is raised repeats none of it."""
    try:
        address = Email.parse(value)
    except ValueError as error:
        raise _refused(which, "is not a mail address") from error
    if why := address.refused_by_relays:
        raise _refused(which, f"is not a mail address: {why}")
    return f"{address.text.rpartition('@')[0]}@{address.domain}"


def _header(title: str, value: str, wire: str) -> _Header:
    made = _Header(value)
    made.name, made.wire = title, wire
    return made


def _mailbox(shown: str, address: str) -> tuple[str, str]:
    """A name with its address: as a reader of the message sees it, and as it goes out."""
    kept = name(shown)
    if not kept:
        return address, address
    quoted = '"' + kept.replace("\\", "\\\\").replace('"', '\\"') + '"'
    plain = kept.isascii() and "=?" not in kept
    wire = (kept if _WORDS.fullmatch(kept) and "." not in kept else quoted) if plain else _encoded(kept)
    return f"{quoted} <{address}>", f"{wire}\n <{address}>"


def _unstructured(text: str) -> str:
    """ASCII as it is, folded between words; else encoded words."""
    words = text.split(" ")
    if not text.isascii() or "=?" in text or any(len(word) > _LONGEST_WORD for word in words):
        return _encoded(text)
    lines, room = [""], _LINE - len("Subject: ")
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
            room = _LINE - 1
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\n ".join(lines)


def _encoded(text: str) -> str:
    """Encoded words (RFC 2047) of whole characters, one a line."""
    chunks, chunk = [], b""
    for character in text:
        octets = character.encode("utf-8")
        if len(chunk) + len(octets) > _CHUNK:
            chunks.append(chunk)
            chunk = b""
        chunk += octets
    return "\n ".join(f"=?utf-8?b?{b64encode(part).decode()}?=" for part in (*chunks, chunk))


def _lines(text: str) -> str:
    """Line breaks of one kind, one at the end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"
