"""L6: mails to real SMTP servers, by each kind of security, with each reply at each step."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from connector.delivery.mail import dialogue
from connector.delivery.mail.relay import Relay
from connector.delivery.mail.replies import Reply, shown
from connector.delivery.mail.settings import MailSettings
from connector.delivery.outcome import Later, Never, Sent, Shut
from ledger.errors import BadInput, Unavailable
from tests.parts.https import Authority
from tests.parts.mail_server import MailServer, Security, Step, mail_server, settings_for

FROM, TO = "accounts@vendor.example", "jane.doe@acme.example"
GUARD = 20.0
BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("mail"))


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as found:
        yield found


def mail(subject: str = "Zażółć", body: str = "A seat is yours.\n.\nZażółć gęślą jaźń\n") -> EmailMessage:
    """A mail with what a wire may break: letters outside ASCII, and a dot alone on a line."""
    message = EmailMessage()
    message["From"] = Address("Vendor Łódź", addr_spec=FROM)
    message["To"] = TO
    message["Subject"] = subject
    message["Message-ID"] = "<0190-outbox@vendor.example>"
    message["Bcc"] = "hidden@vendor.example"
    message.set_content(body)
    return message


@asynccontextmanager
async def relay(server: MailServer, authority: Authority | None = None, **others: Any) -> AsyncIterator[Relay]:
    """A relay to the server. ``idle`` and ``mails`` are the relay's own; the rest are settings."""
    own = {name: others.pop(name) for name in ("idle", "mails") if name in others}
    settings = MailSettings.model_validate(settings_for(server, authority) | {"timeout": timedelta(seconds=5)} | others)
    found = Relay(settings, **own)
    async with asyncio.timeout(GUARD):
        try:
            yield found
        finally:
            await found.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what happens in the server's thread."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def serving(authority: Authority, security: Security, **options: Any) -> Any:
    """A server of a kind of security, with a certificate of ``localhost``."""
    return mail_server(security, None if security == "none" else authority.issue("localhost"), **options)


