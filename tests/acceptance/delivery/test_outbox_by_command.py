"""``rosterd outbox`` and what ``check`` says of mail, on the command line (L1, L3, L7)."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector.delivery.mail.kinds import KINDS
from ledger.jobs import Unleased
from ledger.store import deliveries, outbox, people
from ledger.store.deliveries import DeliveryState, Digest
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from tests.parts.apart import apart
from tests.parts.https import Authority
from tests.parts.installation import Installation
from tests.parts.mail_server import mail_server, settings_for
from tests.parts.ports import free_port
from tests.parts.terminal import at_a_terminal


@pytest.fixture
def acme(tmp_path: Path) -> Installation:
    made = Installation.make(tmp_path / "etc")
    made.append('\n[invites]\ndomains = ["acme.example"]\n')
    return made


def mails_by(acme: Installation, text: str) -> None:
    with acme.file.open("a", encoding="utf-8") as handle:
        handle.write(f"\n[mail]\n{text}\n")


def write_old(acme: Installation) -> None:
    """Two invites of two days ago; mail begins now."""

    async def write() -> None:
        ledger, now = Ledger.open(f"sqlite:///{acme.folder}/var"), datetime.now(UTC)
        async with ledger.write("acme", Unleased.BY_HAND, at=now - timedelta(days=2)) as book:
            rows = [(p, f"{p}@acme.example", f"{p}@acme.example", "", "", p, "active", "", {}) for p in ("p1", "p2")]
            await people.begin_identities(book, rows)
            await outbox.append(book, [Message("invite.mail", p, {"mail": "", "name": p}) for p in ("p1", "p2")])
        async with ledger.write("acme", Unleased.BY_HAND, at=now) as book:
            await deliveries.start(book, "mail", KINDS, keep_before=now - timedelta(days=1))
        await ledger.close()

    apart(write())


def refused(acme: Installation, note: str) -> None:
    """The message that is due first was refused for good, in these words."""

    async def write() -> None:
        ledger, now, day = Ledger.open(f"sqlite:///{acme.folder}/var"), datetime.now(UTC), timedelta(days=1)
        [batch] = await deliveries.claim(ledger, "mail", {"acme": 1}, now=now, hold=day, limit=1, digest=Digest())
        await deliveries.settle(ledger, batch, DeliveryState.DEAD, note=note, now=now)
        await ledger.close()

    apart(write())


def test_l3_old_messages_are_listed_before_they_are_released(acme: Installation) -> None:
    write_old(acme)
    listed = acme.rosterd("outbox", "list")
    assert "2 kept" in listed.out
    assert "rosterd outbox release --kind invite.mail" in listed.out
    assert (
        "2 messages of kind invite.mail are older than the mail server and kept" in acme.rosterd("check", "--live").out
    )
    first = acme.rosterd("outbox", "release", "--kind", "invite.mail")
    assert (first.code, "2 would be sent; nothing was" in first.out) == (3, True)
    assert acme.rosterd("outbox", "list", "--json").document["totals"] == {"kept": 2}
    done = acme.rosterd("outbox", "release", "--kind", "invite.mail", "--yes")
    assert (done.code, done.out) == (0, "2 released: they are due at once\n")
    again = acme.rosterd("outbox", "release", "--kind", "invite.mail")
    assert (again.code, "nothing of kind invite.mail is kept" in again.err) == (2, True)
    [one, two] = acme.rosterd("outbox", "list", "--json").document["messages"]
    dropped = acme.rosterd("outbox", "drop", one["id"], "--reason", "left")
    assert dropped.out == f"{one['id']} is dropped\n"
    assert acme.rosterd("outbox", "show", two["id"]).out.startswith(
        f"id: {two['id']}\nkind: invite.mail: Somebody gets"
    )


def test_the_list_says_to_whom_when_and_what_was_said_in_80_columns(acme: Installation) -> None:
    """Ids of one transaction begin alike: what is listed is how they end, and every command takes it."""
    write_old(acme)
    for words in (INVITED, ("restrict", "Design", "--reason", "not paid")):
        assert acme.rosterd(*words).code == 0
    refused(acme, "the server answered RCPT TO with 550 5.1.1 no such user here, " + "and some more words of it " * 4)
    messages = acme.rosterd("outbox", "list", "--json").document["messages"]
    to = ["p1@acme.example", "p2@acme.example", "a@acme.example", "the Primary Admin of Team Design"]
    assert [item["to"] for item in messages] == to
    one, two, dead, restricted = (item["id"] for item in messages)
    listed = acme.rosterd("outbox", "list").out
    assert all(len(line) <= 80 for line in listed.splitlines()), listed
    assert f"{restricted[-12:]}  team.restricted to the Primary Admin of Team Design\n" in listed
    assert "waiting, next try now" in listed
    said = "the server answered RCPT TO with 550 5.1.1 no such user here, and"
    entry = rf"^{dead[-12:]}  invite\.mail to a@acme\.example\n {{14}}dead, written 20\S+ \S+ UTC\n {{14}}{said}"
    assert re.search(entry, listed, re.M), listed
    for named in (dead[-12:], dead[:30]):
        shown = acme.rosterd("outbox", "show", named).out
        assert "\nto: a@acme.example\n" in shown, shown
        assert "\nstate: dead\nnext try: none\n" in shown
        assert f"\nlast answer: {said}" in shown
    assert one[:12] == two[:12]
    assert "several messages begin or end with" in acme.rosterd("outbox", "show", one[:12]).err
    shown = acme.rosterd("outbox", "show", restricted[-12:]).out
    assert "to: the Primary Admin of Team Design, at present nobody is there to read it" in shown, shown
    assert "\nit tells:\n  reason: not paid\n" in shown, shown
    assert acme.rosterd("outbox", "retry", dead[-12:]).code == 0


def test_an_invite_that_was_not_mailed_is_said_where_somebody_looks_for_it(acme: Installation) -> None:
    """Without a mail server, by a dead letter, and kept: in explain, in the list of invites and in that of people."""
    write_old(acme)
    assert acme.rosterd(*INVITED).code == 0
    looks = (("explain", "a@acme.example"), ("invite", "list"), ("people", "--invited"))
    step = "set [mail] host and sender in rosterd.toml, then rosterd check --live\n"
    for words in looks:
        assert f"not mailed: no mail server is set → {step}" in acme.rosterd(*words).out, words
    refused(acme, "550 no such user")
    [dead] = acme.rosterd("outbox", "list", "--state", "dead", "--json").document["messages"]
    mails_by(acme, 'host = "mail.example"\nsender = "accounts@vendor.example"')
    retry = f"not mailed: it is a dead letter: 550 no such user → rosterd outbox retry {dead['id'][-12:]}\n"
    for words in looks:
        assert retry in acme.rosterd(*words).out, words
    kept = "not mailed: it is older than the mail server → rosterd outbox release --kind invite.mail\n"
    assert kept in acme.rosterd("explain", "p1@acme.example").out
    assert acme.rosterd("outbox", "retry", dead["id"][-12:]).code == 0
    for words in looks:
        assert "not mailed" not in acme.rosterd(*words).out, words


def test_an_invite_is_taken_back_by_command_and_its_mail_is_not_sent(acme: Installation) -> None:
    assert acme.rosterd(*INVITED).code == 0
    done = acme.rosterd("invite", "cancel", "a@acme.example", "--reason", "the wrong address")
    assert (done.code, done.out) == (0, "the invite of a@acme.example is taken back\n")
    assert acme.rosterd("invite", "list").out == "no invite is open\n"
    assert acme.rosterd("invite", "cancel", "a@acme.example", "--reason", "again").code == 3
    with mail_server() as server:
        mails_by(acme, "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings_for(server).items()))
        with acme.serving("--only", "connector") as daemon:
            daemon.wait_for("delivery.obsolete")
    shown = acme.rosterd("outbox", "list", "--state", "obsolete").out
    assert "the person is no longer active" in shown, shown
    assert server.mails == []


def test_what_does_not_exist_is_named(acme: Installation) -> None:
    for words, said in (
        (("show", "nothing"), "there is no message 'nothing'"),
        (("list", "--state", "lost"), "'lost' is no state of a message"),
        (("preview", "nothing"), "'nothing' is no kind of mail"),
        (("preview", "invite.mail", "--language", "de"), "'de' is no language of mails"),
    ):
        answer = acme.rosterd("outbox", *words)
        assert (answer.code, said in answer.err) == (2, True), answer
    assert acme.rosterd("outbox", "list").out.startswith("no message\nnothing is delivered: no mail server is set")


@pytest.mark.parametrize("kind", KINDS)
def test_l7_every_kind_can_be_previewed(acme: Installation, kind: str, tmp_path: Path) -> None:
    for language in ("en", "pl"):
        page = tmp_path / f"{language}.html"
        shown = acme.rosterd("outbox", "preview", kind, "--language", language, "--html", str(page))
        assert shown.code == 0, shown
        assert shown.out.startswith("Subject: ")
        assert f'lang="{language}"' in page.read_text(encoding="utf-8")


def test_check_tries_the_mail_server_and_sends_one_mail_where_it_is_told_to(acme: Installation) -> None:
    offline = acme.rosterd("check", "--mail-to", "ada@acme.example")
    assert (offline.code, "check --live --mail-to" in offline.err) == (2, True)
    unset = acme.rosterd("check", "--live", "--mail-to", "ada@acme.example")
    assert "set [mail] host and sender in rosterd.toml" in unset.out
    with mail_server() as server:
        mails_by(acme, "\n".join(f"{key} = {value!r}" for key, value in settings_for(server).items()).replace("'", '"'))
        good = acme.rosterd("check", "--live", "--mail-to", "ada@acme.example")
        assert "answers (in the clear, on this machine, no account)" in good.out
        assert "the mail server took a test mail to ada@acme.example: 250" in good.out
        server.answer("RCPT", "550 5.1.1 no such user")
        bad = acme.rosterd("check", "--live", "--mail-to", "nobody@acme.example")
        assert "the test mail was not taken: the server answered RCPT TO with 550" in bad.out
        assert bad.code == 4
    [mail] = server.mails
    assert mail.recipients == ("ada@acme.example",)
    gone = acme.rosterd("check", "--live")
    assert (
        f"mail server localhost:{server.port}: localhost:{server.port} cannot be reached: Connection refused"
        in gone.out
    )
    assert gone.code == 4


def test_wrong_mail_settings_are_one_line_that_names_the_key(acme: Installation, tmp_path: Path) -> None:
    """Live, by real servers: what is wrong is said once, though a test mail was asked for, too."""
    authority, text = Authority(tmp_path), acme.file.read_text(encoding="utf-8")
    with (
        mail_server("starttls", authority.issue("mx.vendor.example")) as later,
        mail_server("tls", authority.issue("localhost")) as once,
        mail_server() as gone_,
    ):
        gone_.port = free_port()
        for server, change, said in (
            (later, {"security": "tls"}, "does not begin in TLS"),
            (later, {"security": "tls"}, '→ set security = "starttls" in [mail] of rosterd.toml'),
            (once, {"security": "starttls", "timeout": "1s"}, '→ set security = "tls" in [mail] of rosterd.toml'),
            (later, {}, "it is of mx.vendor.example\n      → correct host in [mail]"),
            (gone_, {"security": "none"}, f"localhost:{gone_.port} cannot be reached: Connection refused"),
            (once, {"ca_file": "nowhere.pem"}, "there is no file"),
            (once, {"username": "rosterd", "password": f"file:{tmp_path / 'nowhere'}"}, "mail.password"),
        ):
            acme.file.write_text(text, encoding="utf-8")
            values = settings_for(server, authority) | change
            mails_by(acme, "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items()))
            found = acme.rosterd("check", "--live", "--mail-to", "ada@acme.example").out
            assert said in found, found
            assert found.count("FAIL") == 1, found


def test_l7_a_broken_template_is_a_fault_of_the_configuration(acme: Installation) -> None:
    folder = acme.folder / "organizations" / "mail" / "en"
    folder.mkdir(parents=True)
    acme.append('\n[mail]\ntemplates = "mail"\n')
    (folder / "invite.mail.j2").write_text('{% extends "frame.j2" %}{% block subject %}{{ nonsense }}{% endblock %}')
    found = acme.rosterd("check")
    assert found.code == 2
    assert f"{folder}/invite.mail.j2:1: there is no variable nonsense" in found.out, found.out
    assert "mail of it waits and is sent in no other words" in found.out
    assert "note  no mail server is set" in found.out
    with mail_server() as server:
        mails_by(acme, "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings_for(server).items()))
        with acme.serving("--only", "connector") as daemon:
            invited = acme.rosterd(*INVITED)
            assert (
                "note: the link of the invite leads nowhere yet: single sign-on is not on → rosterd sso status"
                in invited.out
            )
            broken = daemon.wait_for("delivery.broken")
            assert f"{folder}/invite.mail.j2:1" in broken, broken
            live = acme.rosterd("check", "--live")
            assert (
                "note  acme: 1 invited, and the links of their mails lead nowhere: single sign-on is not on" in live.out
            )
            assert "note  this was [mail] of the file; the running daemon mails by what it read last" in live.out
    assert f"{folder}/invite.mail.j2:1: " in acme.rosterd("outbox", "list", "--json").document["messages"][0]["note"]
    (folder / "invite.mail.j2").unlink()
    assert "its own mail templates can be filled" in acme.rosterd("check").out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('host = "mail.example"', "a host needs a sender"),
        ('host = "mail.example"\nsender = "a@b.example"\nsecurity = "none"', "only for a server on this machine"),
        ('host = "mail.example"\nsender = "a@b.example"\nusername = "x"', "username and password belong together"),
        ('sender = "nobody"', "is not a mail address"),
        ('sender_name = "a\\nb"', "one line"),
        ('host = "smtp://mail.example"\nsender = "a@b.example"', "write 'mail.example' alone"),
        ('host = "mail.example:587"\nsender = "a@b.example"', "write 'mail.example' alone"),
        ('timeout = "0"', "10m at most"),
        ('timeout = "1h"', "10m at most"),
        ("port = 65536", "65535"),
    ],
)
def test_l6_settings_that_cannot_be_are_refused(acme: Installation, text: str, said: str) -> None:
    mails_by(acme, text)
    refused = acme.rosterd("check")
    assert (refused.code, said in refused.err) == (2, True), refused


INVITED = ("invite", "add", "a@acme.example", "--given-name", "A", "--team", "Design")
EVIL = "x\x1b]0;evil\x07\x1b[2J\nstate: sent\r\x9b1m\u202e\u2028y"
SHOWN = r"x\x1b]0;evil\x07\x1b[2J\nstate: sent\r\x9b1m\u202e\u2028y"


def test_what_others_wrote_is_one_line_that_steers_no_terminal(acme: Installation) -> None:
    """A reason with escapes and ends of lines, in lines, grids and errors of several verbs, piped and at a terminal."""
    write_old(acme)
    for words in (INVITED, ("restrict", "Design", "--reason", EVIL)):
        assert acme.rosterd(*words).code == 0
    messages = acme.rosterd("outbox", "list", "--kind", "team.restricted", "--json").document["messages"]
    [restricted] = [item["id"] for item in messages]
    dropped = acme.rosterd("outbox", "list", "--kind", "invite.mail", "--state", "kept", "--json").document["messages"]
    assert acme.rosterd("outbox", "drop", dropped[0]["id"], "--reason", EVIL).code == 0
    for words, forged in (
        (("restrict", "Design", "--reason", EVIL), 0),
        (("outbox", "show", restricted), 1),
        (("outbox", "show", dropped[0]["id"]), 1),
        (("outbox", "list", "--state", "dropped"), 0),
        (("restrict", EVIL, "--reason", "x"), 0),
    ):
        answer = acme.rosterd(*words)
        said = answer.out + answer.err
        assert SHOWN in re.sub(r"\n {14}", " ", said.replace("\\\\", "\\")), (words, said)
        assert not [one for one in said if one != "\n" and not one.isprintable()], (words, said)
        assert sum(line.startswith("state: ") for line in said.split("\n")) == forged, words
        with at_a_terminal(["-c", str(acme.file), *words], cwd=acme.folder, under={"COLUMNS": "200"}) as terminal:
            terminal.end()
        seen = terminal.shown
        assert not {"\x9b", "\x07", "\u202e", "\u2028"} & set(seen), (words, seen)
        assert not any(line.startswith("state: sent") for line in seen.splitlines()), (words, seen)


def test_own_texts_of_several_lines_stay_several_lines(acme: Installation) -> None:
    for words in (("sso", "status"), ("sso", "metadata"), ("outbox", "preview", "invite.mail"), ("check",)):
        said = acme.rosterd(*words).out
        assert said.count("\n") > 1, words
        assert r"\n" not in said, (words, said)
