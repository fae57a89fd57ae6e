"""L6: a mail whose headers no name can forge, and whose bytes are the same each time."""

from __future__ import annotations

import email
import re
from datetime import UTC, datetime, timedelta, timezone
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.delivery.mail import words
from connector.delivery.mail.characters import DIRECTIONS, NAME_LIMIT, is_control, name, one_line
from connector.delivery.mail.kinds import KINDS
from connector.delivery.mail.message import RecipientRefused, compose
from connector.delivery.mail.octets import octets_of
from connector.delivery.mail.words import Rendered, Templates

AT = datetime(2026, 7, 23, 16, 5, tzinfo=timezone(timedelta(hours=2)))
WORDS = Rendered("Zażółć", "Dzień dobry\n.\nFrom here\n", "<p>Dzień dobry</p>\n")
TEMPLATES = Templates()
"""Compiled once, as in a daemon."""
ANY = st.text(st.characters(), max_size=300)
PIECES = [
    *(
        "\r\n",
        "\n",
        "\r",
        "Bcc: x@evil.example",
        "=?utf-8?q?a?=",
        "=?",
        "?=",
        ",",
        '"',
        "\\",
        "<",
        ">",
        ":",
        ";",
        "(",
        ")",
    ),
    *(
        "@evil.example",
        "x@evil.example, ",
        "\u202e",
        "\u2066",
        "\u200f",
        "😀",
        "👩\u200d👧",
        "ż",
        " ",
        "  ",
        "\t",
        "\x00",
    ),
    *("\ud800", "\u2028", "\u0085", "a" * 998, "é", "e\u0301", "\ufeff"),
]
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=9)), max_size=12).map("".join)


def made(**given: Any) -> EmailMessage:
    values: dict[str, Any] = {
        "message_id": "0198a7c0b1f07d3e8f5a",
        "sender": "accounts@vendor.example",
        "sender_name": "Vendor",
        "recipient": "jane.doe@acme.example",
        "recipient_name": "Jane Doe",
        "reply_to": "",
        "date": AT,
        "language": "pl",
    }
    rendered = given.pop("rendered", WORDS)
    return compose(rendered, **{**values, **given})


def display_name(message: EmailMessage, title: str) -> str:
    """The name in a header as a mail program reads it. (The parser of the standard library puts a blank between two
    encoded words of a name.)"""
    raw = email.message_from_bytes(message.as_bytes())[title]
    return str(make_header(decode_header(parseaddr(raw)[0])))


def bodies(message: EmailMessage) -> list[str]:
    """Text and HTML as they arrive."""
    return [part.get_content().replace("\r\n", "\n") for part in message.iter_parts()]  # type: ignore[attr-defined]


def parsed(message: EmailMessage) -> EmailMessage:
    read = email.message_from_bytes(message.as_bytes(), policy=policy.default)
    assert isinstance(read, EmailMessage)
    return read


def test_l6_a_mail_says_what_it_is() -> None:
    message = made(reply_to="help@acme.example")
    read = parsed(message)
    assert read.keys() == [
        "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
        "Content-Language",
    ]  # fmt: skip
    assert str(read["From"]) == "Vendor <accounts@vendor.example>"
    assert str(read["To"]) == "Jane Doe <jane.doe@acme.example>"
    assert read["Reply-To"] == "help@acme.example"
    assert read["Subject"] == "Zażółć"
    assert read["Date"].datetime == AT
    assert read["Message-ID"] == "<0198a7c0b1f07d3e8f5a@vendor.example>"
    assert (read["Auto-Submitted"], read["Content-Language"]) == ("auto-generated", "pl")
    assert read.get_content_type() == "multipart/alternative"
    text, html = read.iter_parts()
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert bodies(read) == [WORDS.text, WORDS.html]


def test_l6_the_same_mail_is_the_same_bytes() -> None:
    assert made().as_bytes() == made().as_bytes()
    assert made().get_boundary() != made(message_id="another").get_boundary()
    assert made().as_bytes().count(b"\r\n") == made().as_bytes().count(b"\n")