@BOTH_LOOPS
@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
async def test_l6_a_mail_goes_as_it_is(
    authority: Authority, security: Security, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "smtp_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    password = tmp_path / "password"
    password.write_text("pässword-of-mail\n", encoding="utf-8")
    account = {"username": "relay", "password": f"file:{password}"}
    with serving(authority, security, accounts={"relay": "pässword-of-mail"}) as server:
        async with relay(server, authority, **account) as found:
            assert await found.send(mail(), sender=FROM, recipient=TO) == Sent("250 2.0.0 Ok: queued as 0001")
            assert await found.send(mail(), sender=FROM, recipient=TO) == Sent("250 2.0.0 Ok: queued as 0002")
    assert (server.connections, server.said[-1]) == (1, "QUIT")
    first, second = server.mails
    assert first.content == second.content
    assert (first.sender, first.recipients, first.username) == (FROM, (TO,), "relay")
    assert first.tls == ("" if security == "none" else "TLSv1.3")
    assert first.content.isascii()
    read = first.message
    assert (read["Subject"], read["Message-ID"], read["Bcc"]) == ("Zażółć", "<0190-outbox@vendor.example>", None)
    assert read.get_content().replace("\r\n", "\n") == mail().get_content()
    assert read["From"].addresses[0].display_name == "Vendor Łódź"
    assert all("." in name for name in server.ehlo_names)


TABLE: list[tuple[Step, str, type, str]] = [
    ("GREETING", "421 busy", Shut, "the connection with 421 busy"),
    ("GREETING", "554 no service", Shut, "554"),
    ("EHLO", "421 busy", Shut, "EHLO with 421"),
    ("EHLO", "550 no", Shut, "EHLO with 550"),
    ("EHLO", "502 no", Shut, "EHLO with 502"),
    ("MAIL", "421 busy", Shut, "MAIL FROM with 421"),
    ("MAIL", "450 4.1.8 later", Later, "MAIL FROM with 450"),
    ("MAIL", "451 later", Later, "451"),
    ("MAIL", "452 4.3.1 storage", Later, "452"),
    ("MAIL", "530 5.7.0 authenticate", Shut, "username and password in [mail]"),
    ("MAIL", "550 5.7.1 no", Shut, "correct sender or return_path in [mail]"),
    ("MAIL", "553 5.1.8 <accounts@vendor.example>: no", Shut, "553 5.1.8 <address>: no"),
    ("MAIL", "552 5.3.4 large", Never, "too large"),
    ("MAIL", "550 5.4.5 Daily user sending limit exceeded", Shut, "5.4.5"),
    ("MAIL", "354 what", Later, "MAIL FROM with 354"),
    ("RCPT", "421 4.7.0 too many errors", Shut, "RCPT TO with 421"),
    ("RCPT", "450 4.2.0 greylisted", Later, "450"),
    ("RCPT", "451 4.7.1 greylisted", Later, "451"),
    ("RCPT", "452 4.5.3 too many", Later, "452"),
    ("RCPT", "530 5.7.0 authenticate", Shut, "username"),
    ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", Shut, 'set security = "starttls" in [mail]'),
    ("RCPT", "550 5.1.1 <jane.doe@acme.example>: unknown", Never, "550 5.1.1 <recipient>: unknown"),
    ("RCPT", "551 no", Never, "551"),
    ("RCPT", "552 5.2.2 full", Never, "552"),
    ("RCPT", "553 5.7.1 <accounts@vendor.example>: Sender address rejected: not owned", Later, "see sender in [mail]"),
    ("RCPT", "550 5.1.1 x: undeliverable: Sender address rejected", Never, "550"),
    ("RCPT", "554 5.7.1 no", Never, "554"),
    ("DATA", "421 busy", Shut, "DATA with 421"),
    ("DATA", "451 later", Later, "DATA with 451"),
    ("DATA", "554 no valid recipients", Never, "DATA with 554"),
    ("DATA", "250 what", Later, "DATA with 250"),
    ("END", "421 busy", Shut, "the mail with 421"),
    ("END", "451 4.3.0 later", Later, "the mail with 451"),
    ("END", "452 4.3.1 storage", Later, "452"),
    ("END", "550 5.4.5 Daily user sending limit exceeded", Shut, "5.4.5"),
    ("END", "550 5.7.60 SendAsDenied", Later, "see sender in [mail]"),
    ("END", "552 5.3.4 large", Never, "552"),
    ("END", "554 5.7.1 spam", Never, "554"),
    ("END", "354 what", Later, "in doubt: "),
    ("END", "999 what", Later, "in doubt: "),
    ("END", "hello", Later, "in doubt: "),
]


@pytest.mark.parametrize(("step", "reply", "kind", "why"), TABLE)
async def test_l6_each_reply_at_each_step(server: MailServer, step: Step, reply: str, kind: type, why: str) -> None:
    server.answer(step, reply)
    async with relay(server) as found:
        outcome = await found.send(mail(), sender=FROM, recipient=TO)
        assert type(outcome) is kind
        assert why in outcome.why
        assert not {"jane.doe", "accounts@"} & set(outcome.why.split())
        assert server.mails == []
        # what was said of one mail is of no consequence for the next one
        assert await found.send(mail(), sender=FROM, recipient=TO) == Sent("250 2.0.0 Ok: queued as 0001")


@pytest.mark.parametrize("reply", ["250 ok", "251 forwarded", "200 ok"])
async def test_every_positive_reply_takes_the_mail(server: MailServer, reply: str) -> None:
    server.answer("RCPT", "251 will forward")
    server.answer("END", reply)
    async with relay(server) as found:
        # aiosmtpd has no recipient when its RCPT was answered for it
        if reply == "250 ok":
            assert isinstance(await found.send(mail(), sender=FROM, recipient=TO), Never)
            return
        server.otherwise("RCPT")
        assert await found.send(mail(), sender=FROM, recipient=TO) == Sent(reply)


async def test_a_sender_of_an_organization_stops_only_its_own_mail(server: MailServer) -> None:
    server.answer("MAIL", "550 5.7.1 not allowed", "550 5.7.1 not allowed")
    async with relay(server, return_path="bounces@vendor.example") as found:
        theirs = await found.send(mail(), sender="it@acme.example", recipient=TO)
        ours = await found.send(mail(), sender="Bounces@vendor.example", recipient=TO)
    assert isinstance(theirs, Later)
    assert "[mail] of the organization" in theirs.why
    assert isinstance(ours, Shut)
    assert "[mail] of rosterd.toml" in ours.why


async def test_what_is_kept_of_a_reply_is_short_printable_and_without_addresses(server: MailServer) -> None:
    server.answer("RCPT", "550 5.1.1 No <JANE.DOE@ACME.example> \x1b[31m\u202e jane.doe? see o@mail.test " + 300 * "x")
    server.answer("END", "250-2.0.0 " + 300 * "ż" + "\r\n250 more")
    async with relay(server) as found:
        refused = await found.send(mail(), sender=FROM, recipient=TO)
        sent = await found.send(mail(), sender=FROM, recipient=TO)
    assert isinstance(refused, Never)
    assert "550 5.1.1 No <recipient> [31m <recipient>? see <address> xxx" in refused.why
    assert refused.why.isprintable()
    assert len(refused.why) < 260
    assert sent == Sent("250 2.0.0 " + 190 * "ż")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("5.7.1 URIBL: https://r.example/sso/acme/invite?i=AAECAwQFBgcICQ.", "5.7.1 URIBL: https://r.example<link>"),
        ("5.7.1 (https://r.example/x/sso/acme/invite?i=AAEC) no", "5.7.1 (https://r.example/x<link>) no"),
        ("https%3A%2F%2Fr.example%2Fsso%2Facme%2Finvite%3Fi%3DAAECAwQF no", "https%3A%2F%2Fr.example<link> no"),
        ("invite?i=3DAAECAwQFBgc and invite?i=AAECAwQFBgc", "invite?<link> and invite?<link>"),
        ("see https://support.example/mail/?p=Unsolicited", "see https://support.example/mail/?p=Unsolicited"),
        ('no "jane k"@acme.example, jd@[10.0.0.1]', "no <address>, <address>"),
        ("no jd%40acme.example or jd=40acme.example", "no <address> or <address>"),
    ],
)
def test_no_link_of_an_invite_and_no_address_is_kept_of_a_reply(said: str, kept: str) -> None:
    assert shown(Reply(550, said), ("jane.doe@acme.example",)) == f"550 {kept}"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("535 5.7.8 Username and Password not accepted", "correct username and password in [mail]"),
        ("454 4.7.0 Temporary authentication failure", "nobody is signed in for the moment"),
        ("504 no such way", "username"),
        ("421 busy", "AUTH with 421 busy"),
        ("501 cannot decode AHJlbGF5AGdlaGVpbS1nZWhlaW0=", "AUTH with 501;"),
        ("535 not geheim-geheim", "AUTH with 535;"),
    ],
)
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN"])
async def test_l6_a_refused_sign_in_shuts_and_tells_no_secret(
    server: MailServer, monkeypatch: pytest.MonkeyPatch, reply: str, why: str, method: str
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "geheim-geheim")
    server.answer("AUTH", reply)
    server.answer("EHLO", f"250-mail.test\r\n250 AUTH {method}")
    async with relay(server, username="relay", password="env:MAIL_PASSWORD") as found:
        outcome = await found.send(mail(), sender=FROM, recipient=TO)
    assert isinstance(outcome, Shut)
    assert why in outcome.why.replace("501: ", "501;").replace("535: ", "535;")
    assert "geheim" not in outcome.why
    assert server.said.count("AUTH") == 1


