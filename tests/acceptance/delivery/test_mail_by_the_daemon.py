"""Mail by the real daemon through a real mail server: nothing is lost or told twice (L1, L3, L6)."""

from __future__ import annotations

import re
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.jobs import Unleased
from ledger.store import outbox, people
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from tests.parts.apart import apart
from tests.parts.https import Authority
from tests.parts.installation import Installation
from tests.parts.mail_server import MailServer, mail_server, settings_for
from tests.parts.moved_clock import movable

QUIET = '[schedule]\nreconcile_every = "0"\npublish_every = "0"\nevidence_every = "0"\n\n[database]'
FAST = {"rate": 100_000, "timeout": "5s"}


@pytest.fixture
def acme(tmp_path: Path) -> Installation:
    made = Installation.make(tmp_path / "etc")
    made.edit("rosterd.toml", "[database]", QUIET)
    made.append('\n[invites]\ndomains = ["acme.example"]\n')
    return made


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as running:
        yield running


def mails_by(acme: Installation, server: MailServer, authority: Authority | None = None, **others: object) -> None:
    """``[mail]`` of rosterd.toml."""
    values = settings_for(server, authority, **{**FAST, **others})
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in values.items()]
    with acme.file.open("a", encoding="utf-8") as handle:
        handle.write("\n[mail]\n" + "\n".join(lines) + "\n")


