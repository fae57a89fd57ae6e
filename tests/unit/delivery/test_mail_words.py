"""L7: every kind of mail in both languages, organizations' own templates, and what a template may not do."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import get_args

import pytest

from connector.delivery.mail import words
from connector.delivery.mail.kinds import KINDS, MailKind, Readers
from connector.delivery.mail.labels import CHANGES, REASONS, counted, plural
from connector.delivery.mail.words import MOST_ITEMS, Item, Letter, Templates, example
from connector.reconcile.plan.changes import Kind
from connector.sso.gate.decision import CLOSED_REASONS, UNKNOWN_REASONS
from ledger.errors import BadInput
from ledger.settings import Language
from tests.architecture.test_commands import ROOT, wrong

LANGUAGES: tuple[Language, ...] = get_args(Language)
FOLDER = ROOT / "connector" / "delivery" / "mail" / "templates"
AT = datetime(2026, 7, 23, 14, 5, tzinfo=UTC)
EVERY = [
    pytest.param(kind, language, id=f"{kind.name}-{language}") for kind in KINDS.values() for language in LANGUAGES
]
NO_COMMAND = {"team.lifted", "coverage.true_up", "seat.home_copy", "mail.test"}
"""Mails after which the product has nothing to type."""
OURS = Templates()
HELD = KINDS["plan.held"]
INVITE = KINDS["invite.mail"]


@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_l7_every_kind_in_every_language(kind: MailKind, language: Language) -> None:
    letter = example(kind)
    mail = OURS.render(kind, language, letter)
    wanted = letter.link or kind.example.get("next", "")
    if kind.name == "seats.short":
        wanted = "rosterd import subscriptions FILE"  # what is to be bought stands beside it, in the mail's language
    assert wanted or kind.name in {*NO_COMMAND, "team.restricted"}
    assert wanted in mail.text
    shown = unescape(re.sub(r"<[^>]+>", "", mail.html))
    assert (wanted or "Acme") in shown
    assert "Acme Sp. z o.o." in mail.subject or kind.name == "invite.reminder"
    assert "\n" not in mail.subject
    assert len(mail.subject) <= 120
    assert not re.search(r"</?[a-z]+[ >]", mail.text), "the text has no HTML"
    assert f'<html lang="{language}">' in mail.html
    said = f"{mail.subject}\n{mail.text}\n{mail.html}"
    ours = (mail.subject + mail.text).replace(str(kind.example.get("why", "?")), "")
    assert not re.search(r"Undefined|\bNone\b(?! of)|\{\{|\{%|\.\.|  \S|T\d\d:\d\d:\d\dZ", ours)
    assert not re.search(r"<(img|script|link|form|iframe|style)\b|url\(|@import| on[a-z]+=", mail.html)
    addresses = set(re.findall(r'(?:href|src|action)="([^"]*)"', mail.html))
    assert addresses <= {letter.link.replace("&", "&amp;")}
    assert wrong(said.replace("`", "").replace(mail.html, shown)) == [], "every command in it can be typed"
    assert mail.html.count("<p") == mail.html.count("</p>")
    assert mail.html.count("<li") == mail.html.count("</li>")


@pytest.mark.parametrize(
    ("team", "named", "typed"),
    [
        ("Design", "", "rosterd lift Design"),
        ("Design & Co", "", "rosterd lift 'Design & Co'"),
        ("it's", "acme", "rosterd lift 'it'\"'\"'s' -o acme"),
        ("$(reboot)", "acme", "rosterd lift '$(reboot)' -o acme"),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_l7_a_command_works_as_pasted(language: Language, team: str, named: str, typed: str) -> None:
    payload = {**KINDS["team.restricted"].example, "team": team}
    letter = Letter(organization="Acme", items=(Item(payload, AT),), named=named)
    mail = OURS.render(KINDS["team.restricted"], language, letter)
    assert f": {typed}\n" in mail.text
    assert typed in unescape(re.sub(r"<[^>]+>", "", mail.html))


@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_l7_a_name_is_text_in_html_too(kind: MailKind, language: Language) -> None:
    evil = "<script>alert(1)</script>"
    payload = {key: evil if isinstance(value, str) and key in {"name", "why", "reason", "source", "team", "by", "dn",
               "group", "offering", "asked_by", "approved_by"} and kind.name != "sso.forecast" else value
               for key, value in kind.example.items()}  # fmt: skip
    letter = replace(example(kind), organization=evil, person=evil, teams=(evil,), items=(Item(payload, AT, evil),))
    mail = OURS.render(kind, language, letter)
    assert "<script" not in mail.html
    assert "&lt;script&gt;" in mail.html
    assert "&lt;" not in mail.text, "text is not escaped"
    assert "<script>" in mail.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.digest], ids=lambda kind: kind.name)
def test_l5_a_digest_lists_its_items(kind: MailKind, language: Language) -> None:
    keys = [key for key in ("name", "digest", "id", "team", "source") if key in kind.example]
    items = [Item({**kind.example, keys[0]: f"{number:012d}"}, AT) for number in range(1, 6)]
    mail = OURS.render(kind, language, Letter(organization="Acme", items=items, more=7))
    for number in range(1, 6):
        assert f"{number:012d}" in mail.text
        assert f"{number:012d}" in mail.html
    assert re.search(r"… .*\b7", mail.text)
    if kind.name not in {"coverage.true_up", "seat.home_copy"}:
        assert mail.subject.startswith("Acme: ")
        assert "000000000001" not in mail.subject, "the subject of many names none"


@pytest.mark.parametrize("language", LANGUAGES)
def test_d1_a_directory_that_was_never_read(language: Language) -> None:
    payload = {**KINDS["source.stale"].example, "last_complete_at": None}
    mail = OURS.render(KINDS["source.stale"], language, Letter(organization="Acme", items=(Item(payload, AT),)))
    assert {"en": "was never read whole", "pl": "nie odczytano jeszcze w całości"}[language] in mail.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("added", [[], [{"sha256": "ab" * 32, "until": "2029-01-01T00:00:00Z"}]])
def test_n2_metadata_without_other_certificates(language: Language, added: list[dict[str, str]]) -> None:
    payload = {**KINDS["connection.continued"].example, "added": added, "removed": [], "source": ""}
    letter = Letter(organization="Acme", items=(Item(payload, AT),))
    mail = OURS.render(KINDS["connection.continued"], language, letter)
    assert ("ab" * 32 in mail.text) is bool(added)


@pytest.mark.parametrize("language", LANGUAGES)
def test_r4_an_invite_says_who_where_and_until_when(language: Language) -> None:
    letter = replace(example(INVITE), teams=("Design", "Structures"))
    mail = OURS.render(INVITE, language, letter)
    for part in ("Acme Sp. z o.o.", "Design, Structures", "jane.doe@acme.example", "2026-08-22 14:05 UTC", letter.link):
        assert part in mail.text
    bare = OURS.render(INVITE, language, replace(letter, teams=(), expires_at=None, person="", public_url=""))
    assert "UTC" not in bare.text
    with pytest.raises(ValueError, match="needs a link"):
        OURS.render(INVITE, language, replace(letter, link=""))


def test_every_kind_has_its_templates_and_nothing_else() -> None:
    for language in LANGUAGES:
        assert {path.stem for path in (FOLDER / language).iterdir()} == {*KINDS, "frame"}


def test_our_own_templates_pass_the_check_of_an_organization() -> None:
    assert Templates(FOLDER).check() == ()


@pytest.mark.parametrize(
    ("number", "seats", "people"),
    [
        (0, "0 miejsc", "0 osób"),
        (1, "1 miejsce", "1 osoba"),
        (2, "2 miejsca", "2 osoby"),
        (4, "4 miejsca", "4 osoby"),
        (5, "5 miejsc", "5 osób"),
        (11, "11 miejsc", "11 osób"),
        (12, "12 miejsc", "12 osób"),
        (14, "14 miejsc", "14 osób"),
        (15, "15 miejsc", "15 osób"),
        (21, "21 miejsc", "21 osób"),
        (22, "22 miejsca", "22 osoby"),
        (25, "25 miejsc", "25 osób"),
        (102, "102 miejsca", "102 osoby"),
        (112, "112 miejsc", "112 osób"),
        (1001, "1001 miejsc", "1001 osób"),
        (1003, "1003 miejsca", "1003 osoby"),
    ],
)
def test_l7_polish_plurals(number: int, seats: str, people: str) -> None:
    assert counted(number, "miejsce", "miejsca", "miejsc") == seats
    assert counted(number, "osoba", "osoby", "osób") == people
    assert counted(number, "seat", "seats") == f"{number} {'seat' if number == 1 else 'seats'}"


def test_a_noun_has_two_or_three_forms() -> None:
    with pytest.raises(ValueError, match="two forms"):
        plural(2, "miejsce")


def test_every_code_has_its_words() -> None:
    for language in LANGUAGES:
        assert set(CHANGES[language]) == set(Kind)
        assert set(REASONS[language]) == {*CLOSED_REASONS, *UNKNOWN_REASONS}


@pytest.mark.parametrize("code", CLOSED_REASONS)
def test_a_suspension_says_its_reasons_in_polish(code: str) -> None:
    payload = {**KINDS["sync.suspended"].example, "reasons": [code, "of_tomorrow"]}
    mail = OURS.render(KINDS["sync.suspended"], "pl", Letter(organization="Acme", items=(Item(payload, AT),)))
    assert REASONS["pl"][code] in mail.text
    assert "of_tomorrow" in mail.text, "a code that nobody named is shown as it is"


@pytest.mark.parametrize("link", ["javascript:alert(1)", "https://", "//evil.example", "https://a b", "https://a\n",
                                  'https://a/"onclick=', "data:text/html,x", "https://a/\u202e"])  # fmt: skip
def test_a_link_is_the_address_of_a_page(link: str) -> None:
    with pytest.raises(ValueError, match="address of a page"):
        replace(example(INVITE), link=link)


def test_a_letter_is_about_one_to_a_hundred_messages() -> None:
    item = example(HELD).items[0]
    for items in ((), (item,) * (MOST_ITEMS + 1)):
        with pytest.raises(ValueError, match="1 to 100"):
            Letter(organization="Acme", items=items)


def test_no_line_of_a_mail_is_made_by_a_name() -> None:
    letter = replace(
        example(INVITE), person="Jane\n\nYour password has expired: \u202ehttps://evil.example " + "x" * 99
    )
    mail = OURS.render(INVITE, "en", letter)
    [line] = [line for line in mail.text.split("\n") if line.startswith("Hello")]
    assert "\u202e" not in line
    assert len(line) <= len("Hello ,") + 64


# an organization's own templates

GOOD = """{% extends "frame.j2" %}
{% block subject %}Welcome at {{ organization }}{% endblock %}
{% block text %}Come in: {{ link }}{% endblock %}
{% block html %}<p>Come in: <a href="{{ link }}">{{ link }}</a></p>{% endblock %}
"""


def own(folder: Path, text: str | bytes, file: str = "en/invite.mail.j2") -> Templates:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Templates(folder)


def test_l7_an_organization_has_its_own_words(tmp_path: Path) -> None:
    templates = own(tmp_path, GOOD)
    assert templates.check() == ()
    assert templates.render(INVITE, "en", example(INVITE)).subject == "Welcome at Acme Sp. z o.o."
    assert templates.render(INVITE, "pl", example(INVITE)) == OURS.render(INVITE, "pl", example(INVITE))
    own(tmp_path, GOOD.replace("Welcome at", "Hello from"))
    assert templates.render(INVITE, "en", example(INVITE)).subject == "Hello from Acme Sp. z o.o."
    (tmp_path / "en/invite.mail.j2").unlink()
    assert templates.render(INVITE, "en", example(INVITE)) == OURS.render(INVITE, "en", example(INVITE))


def test_l7_one_block_may_be_its_own_and_the_rest_ours(tmp_path: Path) -> None:
    text = '{% extends "rosterd/plan.held.j2" %}\n{% block subject %}[rosterd] {{ super() }}{% endblock %}'
    mail = own(tmp_path, text, "pl/plan.held.j2").render(HELD, "pl", example(HELD))
    assert mail == replace(OURS.render(HELD, "pl", example(HELD)), subject=mail.subject)
    assert mail.subject == "[rosterd] Acme Sp. z o.o.: zmiany czekają na Twoją zgodę"


def test_l7_the_frame_may_be_its_own(tmp_path: Path) -> None:
    frame = (FOLDER / "en/frame.j2").read_text(encoding="utf-8").replace("this mail was sent", "our own foot, sent")
    templates = own(tmp_path, frame, "en/frame.j2")
    assert templates.check() == ()
    for kind in KINDS.values():
        mail = templates.render(kind, "en", example(kind))
        assert "our own foot" in mail.text
        assert "our own foot" in mail.html


def block(name: str, body: str) -> str:
    """The good template with another block."""
    return re.sub(rf"(block {name} %}}).*?({{% endblock)", lambda match: match[1] + body + match[2], GOOD)


@pytest.mark.parametrize(
    ("file", "text", "line", "what"),
    [
        ("en/invite.mail.j2", GOOD + "{% if %}", 5, "Expected an expression"),
        ("en/invite.mail.j2", GOOD.replace("{% endblock %}", "", 1), 4, "Unexpected end"),
        ("en/invite.mail.j2", block("text", "{{ link }} {{ nmae }}"), 3, "there is no variable nmae; there are count"),
        ("en/invite.mail.j2", block("text", "{{ link }} {{ item.nmae }}"), 3, "nmae"),
        ("en/invite.mail.j2", block("text", "{% if more > 9 %}{{ nmae }}{% endif %}{{ link }}"), 3, "no variable nmae"),
        ("en/invite.mail.j2", block("text", "Come in."), 0, "lost its link"),
        ("en/invite.mail.j2", block("html", "<p>Come in.</p>"), 0, "lost its link"),
        ("en/invite.mail.j2", block("html", "<p>Come in.</p><!-- {{ link }} -->"), 0, "lost its link"),
        ("en/invite.mail.j2", block("html", '<a href="https://evil.example"><!-- {{ link }}</a>'), 0, "lost its link"),
        ("en/invite.mail.j2", block("html", "<a data-href='{{ link }}'>Come in.</a>"), 0, "lost its link"),
        ("en/invite.mail.j2", block("html", "<a href='{{ link }}.evil.example'>Come in.</a>"), 0, "lost its link"),
        ("en/invite.mail.j2", block("html", "<style>{{ link }}</style>"), 0, "lost its link"),
        ("en/invite.mail.j2", block("subject", " "), 0, "subject or the text of the mail is empty"),
        ("en/invite.mail.j2", GOOD.replace("block text", "block txet"), 3, "block txet: the blocks are subject"),
        ("en/invite.mail.j2", block("subject", "s" * 201), 0, "longer than 200 characters"),
        ("en/invite.mail.j2", GOOD + "x" * 64 * 1024, 1, "larger than 64 KiB"),
        ("en/invite.mail.j2", GOOD.encode() + b"\n\xff", 6, "not UTF-8"),
        ("en/invite.mail.j2", "{{ link }}", 1, 'begins with {% extends "frame.j2" %}'),
        ("en/invite.mail.j2", GOOD.replace("frame.j2", "../en/frame.j2"), 1, "extends frame.j2 or rosterd/invite"),
        ("en/invite.mail.j2", GOOD.replace("frame.j2", "invite.mail.j2"), 1, "extends frame.j2 or rosterd/invite"),
        ("en/invite.mail.j2", GOOD.replace('"frame.j2"', "link"), 1, "extends frame.j2 or rosterd/invite"),
        ("en/invite.mail.j2", block("text", "{{ link|center(9) }}"), 3, "No filter named 'center'"),
        ("en/invite.mail.j2", block("text", "{{ link }}{{ teams }}"), 3, "a list cannot be written"),
        ("en/invite.mail.j2", block("text", "{{ link }}{{ expires_at }}"), 3, "nothing cannot be written"),
        ("en/invite.mail.j2", block("text", "{{ link }}{{ person|moment }}"), 3, "Invalid isoformat"),
        ("en/welcome.j2", GOOD, 0, "no template of a mail"),
        ("en/invite.mail.html", GOOD, 0, "no template of a mail"),
        ("de/invite.mail.j2", GOOD, 0, "no template of a mail"),
        ("invite.mail.j2", GOOD, 0, "no template of a mail"),
        ("pl/frame.j2", '{% if part == "text" %}x{% endif %}', 0, "in this frame: the subject or the text"),
        ("pl/frame.j2", '{% extends "frame.j2" %}', 1, "extends rosterd/frame.j2"),
    ],
)
def test_l7_a_broken_template_is_named_with_its_line(
    tmp_path: Path, file: str, text: str | bytes, line: int, what: str
) -> None:
    faults = own(tmp_path, text, file).check()
    assert faults
    assert what in faults[0].what
    assert faults[0].where == f"{tmp_path / file}" + (f":{line}" if line else "")
    assert faults[0].next_step


def test_a_folder_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert [fault.what for fault in Templates(tmp_path / "mail").check()] == ["there is no such folder"]
    assert Templates().check() == ()


@pytest.mark.parametrize("html", ["<a class=x href={{ link }}>Come in</a>", "<A HREF='{{ link }}'>Come in</A>",
                                  "<!-- ours --><b>{{ link }}</b>"])  # fmt: skip
def test_a_link_is_kept_where_it_is_seen(tmp_path: Path, html: str) -> None:
    assert own(tmp_path, block("html", html)).check() == ()


@pytest.mark.parametrize(
    ("file", "make", "what"),
    [
        ("en/invite.mail.j2", lambda path: os.mkfifo(path), "this is no file"),
        ("en/invite.mail.j2", lambda path: path.mkdir(), "this is no file"),
        ("en/invite.mail.j2", lambda path: path.symlink_to("/dev/zero"), "this is no file"),
        ("en/invite.mail.j2", lambda path: path.symlink_to("nowhere"), "cannot be read: No such file"),
        ("en/invite.mail.j2", lambda path: path.symlink_to("invite.mail.j2"), "cannot be read: Too many levels"),
        ("en/invite.mail.j2", lambda path: path.symlink_to("../../secret"), "outside of the folder"),
        ("en/frame.j2", lambda path: path.symlink_to("../../secret"), "outside of the folder"),
        ("en", lambda path: path.symlink_to("nowhere"), "this is no folder"),
    ],
)
def test_l7_an_own_template_that_cannot_be_read_is_named_and_never_replaced(
    tmp_path: Path, file: str, make: Callable[[Path], None], what: str
) -> None:
    folder = tmp_path / "mail"
    (tmp_path / "secret").write_text("s3cr3t")
    (folder / file).parent.mkdir(parents=True)
    make(folder / file)
    templates = Templates(folder)
    assert str(folder / file) in {fault.where for fault in templates.check()}
    with pytest.raises(BadInput, match=what) as raised:
        templates.render(INVITE, "en", example(INVITE))
    assert raised.value.where == str(folder / file)


def test_l7_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    own(tmp_path, GOOD, "..data/invite.mail.j2")
    (tmp_path / "en").mkdir()
    (tmp_path / "en/invite.mail.j2").symlink_to("../..data/invite.mail.j2")
    (tmp_path / "pl").symlink_to("en")
    templates = Templates(tmp_path)
    assert templates.check() == ()
    assert templates.render(INVITE, "pl", example(INVITE)).subject == "Welcome at Acme Sp. z o.o."


def test_l7_without_its_folder_no_mail_is_sent_in_other_words(tmp_path: Path) -> None:
    templates = own(tmp_path / "mail", GOOD)
    assert templates.render(INVITE, "en", example(INVITE))
    (tmp_path / "mail").rename(tmp_path / "moved")
    for language in LANGUAGES:
        with pytest.raises(BadInput, match="no such folder") as raised:
            templates.render(INVITE, language, example(INVITE))
        assert raised.value.where == str(tmp_path / "mail")


def test_a_folder_of_very_many_files_is_not_gone_through(tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"{number}.j2").write_text("")
    [fault] = Templates(tmp_path).check()
    assert "more than 300 files" in fault.what
    assert fault.where == str(tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_l7_a_mail_program_knows_the_foot(language: Language) -> None:
    mail = OURS.render(INVITE, language, example(INVITE))
    assert "\n\n-- \nAcme Sp. z o.o. ·" in mail.text


@pytest.mark.parametrize(
    "body",
    [
        "{% for a in range(10**9) %}a{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        '{{ "a" * 10**9 }}',
        '{{ "a" * 9 }}',
        "{{ 9 ** 9 }}",
        '{{ "%9d" % 1 }}',
        "{{ more // 1 }}",
        "{{ 10 ** 10 ** 10 }}",
        '{{ "%1000000000d" % 1 }}',
        '{{ "{:>1000000000}".format(1) }}',
        '{{ link.ljust(1000000000) }}',
        '{{ link.__class__.__mro__ }}',
        '{{ link|attr("__class__") }}',
        '{{ ""|center(1000000000) }}',
        '{{ ""|indent(1000000000) }}',
        '{{ link|replace("a", "a" * 99) }}',
        "{{ lipsum(1000000) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% set a = link %}{% for i in items %}{% set a = a ~ a %}{% endfor %}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        '{% include "invite.mail.j2" %}',
        '{% import "frame.j2" as frame %}',
        "{% autoescape false %}{{ person }}{% endautoescape %}",
        "{{ person|safe }}",
        "{% for a in link %}{% endfor %}",
        "{% for a in items recursive %}{{ loop(items) }}{% endfor %}",
        "{% for a in items %}{% for b in items %}{% for c in items %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in items %}{{ super() }}{% endfor %}",
        "{% for a in items %}" * 1 + "{% endfor %}" + "{% for a in items %}{% endfor %}" * 20,
        "{{ link }}" * 2001,
        "{{ link|join }}",
        '{{ items|join(items|join(",")) }}',
        "{{ teams|join(between=person) }}",
        "{{ teams|join(*teams) }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "9" * 5000 + " }}",
        "{% if 1 %}" * 200 + "{% endif %}" * 200,
        "{% with a = 1 %}{{ a }}{% endwith %}",
        "{% filter upper %}x{% endfilter %}",
        "{{ link + link }}",
        "{{ link ~ link }}",
        "{{ self.subject() }}",
    ],
)  # fmt: skip
def test_l7_a_template_can_neither_loop_for_ever_nor_fill_the_memory(tmp_path: Path, body: str) -> None:
    started = time.monotonic()
    faults = own(tmp_path, block("text", "{{ link }}" + body)).check()
    assert len(faults) == 1
    assert faults[0].where.startswith(f"{tmp_path / 'en/invite.mail.j2'}")
    assert time.monotonic() - started < 5


IN_TWO_LOOPS = "{% for a in items %}{% for b in items %}BODY{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("{% if more == 1 %}{% endif %}" * 190, id="many tests"),
        pytest.param("{{ organization }}" * 99, id="much text"),
        pytest.param("{% if a.why|upper|lower|trim == b.why %}{% endif %}", id="filters of texts"),
        pytest.param("{% if a.counts|dictsort|length == 1 %}{% endif %}", id="filters of lists"),
        pytest.param("{% if items|sort(attribute='why')|length == 1 %}{% endif %}", id="sorted lists"),
        pytest.param("{% if a == b %}{% endif %}", id="whole messages against each other"),
        pytest.param("{% if a is eq b %}{% endif %}", id="whole messages against each other, by a test"),
        pytest.param("{% if a.why in b.why %}{% endif %}", id="texts in texts"),
        pytest.param(f"{{% if more|default('{'zaq' * 8000}') %}}{{% endif %}}", id="a long text of its own"),
        pytest.param(f"{{% if '{'zaq' * 8000}'[1:] %}}{{% endif %}}", id="slices of a long text"),
        pytest.param(f"{{% if items[:0]|join('{'zaq' * 8000}') %}}{{% endif %}}", id="a long text between"),
        pytest.param(f"{{% if a.why|command('{'{}' * 8000}') %}}{{% endif %}}", id="a command of many places"),
    ],
)
def test_l7_the_worst_that_a_template_may_do_ends_soon(tmp_path: Path, body: str) -> None:
    """Two loops in each other over all items: what is done is counted, and the check of the templates finds it."""
    text = block("subject", "s" + IN_TWO_LOOPS.replace("BODY", body))
    templates = own(tmp_path, text, "en/plan.held.j2")
    most = {**HELD.example, "why": "zolw " * 400, "counts": {f"k{number}": number for number in range(99)}}
    letter = Letter(organization="Acme", items=[Item(most, AT)] * MOST_ITEMS)
    started = time.monotonic()
    with pytest.raises(BadInput, match=r"the template does too much|larger than 256 KiB") as raised:
        templates.render(HELD, "en", letter)
    assert raised.value.where.startswith(f"{tmp_path / 'en/plan.held.j2'}")
    assert time.monotonic() - started < 3
    assert templates.check()


@pytest.mark.parametrize(("kind", "language"), EVERY)
def test_l7_our_own_words_are_far_from_too_much(
    kind: MailKind, language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = example(kind)
    if kind.digest:
        letter = replace(letter, items=letter.items * MOST_ITEMS)
    elif letter.teams:
        letter = replace(letter, teams=("Design of big ships " * 3,) * MOST_ITEMS)
    monkeypatch.setattr(words, "_MOST_WORK", words._MOST_WORK // 2)
    OURS.render(kind, language, letter)


@pytest.mark.parametrize(
    "body",
    ["{{ link|sort }}", "{{ more|dictsort }}", "{{ link|truncate(1) }}", "{{ more|moment }}",
     "{% if more in [1] %}{% endif %}",
     "{% for a in [1, 2] %}{% endfor %}", "{% for a in (1, 2) %}{% endfor %}", "{{ (1, 2)|join }}"],
)  # fmt: skip
def test_a_filter_of_the_wrong_thing_is_a_fault_with_its_line(tmp_path: Path, body: str) -> None:
    [fault] = own(tmp_path, block("text", "{{ link }}" + body)).check()
    assert fault.where == f"{tmp_path / 'en/invite.mail.j2'}:3"


def test_what_a_message_says_is_cut() -> None:
    payload = {**HELD.example, "why": "w" * 9999 + "\n\u202e", "counts": {f"k{number}": 1 for number in range(999)}}
    values = Letter(organization="Acme", items=(Item(payload, AT),)).values()
    assert len(values["item"]["why"]) == 2000
    assert len(values["item"]["counts"]) == MOST_ITEMS


def test_a_key_of_a_message_is_never_a_method(tmp_path: Path) -> None:
    """``item.items`` and ``item.keys`` are what the message says, or nothing."""
    text = block("text", "{{ link }} {{ item.keys }}")
    assert "keys" in own(tmp_path, text).check()[0].what
    payload = {**INVITE.example, "keys": "of the door"}
    letter = replace(example(INVITE), items=(Item(payload, AT),))
    assert "of the door" in Templates(tmp_path).render(INVITE, "en", letter).text


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_readers_who_are_people_get_no_digest(kind: MailKind) -> None:
    assert not (kind.digest and kind.readers in {Readers.PERSON, Readers.ASKED})
    assert not {"at", "about"} & set(kind.example), "names that a letter adds"
    if kind.readers is Readers.PERSON:
        with pytest.raises(ValueError, match="digest"):
            replace(kind, digest=True)