async def test_a_wrong_password_is_tried_once(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "wrong")
    with mail_server(accounts={"relay": "right"}) as strict:
        async with relay(strict, username="relay", password="env:MAIL_PASSWORD") as found:
            outcome = await found.send(mail(), sender=FROM, recipient=TO)
            assert isinstance(outcome, Shut)
            assert "535" in outcome.why
            assert strict.said == ["EHLO", "AUTH"]
            monkeypatch.setenv("MAIL_PASSWORD", "right")
            assert isinstance(await found.send(mail(), sender=FROM, recipient=TO), Sent)
            monkeypatch.delenv("MAIL_PASSWORD")
            await asyncio.sleep(0)
            with pytest.raises(BadInput, match="MAIL_PASSWORD is not set"):
                await found.probe()
        async with relay(strict, username="relay", password="env:MAIL_PASSWORD") as found:
            missing = await found.send(mail(), sender=FROM, recipient=TO)
            assert missing == Shut("secret env:MAIL_PASSWORD: the environment variable MAIL_PASSWORD is not set")
    server.answer("EHLO", "250 mail.test")
    monkeypatch.setenv("MAIL_PASSWORD", "right")
    async with relay(server, username="relay", password="env:MAIL_PASSWORD") as found:
        without = await found.send(mail(), sender=FROM, recipient=TO)
    assert isinstance(without, Shut)
    assert "offers no sign-in by password" in without.why