def until(so: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def invite(acme: Installation, *mails: str) -> None:
    for mail in mails:
        assert acme.rosterd("invite", "add", mail, "--given-name", "Łucja", "--team", "Design").code == 0


def totals(acme: Installation) -> dict[str, int]:
    return dict(acme.rosterd("outbox", "list", "--json").document["totals"])


def sent(acme: Installation, number: int) -> None:
    until(lambda: totals(acme) == {"sent": number})


def test_r4_an_invite_arrives_in_words_for_its_reader(acme: Installation, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with mail_server("starttls", authority.issue("localhost"), accounts={"rosterd": "word"}) as server:
        (tmp_path / "word").write_text("word")
        mails_by(acme, server, authority, username="rosterd", password=f"file:{tmp_path / 'word'}", language="pl")
        acme.append('\n[mail]\nreply_to = "help@acme.example"\nsender_name = "Acme: konta"\n')
        with acme.serving("--only", "connector") as daemon:
            invite(acme, "łucja@acme.example")
            sent(acme, 1)
            figures = read(f"{daemon.operator_url}/metrics")[1]
    [mail] = server.mails
    assert (mail.tls, mail.username, mail.recipients) == ("TLSv1.3", "rosterd", ("łucja@acme.example",))
    message = mail.message
    assert str(message["From"]) == '"Acme: konta" <accounts@vendor.example>'
    assert str(message["Reply-To"]) == "help@acme.example"
    assert str(message["Auto-Submitted"]) == "auto-generated"
    assert str(message["Content-Language"]) == "pl"
    assert "Design" in str(message["Subject"])
    text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    [link] = re.findall(r"http\S+/invite\?i=\S+", text)
    assert "/sso/acme/invite?i=" in link
    assert 'rosterd_deliveries_total{kind="invite.mail",state="sent",target="mail"} 1.0' in figures
    log = "".join(daemon.lines)
    assert "delivery.sent" in log
    assert "acme.example" not in log
    assert link.partition("?i=")[2] not in log


def test_l1_a_server_that_is_away_loses_nothing_and_holds_up_nobody(acme: Installation, server: MailServer) -> None:
    mails_by(acme, server)
    server.always("GREETING", "421 closed for today")
    with acme.serving("--only", "connector") as daemon:
        invite(acme, "a@acme.example", "b@acme.example")
        daemon.wait_for("delivery.shut")
        assert read(f"{daemon.url}/health/ready")[0] == 200
        assert totals(acme) == {"waiting": 2}
        server.always("GREETING", None)
        sent(acme, 2)
    assert sorted(mail.recipients[0] for mail in server.mails) == ["a@acme.example", "b@acme.example"]


def test_l6_greylisting_waits_a_poison_address_is_a_dead_letter_and_by_hand_it_goes(
    acme: Installation, server: MailServer
) -> None:
    mails_by(acme, server)
    server.answer("RCPT", "451 4.7.1 greylisted", "550 5.1.1 no such user")
    with acme.serving("--only", "connector"):
        invite(acme, "grey@acme.example")
        until(lambda: bool(server.said) and totals(acme) == {"waiting": 1})
        invite(acme, "gone@acme.example")
        until(lambda: totals(acme).get("dead") == 1)
        listed = acme.rosterd("outbox", "list", "--json").document["messages"]
        notes = {item["state"]: item["note"] for item in listed}
        assert "greylisted" in notes["waiting"]
        assert "no such user" in notes["dead"]
        shown = acme.rosterd("outbox", "show", listed[1]["id"][:30])
        assert "refused for gone@acme.example: " in shown.out
        for item in listed:
            assert acme.rosterd("outbox", "retry", item["id"]).code == 0
        sent(acme, 2)
    assert acme.rosterd("outbox", "retry", listed[0]["id"]).code == 3
    assert acme.rosterd("outbox", "drop", listed[0]["id"], "--reason", "why").code == 3


def test_l1_three_hundred_invites_a_stop_in_the_middle_and_none_twice(acme: Installation, server: MailServer) -> None:
    mails_by(acme, server, rate=6000)
    invite_many(acme, 300)
    with acme.serving("--only", "connector") as daemon:
        until(lambda: len(server.mails) > 40)
        daemon.signal(signal.SIGTERM)
        daemon.process.wait(30)
    some = len(server.mails)
    assert 40 < some < 300, "the stop was in the middle"
    with acme.serving("--only", "connector"):
        sent(acme, 300)
    assert Counter(mail.recipients[0] for mail in server.mails) == {f"p{n}@acme.example": 1 for n in range(300)}


def test_l1_a_kill_between_yes_and_note_is_told_again_by_the_same_message_id(
    acme: Installation, server: MailServer, tmp_path: Path
) -> None:
    mails_by(acme, server)
    clock, moved = movable(tmp_path)
    server.delays["END"] = 5.0
    with acme.serving("--only", "connector", under=moved) as daemon:
        invite(acme, "a@acme.example")
        until(lambda: "DATA" in "".join(server.said).upper())
        daemon.process.kill()
    until(lambda: len(server.mails) == 1)  # it was taken all the same
    assert totals(acme) == {"waiting": 1}
    clock.write_text("+3m")
    server.delays.clear()
    with acme.serving("--only", "connector", under=moved):
        until(lambda: len(server.mails) == 2)
    first, second = (str(mail.message["Message-ID"]) for mail in server.mails)
    assert first == second


def test_l3_an_installation_that_gets_its_first_mail_server_by_a_reload(
    acme: Installation, server: MailServer, tmp_path: Path
) -> None:
    clock, moved = movable(tmp_path)
    with acme.serving("--only", "connector", under=moved) as daemon:
        invite(acme, "old@acme.example")
        listed = acme.rosterd("outbox", "list")
        assert "nothing is delivered: no mail server is set" in listed.out
        clock.write_text("+50m")  # within what is believed of a clock
        mails_by(acme, server)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("delivery.started")
        until(lambda: len(server.mails) == 1)


def invite_many(acme: Installation, number: int) -> None:
    """As one run would: so many people and their invites in one transaction."""

    async def write() -> None:
        ledger = Ledger.open(f"sqlite:///{acme.folder}/var")
        try:
            ids = [f"p{n}" for n in range(number)]
            async with ledger.write("acme", Unleased.BY_HAND, at=datetime.now(UTC)) as book:
                rows = [(p, f"{p}@acme.example", f"{p}@acme.example", "", "", p, "active", "", {}) for p in ids]
                await people.begin_identities(book, rows)
                await outbox.append(book, [Message("invite.mail", p, {"mail": "", "name": p}) for p in ids])
        finally:
            await ledger.close()

    apart(write())


def read(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        return answer.status, answer.read().decode()