def test_l6_every_line_is_short_enough() -> None:
    long = "x" * 5000 + " " + "ż" * 5000
    message = made(rendered=Rendered(long, long, f"<p>{long}</p>"), sender_name=long, recipient_name=long)
    assert max(map(len, message.as_bytes().split(b"\r\n"))) <= 78
    assert bodies(parsed(message)) == [f"{long}\n", f"<p>{long}</p>\n"]
    assert parsed(message)["Subject"] == long


@pytest.mark.parametrize("character", ["\n", "\r", "\r\nBcc: x@evil.example", "\x00", "\x1b", "\x7f", "\x85", "\ud800",
                                       "\u2028"])  # fmt: skip
@pytest.mark.parametrize(
    "which", ["message_id", "sender", "sender_name", "recipient", "recipient_name", "reply_to", "subject"]
)
def test_l6_a_control_character_in_a_header_is_refused_by_name(which: str, character: str) -> None:
    given = {"rendered": Rendered(f"a{character}b", "t", "h")} if which == "subject" else {which: f"a@b{character}"}
    with pytest.raises(ValueError, match=f"^{which} holds a line break"):
        made(**given)


@pytest.mark.parametrize("value", ["", "jane", "@acme.example", "jane@", "a@b@c", "a b@c", "<a@b>", "a@b, c@d", "a@b>",
                                   "a..b@c", "a,b@c", "a@b;c", "\u202ea@b", "a" * 65 + "@b", "a@" + "b" * 254, '"a@c',
                                   "a@b_c.example", "ł" * 33 + "@b"])  # fmt: skip
@pytest.mark.parametrize("which", ["sender", "recipient", "reply_to"])
def test_l6_what_is_no_address_is_refused(which: str, value: str) -> None:
    if (which, value) == ("reply_to", ""):
        return
    with pytest.raises(ValueError, match=f"^{which} is not a mail address") as raised:
        made(**{which: value})
    assert isinstance(raised.value, RecipientRefused) is (which == "recipient")


@pytest.mark.parametrize("value", ["", "a b", "a@b", "a>b", "ż", "a" * 101])
def test_l6_what_is_no_id_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"^message_id is letters"):
        made(message_id=value)


def test_l6_a_lone_surrogate_in_the_words_is_refused() -> None:
    for rendered in (Rendered("s", "\udc00", "h"), Rendered("s", "t", "\udc00")):
        with pytest.raises(ValueError, match="lone surrogate"):
            made(rendered=rendered)
    with pytest.raises(ValueError, match="naive"):
        made(date=AT.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("anna@bücher.example", "anna@xn--bcher-kva.example"),
        ("anna@faß.example", "anna@xn--fa-hia.example"),
        ("anna@xn--bcher-kva.example", "anna@xn--bcher-kva.example"),
        ("Anna@ACME.example.", "Anna@acme.example"),
        ("x@acme。example", "x@acme.example"),
        ('"an..na"@acme.example', '"an..na"@acme.example'),
        ('"a<,;:\\"b"@acme.example', '"a<,;:\\"b"@acme.example'),
        ("żółw@bücher.example", "żółw@xn--bcher-kva.example"),
    ],
)
@pytest.mark.parametrize("which", ["sender", "recipient", "reply_to"])
def test_l6_an_address_goes_with_the_a_labels_of_its_domain(which: str, address: str, wire: str) -> None:
    message = made(**{which: address})
    assert message.policy.utf8 is not wire.isascii()
    recipient = address if which == "recipient" else "jane.doe@acme.example"
    octets = octets_of(message, sender=address if which == "sender" else "bounces@vendor.example", recipient=recipient)
    assert octets.international is not wire.isascii()
    title = {"sender": "From", "recipient": "To", "reply_to": "Reply-To"}[which]
    read = email.message_from_bytes(octets.content, policy=policy.SMTPUTF8)
    [found] = read[title].addresses
    assert found.domain == wire.rpartition("@")[2]
    [line] = re.findall(rf"(?m)^{title}:(?:.*\r\n )?.*$", octets.content.decode())
    assert wire in line
    assert which != "recipient" or octets.recipient == wire
    assert which != "sender" or octets.sender == wire
    assert read["Message-ID"].endswith(f"@{wire.rpartition('@')[2]}>" if which == "sender" else "@vendor.example>")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Jane Doe", "Jane Doe"),
        ("Żółw, evil@x.example", "Żółw, evil@x.example"),
        ('Jane "JD" Doe', 'Jane "JD" Doe'),
        ("Acme Sp. z o.o.", "Acme Sp. z o.o."),
        ("=?utf-8?q?admin?=", "=?utf-8?q?admin?="),
        ("\u202eenaJ\u202c  Doe\u200f", "enaJ Doe"),
        ("x" * 65, "x" * 63 + "…"),
        ("😀" * 65, "😀" * 63 + "…"),
        ("a\\", "a\\"),
        ("\u2066\u2069", ""),
    ],
)
def test_l6_a_name_is_shown_as_it_is_and_is_no_address(given: str, shown: str) -> None:
    for title, which in (("From", "sender_name"), ("To", "recipient_name")):
        message = made(**{which: given})
        [one] = parsed(message)[title].addresses
        assert display_name(message, title) == shown
        assert one.addr_spec in {"accounts@vendor.example", "jane.doe@acme.example"}