async def test_l6_no_starttls_no_mail(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "geheim")
    account = {"username": "relay", "password": "env:MAIL_PASSWORD"}
    with serving(authority, "starttls", accounts={"relay": "geheim"}) as server:
        async with relay(server, authority, **account) as found:
            server.without = {"STARTTLS"}
            outcome = await found.send(mail(), sender=FROM, recipient=TO)
            assert outcome == Shut("the server does not offer STARTTLS; nothing is sent in the clear")
            server.without = set()
            for reply in ("454 not now", "502 no", "421 busy", "250 what"):
                server.answer("STARTTLS", reply)
                outcome = await found.send(mail(), sender=FROM, recipient=TO)
                assert outcome == Shut(f"the server answered STARTTLS with {reply}")
            assert {"AUTH", "MAIL"} & set(server.said) == set()


@BOTH_LOOPS
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_l6_a_certificate_has_to_be_valid_for_the_name(
    authority: Authority, tmp_path: Path, security: Security
) -> None:
    stranger = Authority(tmp_path, "stranger")
    name, trust = "correct host in [mail]", "ca_file in [mail]"
    for tls, said, whose, step in (
        (authority.issue("other.example", "mx.other.example"), "Hostname mismatch",
         "it is of other.example, mx.other.example: correct host in [mail]", name),
        (authority.issue("127.0.0.1"), "Hostname mismatch", "it is of 127.0.0.1: ", name),
        (stranger.issue("localhost"), "unable to get local issuer", "", trust),
        (authority.issue("localhost", ended=timedelta(days=1)), "certificate has expired", "", trust),
    ):  # fmt: skip
        with mail_server(security, tls) as server:
            async with relay(server, authority) as found:
                outcome = await found.send(mail(), sender=FROM, recipient=TO)
                assert isinstance(outcome, Shut)
                assert f"certificate is not accepted: {said}" in outcome.why
                assert whose in outcome.why
                with pytest.raises(Unavailable) as raised:
                    await found.probe()
                assert raised.value.where == f"localhost:{server.port}"
                assert step in raised.value.next_step
        assert {"AUTH", "MAIL"} & set(server.said) == set()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_l6_old_tls_is_not_spoken(authority: Authority, security: Security) -> None:
    tls = authority.issue("localhost")
    tls.minimum_version = ssl.TLSVersion.TLSv1
    tls.maximum_version = ssl.TLSVersion.TLSv1_1
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with mail_server(security, tls) as server:
        async with relay(server, authority) as found:
            outcome = await found.send(mail(), sender=FROM, recipient=TO)
    assert isinstance(outcome, Shut)
    assert "TLS cannot be agreed on" in outcome.why or "hung up" in outcome.why


