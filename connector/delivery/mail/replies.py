"""What a mail server's reply means: each step of the dialogue × each code gives an outcome (L6).

Pure. Only what concerns every mail shuts the server: a 421, a refused sign-in, a refused sender of the installation.
What concerns one recipient, or the sender of one organization, never stops the mail of others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from connector.delivery.outcome import Later, Never, Sent, Shut

Untaken = Later | Shut | Never
"""How a mail may end that the server did not take."""

MOST_CHARACTERS = 200
"""Of a server's words, so many are kept."""

_MOST_READ = 1000
_SIGN_IN_NEEDED = frozenset({530, 534, 535, 538})
_TOO_LARGE = 552
_OF_THE_SENDER = re.compile(r"5\.1\.[78]\b|5\.7\.60\b|(5\.\d\.\d+ )?(<[^>]*>: )?sender address rejected", re.IGNORECASE)
"""How servers refuse a sender at a later step: Postfix waits for RCPT (smtpd_delay_reject), Exchange for the mail."""
_OF_ALL_MAIL = re.compile(r"5\.4\.5\b")
"""A sending limit of the account (RFC 3463 X.4.5, congestion; so says Gmail for a day)."""
_ADDRESS = re.compile(r"""<?(?:"[^"]*"|[^\s<>()\[\]:;,"']+)(?:@|%40|=40)(?:[\w.\-]+\w|\[[^\s\]]*\])>?""", re.IGNORECASE)
"""Also in quotes, and as it stands in addresses of pages and in quoted-printable."""
_LINK = re.compile(r"(/|%2F)sso\1[^\s<>\"')\]]*|\bi(=3D|%3D|=)[\w-]{8,}", re.IGNORECASE)
"""What follows our own address in the link of an invite: whose it is. Filters cite what a mail links to."""


class Stage(StrEnum):
    """A step of the dialogue, as it is named to the operator."""

    GREETING = "the connection"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    SIGN_IN = "AUTH"
    NOOP = "NOOP"
    RESET = "RSET"
    SENDER = "MAIL FROM"
    RECIPIENT = "RCPT TO"
    START = "DATA"
    END = "the mail"


class Reply(NamedTuple):
    """An answer of the server: its code, and its words, lines apart by a line feed."""

    code: int
    text: str


def go_on(stage: Stage, reply: Reply) -> bool:
    """Whether the dialogue goes on behind this reply; at ``END``: whether the server took the mail over."""
    if stage is Stage.GREETING or stage is Stage.STARTTLS:
        return reply.code == 220
    if stage is Stage.START:
        return reply.code == 354
    return 200 <= reply.code < 300


def refusal(stage: Stage, reply: Reply, shown: str, *, own_sender: bool = True) -> Untaken:
    """What a reply means with which the dialogue does not go on. ``shown``: the reply as it may be kept.

    ``own_sender``: the envelope's sender is the installation's, so that whoever refuses it refuses every mail.
    """
    said = f"the server answered {stage} with {shown}"
    permanent, temporary = 500 <= reply.code < 600, 400 <= reply.code < 500
    if stage in {Stage.GREETING, Stage.HELLO, Stage.STARTTLS, Stage.NOOP} or reply.code == 421:
        return Shut(said)
    if stage is Stage.SIGN_IN:
        return Shut(f"{said}; nobody is signed in for the moment" if temporary else _account(said, reply.text))
    if reply.code in _SIGN_IN_NEEDED:
        return Shut(_account(said, reply.text))
    if permanent and _OF_ALL_MAIL.match(reply.text):
        return Shut(said)
    if stage is Stage.SENDER and reply.code == _TOO_LARGE:
        return Never(f"{said}: it is too large")
    if permanent and stage is Stage.SENDER:
        return sender_refused(said, own_sender=own_sender)
    if permanent and _OF_THE_SENDER.match(reply.text):
        # words decide here, so they may stop one mail for a while and never all of it
        return Later(f"{said}; see sender in [mail]")
    if permanent:
        return Never(said)
    if stage is Stage.END and not temporary:
        return Later(f"in doubt: {said}")
    return Later(said)


def sender_refused(said: str, *, own_sender: bool) -> Untaken:
    """Nobody's mail goes while the installation's sender is refused; an organization's sender stops only its own."""
    if own_sender:
        return Shut(f"{said}: correct sender or return_path in [mail] of rosterd.toml")
    return Later(f"{said}: correct sender in [mail] of the organization, or let the server allow it")


def _account(said: str, words: str) -> str:
    if "STARTTLS" in words.upper():
        return f'{said}: set security = "starttls" in [mail] of rosterd.toml'
    return f"{said}: set or correct username and password in [mail] of rosterd.toml"


def shown(reply: Reply, recipient: Sequence[str] = (), secrets: Sequence[str] = ()) -> str:
    """A reply as it may be kept: code and words, printable, short; no address in it, no link of an invite, and no part
    of a secret.

    ``recipient``: how the recipient's address may be written. ``secrets``: what must not be echoed; words that hold
    eight characters of one in a row are left away.
    """
    code = str(reply.code) if 0 <= reply.code <= 999 else "no reply of SMTP"
    words = _words(reply.text, recipient)
    if any(piece in reply.text for secret in secrets for piece in _pieces(secret)):
        words = ""
    return f"{code} {words}".strip()[:MOST_CHARACTERS]


def taken(reply: Reply, recipient: Sequence[str]) -> Sent:
    """The server took the mail over: its first line is the note."""
    first = Reply(reply.code, reply.text.partition("\n")[0])
    return Sent(shown(first, recipient))


def _words(text: str, recipient: Sequence[str]) -> str:
    """A server's words in printable characters on one line; addresses and links of invites are masked."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if len(line) > _MOST_READ:  # what is masked costs time, and half an address at the end would not be
        line = line[:_MOST_READ].rpartition(" ")[0]
    for address in sorted(filter(None, recipient), key=len, reverse=True):
        line = re.sub(rf"<?{re.escape(address)}>?", "<recipient>", line, flags=re.IGNORECASE)
        local = address.rpartition("@")[0]
        if len(local) >= 3:
            line = re.sub(rf"(?<![\w<.@-]){re.escape(local)}(?![\w>.@-])", "<recipient>", line, flags=re.IGNORECASE)
    return _ADDRESS.sub("<address>", _LINK.sub("<link>", line))


def _pieces(secret: str) -> list[str]:
    return [secret[start : start + 8] for start in range(max(1, len(secret) - 7))] if secret else []