@settings(deadline=None)
@given(HOSTILE | ANY, HOSTILE | ANY)
@example("Żółw, x@evil.example", "=?utf-8?b?ZQ==?=")
@example('a"b\\', "  a   b ")
def test_l6_no_name_and_no_subject_adds_a_header_or_an_address(shown: str, subject: str) -> None:
    rendered = Rendered(subject, "text\n", "<p>html</p>\n")
    if any(map(is_control, shown + subject)):
        with pytest.raises(ValueError, match="holds a line break"):
            made(sender_name=shown, recipient_name=shown, rendered=rendered)
        shown = "".join(one for one in shown if not is_control(one))
        subject = "".join(one for one in subject if not is_control(one))
        rendered = Rendered(subject, rendered.text, rendered.html)
    message = made(sender_name=shown, recipient_name=shown, rendered=rendered)
    assert max(map(len, message.as_bytes().split(b"\r\n"))) <= 998
    message.as_bytes().decode("ascii")
    read = parsed(message)
    assert read.keys() == made().keys()
    assert read["Subject"] == one_line(subject)
    for title, address in (("From", "accounts@vendor.example"), ("To", "jane.doe@acme.example")):
        [one] = read[title].addresses
        assert one.addr_spec == address
        assert display_name(message, title) == name(shown)
        assert len(name(shown)) <= NAME_LIMIT
        assert DIRECTIONS.isdisjoint(str(read[title]))
    assert bodies(read) == [rendered.text, rendered.html]


@settings(deadline=None)
@given(HOSTILE | ANY, HOSTILE | ANY)
def test_l6_whatever_people_and_organizations_are_called_a_mail_is_made(organization: str, person: str) -> None:
    kind = KINDS["invite.mail"]
    letter = words.Letter(
        organization=organization or "Acme",
        items=(words.Item({**kind.example, "mail": person}, datetime(2026, 7, 23, tzinfo=UTC), person),),
        person=person,
        teams=(person,),
        link="https://accounts.vendor.example/login",
    )
    rendered = TEMPLATES.render(kind, "en", letter)
    read = parsed(made(rendered=rendered))
    assert read["Subject"] == rendered.subject
    assert bodies(read) == [rendered.text, rendered.html]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_l6_words_arrive_as_they_were(text: str) -> None:
    rendered = Rendered("s", text, text)
    kept = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"
    read = parsed(made(rendered=rendered))
    assert bodies(read) == [kept, kept]