async def test_a_server_of_another_kind_of_security_is_shut(authority: Authority, server: MailServer) -> None:
    async with relay(server, authority, security="tls") as found:
        outcome = await found.send(mail(), sender=FROM, recipient=TO)
        assert isinstance(outcome, Shut)
        assert "does not begin in TLS" in outcome.why
        assert 'set security = "starttls" in [mail]' in outcome.why
    with serving(authority, "tls") as hidden:
        async with relay(hidden, authority, security="starttls", timeout=timedelta(seconds=1)) as found:
            outcome = await found.send(mail(), sender=FROM, recipient=TO)
            assert isinstance(outcome, Shut)
            assert outcome.why.startswith("no answer within 1 s to the connection: ")
            assert 'set security = "tls" in [mail]' in outcome.why


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_a_ca_file_that_is_none_is_named(authority: Authority, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, encoding="ascii")
    with serving(authority, "tls") as server:
        async with relay(server, authority, ca_file=str(file)) as found:
            outcome = await found.send(mail(), sender=FROM, recipient=TO)
            assert isinstance(outcome, Shut)
            assert "ca.pem cannot be used" in outcome.why
            with pytest.raises(BadInput, match="cannot be used") as raised:
                await found.probe()
            assert "ca_file in [mail]" in raised.value.next_step


async def test_l6_nobody_there_is_shut() -> None:
    with mail_server() as gone:
        pass
    async with relay(gone) as found:
        outcome = await found.send(mail(), sender=FROM, recipient=TO)
        assert isinstance(outcome, Shut)
        why = (
            f"localhost:{gone.port} cannot be reached: Connection refused; see host and port in [mail] of rosterd.toml"
        )
        assert outcome.why == why
    async with relay(gone, security="tls", host="no-such-host.invalid") as found:
        outcome = await found.send(mail(), sender=FROM, recipient=TO)
        assert isinstance(outcome, Shut)
        assert outcome.why.startswith("the name no-such-host.invalid cannot be looked up; correct host in [mail]")
    async with relay(gone, security="tls", host="no host!") as found:
        outcome = await found.send(mail(), sender=FROM, recipient=TO)
        assert isinstance(outcome, Shut)
        assert outcome.why.startswith("'no host!' is no host name; correct host in [mail]")


async def test_l6_letters_outside_ascii(server: MailServer) -> None:
    def to(address: str) -> EmailMessage:
        message = mail()
        del message["To"]
        local, _, domain = address.partition("@")
        message["To"] = Address("Józef", local, domain)
        return message

    with mail_server(international=False) as old:
        async with relay(server) as new_relay, relay(old) as old_relay:
            for found in (new_relay, old_relay):
                address = "jozef@żółw.example"
                assert isinstance(await found.send(to(address), sender=FROM, recipient=address), Sent)
            for delivered in (server.mails[0], old.mails[0]):
                assert delivered.recipients == ("jozef@xn--w-uga1v8h.example",)
                assert "SMTPUTF8" not in delivered.options
                assert delivered.content.isascii()
                assert delivered.message["To"].addresses[0].addr_spec == "jozef@xn--w-uga1v8h.example"
                assert delivered.message["To"].addresses[0].display_name == "Józef"
            address = "józef@żółw.example"
            assert isinstance(await new_relay.send(to(address), sender=FROM, recipient=address), Sent)
            assert server.mails[1].recipients == ("józef@xn--w-uga1v8h.example",)
            assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(server.mails[1].options)
            assert "<józef@xn--w-uga1v8h.example>".encode() in server.mails[1].content
            refused = await old_relay.send(to(address), sender=FROM, recipient=address)
            assert refused == Never(
                "the recipient's address is not in ASCII before the @, and the server does not offer SMTPUTF8"
            )
            elsewhere = await old_relay.send(to(address), sender=FROM, recipient=TO)
            assert isinstance(elsewhere, Never)
            assert "head" in elsewhere.why
            theirs = await old_relay.send(mail(), sender="józef@acme.example", recipient=TO)
            assert isinstance(theirs, Later)
            # the connection is as good as before
            assert isinstance(await old_relay.send(mail(), sender=FROM, recipient=TO), Sent)
            assert old.connections == 1


