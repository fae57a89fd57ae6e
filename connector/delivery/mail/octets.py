"""A mail as it goes over the wire: envelope addresses and bytes, in ASCII wherever that is possible.

Pure. Domains go as A-labels, so that SMTPUTF8 is needed only where the part before an @ is not ASCII.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from email.errors import MessageError
from email.generator import BytesGenerator
from email.headerregistry import Address, AddressHeader, Group
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from io import BytesIO

from ledger.identity import Email, a_label

_ADDRESSED = ("From", "Sender", "Reply-To", "To", "Cc")
_KEPT_BACK = ("Bcc", "Resent-Bcc")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_DOT = re.compile(rb"(?m)^\.")


@dataclass(frozen=True, slots=True)
class Octets:
    """``sender`` and ``recipient``: addresses of the envelope; ``content``: the mail with CRLF at the end of each
    line. ``international``: it can only go to a server that offers SMTPUTF8."""

    sender: str
    recipient: str
    content: bytes
    international: bool

    @property
    def stuffed(self) -> bytes:
        """The content as DATA takes it: a dot before each dot at the start of a line, and the final one (RFC 5321)."""
        return _DOT.sub(b"..", self.content) + b".\r\n"


def octets_of(message: EmailMessage, *, sender: str, recipient: str) -> Octets:
    """Raises ``ValueError`` for what no server could be handed; its text repeats no address."""
    outer = _address(sender, "the sender"), _address(recipient, "the recipient")
    plain = copy.copy(message)
    for name in _KEPT_BACK:
        del plain[name]
    # a mail that ``compose`` made says in its policy that one of its addresses is not in ASCII
    international = bool(getattr(message.policy, "utf8", False)) or not all(address.isascii() for address in outer)
    for name in _ADDRESSED:
        header = plain[name]
        if isinstance(header, AddressHeader) and not all(found.addr_spec.isascii() for found in header.addresses):
            groups = [_with_a_labels(group, name) for group in header.groups]
            international |= not all(found.username.isascii() for group in groups for found in group.addresses)
            del plain[name]
            plain[name] = groups
    policy = (SMTPUTF8 if international else SMTP).clone(cte_type="7bit")
    buffer = BytesIO()
    try:
        BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(plain)
    except (MessageError, UnicodeError, ValueError, TypeError, LookupError, AttributeError) as error:
        # the email package fails in many ways, and its words may hold what the mail says
        raise ValueError(f"it cannot be written as a mail ({type(error).__name__})") from error
    # a line feed alone could end the mail for one server and not for the next (SMTP smuggling)
    content = _LINE_END.sub(b"\r\n", buffer.getvalue())
    return Octets(*outer, content if content.endswith(b"\r\n") else content + b"\r\n", international)


def _address(text: str, whose: str) -> str:
    try:
        address = Email.parse(text)
    except ValueError as error:
        raise ValueError(f"{whose}'s address is none") from error
    if fault := address.refused_by_relays:
        raise ValueError(f"no server takes {whose}'s address: {fault}")
    return f"{address.text.rpartition('@')[0]}@{address.domain}"


def _with_a_labels(group: Group, name: str) -> Group:
    try:
        addresses = [
            Address(found.display_name, found.username, a_label(found.domain) if found.domain else "")
            for found in group.addresses
        ]
    except ValueError as error:
        raise ValueError(f"an address in {name} is none") from error
    return Group(group.display_name, addresses)