@pytest.mark.parametrize(
    "recipient",
    ["", "nobody", "a@b@c.example", "jane@acme.example\r\nRCPT TO:<x@y.example>", "jane..doe@acme.example",
     "a(b)@acme.example", "jane@acme.example> NOTIFY=NEVER", "<jane@acme.example>", "j\u0085@acme.example",
     65 * "a" + "@acme.example"],
)  # fmt: skip
async def test_an_address_that_no_server_takes_is_never_said(server: MailServer, recipient: str) -> None:
    async with relay(server) as found:
        outcome = await found.send(mail(), sender=FROM, recipient=recipient)
    assert isinstance(outcome, Never)
    assert "the recipient's address" in outcome.why
    assert "acme" not in outcome.why
    assert server.connections == 0


async def test_a_mail_ends_where_it_ends(server: MailServer) -> None:
    smuggled = mail()
    smuggled.set_payload("a\n.\nMAIL FROM:<x@y.example>\r.\rb\r\n.\r\nc")
    async with relay(server) as found:
        assert isinstance(await found.send(smuggled, sender=FROM, recipient=TO), Sent)
    assert len(server.mails) == 1
    assert b"a\r\n.\r\nMAIL FROM:<x@y.example>\r\n.\r\nb\r\n.\r\nc\r\n" in server.mails[0].content


async def test_a_mail_that_cannot_be_written_is_never(server: MailServer) -> None:
    broken = mail()
    broken.set_payload({"no": "payload"})
    async with relay(server) as found:
        outcome = await found.send(broken, sender=FROM, recipient=TO)
    assert outcome == Never("it cannot be written as a mail (AttributeError)")


async def test_a_mail_larger_than_the_server_takes_is_never_sent(server: MailServer) -> None:
    with mail_server(most_bytes=1000) as small:
        async with relay(small) as found:
            outcome = await found.send(mail(body=2000 * "x\n"), sender=FROM, recipient=TO)
    assert isinstance(outcome, Never)
    assert outcome.why.endswith("and the server takes 1000")


@BOTH_LOOPS
async def test_l6_a_few_connections_are_kept_and_parted_from(server: MailServer) -> None:
    server.delays["END"] = 0.05
    async with relay(server, connections=3, mails=4, idle=timedelta(milliseconds=150)) as found:
        outcomes = await asyncio.gather(*(found.send(mail(), sender=FROM, recipient=TO) for _ in range(12)))
        assert all(isinstance(outcome, Sent) for outcome in outcomes)
        assert server.connections == 3
        await found.send(mail(), sender=FROM, recipient=TO)
        assert server.connections == 4
        await until(lambda: not server.open)
        assert server.said.count("QUIT") == 4
        assert isinstance(await found.send(mail(), sender=FROM, recipient=TO), Sent)
    assert (server.said.count("QUIT"), server.connections) == (5, 5)
    assert len(server.mails) == 14
    assert await found.send(mail(), sender=FROM, recipient=TO) == Later("the daemon stops sending mail")


async def test_a_server_that_hung_up_on_an_idle_connection_is_connected_to_again(server: MailServer) -> None:
    async with relay(server) as found:
        await found.send(mail(), sender=FROM, recipient=TO)
        for step in ("RSET", "MAIL", "RCPT", "DATA"):
            server.answer(step, "421 4.4.2 timeout exceeded")  # type: ignore[arg-type]
            if step == "RSET":
                server.answer("RCPT", "550 no")
                assert isinstance(await found.send(mail(), sender=FROM, recipient=TO), Never)
            assert isinstance(await found.send(mail(), sender=FROM, recipient=TO), Sent)
        server.answer("MAIL", "421 busy", "421 busy")
        assert isinstance(await found.send(mail(), sender=FROM, recipient=TO), Shut)


async def test_who_is_refused_often_connects_anew(server: MailServer) -> None:
    server.always("RCPT", "550 5.1.1 unknown")
    async with relay(server) as found:
        for _ in range(11):
            assert isinstance(await found.send(mail(), sender=FROM, recipient=TO), Never)
    assert server.connections == 3


@BOTH_LOOPS
async def test_a_cancelled_mail_leaves_no_connection(server: MailServer) -> None:
    for step in ("EHLO", "MAIL", "DATA", "END"):
        server.delays = {step: 30}  # type: ignore[dict-item]
        async with relay(server, connections=1) as found:
            sending = asyncio.create_task(found.send(mail(), sender=FROM, recipient=TO))
            await until(lambda step=step: step in server.said)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            server.delays = {}
            assert isinstance(await found.send(mail(), sender=FROM, recipient=TO), Sent)
        server.said.clear()


async def test_l6_a_mail_that_is_not_answered_is_in_doubt(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "_LAST_ANSWER", 2)
    server.delays = {"END": 9}
    async with relay(server, timeout=timedelta(seconds=1)) as found:
        outcome = await found.send(mail(), sender=FROM, recipient=TO)
        assert outcome == Later("in doubt: no answer within 2 s to the mail")
        server.delays = {"RCPT": 9}
        assert await found.send(mail(), sender=FROM, recipient=TO) == Later("no answer within 1 s to RCPT TO")
        monkeypatch.setattr(dialogue, "_MAIL", 1)
        monkeypatch.setattr(dialogue, "_LAST_ANSWER", 9)
        server.delays = {"END": 9}
        outcome = await found.send(mail(), sender=FROM, recipient=TO)
        assert outcome == Later("in doubt: the server took longer than 1 s for one mail")


async def test_closing_waits_for_a_mail_under_way(server: MailServer) -> None:
    server.delays = {"END": 0.1}
    async with relay(server, connections=1) as found:
        sending = [asyncio.create_task(found.send(mail(), sender=FROM, recipient=TO)) for _ in range(2)]
        await until(lambda: "END" in server.said)
        await found.close()
        assert await sending[0] == Sent("250 2.0.0 Ok: queued as 0001")
        assert await sending[1] == Later("the daemon stops sending mail")
    server.delays = {"END": 30}
    async with relay(server, connections=1, timeout=timedelta(seconds=1)) as found:
        server.said.clear()
        endless = asyncio.create_task(found.send(mail(), sender=FROM, recipient=TO))
        await until(lambda: "END" in server.said)
        await found.close()
        outcome = await endless
        assert isinstance(outcome, Later)
        assert outcome.why.startswith("in doubt: ")


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
async def test_a_probe_says_what_the_server_offers(
    authority: Authority, security: Security, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "geheim")
    with serving(authority, security, accounts={"relay": "geheim"}) as server:
        async with relay(server, authority, username="relay", password="env:MAIL_PASSWORD") as found:
            seen = await found.probe()
            assert (seen.signed_in, seen.international, seen.most_bytes) == (True, True, 1_000_000)
            assert seen.tls == ("" if security == "none" else "TLSv1.3")
            assert (seen.certificate_until is None) == (security == "none")
            server.answer("NOOP", "421 busy")
            with pytest.raises(Unavailable, match="NOOP with 421 busy"):
                await found.probe()
            server.answer("AUTH", "535 5.7.8 no")
            with pytest.raises(Unavailable, match="535") as raised:
                await found.probe()
            assert raised.value.where == f"localhost:{server.port}"
            assert "username" in raised.value.next_step
    assert server.mails == []
