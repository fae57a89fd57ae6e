"""Files as spreadsheets and editors leave them: read where they have one meaning, else refused with the way out."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.parts.enabled import enable_sync
from tests.parts.installation import Answer, Installation

BASIS = ("usage", "basis", "--kind", "notice", "--purpose", "report", "--category", "employees",
         "--evidence", "intranet page 7", "--effective-on", "2026-01-01")  # fmt: skip
PERSON = """\
version: 1

dn: ou=People,dc=acme,dc=example
objectClass: organizationalUnit
ou: People

dn: uid=anna,ou=People,dc=acme,dc=example
objectClass: inetOrgPerson
uid: anna
cn: Anna Kowalska
givenName: Anna
sn: Kowalska
mail: anna.kowalska@acme.example
entryUUID: 00000000-0000-4000-8000-000000000001

dn: cn=design,ou=Groups,dc=acme,dc=example
objectClass: groupOfNames
cn: design
member: uid=anna,ou=People,dc=acme,dc=example
entryUUID: 00000000-0000-4000-8000-000000000002
"""
DIRECTORY = """
[[directories]]
id = "corp"
kind = "ldif"
file = "people.ldif"

[[mappings]]
id = "design"
directory = "corp"
group = "cn=design,ou=Groups,dc=acme,dc=example"
team = "Design"
offerings = ["CAD"]
"""
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
SUBSCRIPTIONS = "id,team,offering,quantity,tier,starts_on,ends_on\nS1,Design,CAD,5,business,2026-01-01,2096-01-01\n"
USAGE = "event_id,occurred_at,mail,offering_code,source,tokens\n" + (
    f"e1,{YESTERDAY}T10:00:00Z,anna.kowalska@acme.example,CAD,flex,3\n"
)
TEXT = {"subscriptions": SUBSCRIPTIONS, "usage": USAGE}
KINDS = sorted(TEXT)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A fresh installation with one person, and the offerings of the template."""
    made = Installation.make(tmp_path_factory.mktemp("files") / "etc")
    (made.folder / "organizations" / "people.ldif").write_text(PERSON, encoding="utf-8")
    made.append(DIRECTORY)
    enable_sync(made)
    assert made.rosterd(*BASIS).code == 0
    assert piped(made, "offerings").code == 0
    plan = made.rosterd("plan", "--json").document
    assert made.rosterd("apply", "--digest", plan["digest"]).code == 0
    return made


def piped(installation: Installation, what: str, form: str = "csv", *options: str) -> Answer:
    """`rosterd import KIND --template > FILE`, then `rosterd import KIND FILE`."""
    template = installation.rosterd("import", what, "--template", "--format", form, *options)
    assert (template.code, template.err) == (0, "")
    path = installation.folder / f"{what}.{form}"
    path.write_text(template.out, encoding="utf-8")
    return installation.rosterd("import", what, str(path), "--json")


def taken(installation: Installation, what: str, content: bytes, *options: str) -> Answer:
    """The import of a CSV file with this content."""
    path = installation.folder / "file.csv"
    path.write_bytes(content)
    return installation.rosterd("import", what, str(path), *options, "--json")


def rows_in(answer: Answer) -> int:
    """How many rows were good: imported, or known already."""
    assert answer.code == 0, answer.out + answer.err
    document = answer.document
    return int(document["rows"]) if "what" in document else int(document["accepted"] + document["duplicates"])


@pytest.mark.parametrize("options", [(), ("--separator", "semicolon"), ("--separator", "tab")], ids=" ".join)
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_every_template_is_accepted_by_the_import_it_is_for(
    acme: Installation, form: str, options: tuple[str, ...]
) -> None:
    for what in ("offerings", "subscriptions", "usage"):
        assert rows_in(piped(acme, what, form, *options)) == 3


@pytest.mark.parametrize("what", ["offerings", "subscriptions", "usage"])
def test_a_template_explains_every_column_and_needs_no_configuration(what: str, tmp_path: Path) -> None:
    nowhere = Installation(tmp_path)
    text = nowhere.rosterd("import", what, "--template").out
    document = nowhere.rosterd("import", what, "--template", "--json").document
    assert document["template"] == text
    header = next(line for line in text.splitlines() if not line.startswith("#"))
    assert [column["name"] for column in document["columns"]] == header.split(",")
    for column in document["columns"]:
        assert f"# - {column['name']} ({'required' if column['required'] else 'may be left out'}): " in text
        assert column["holds"]
        assert column["about"]


def test_without_a_file_the_template_is_named(tmp_path: Path) -> None:
    answer = Installation(tmp_path).rosterd("import", "usage")
    assert answer.code == 2
    assert "rosterd import usage --template" in answer.err
    assert Installation(tmp_path).rosterd("import", "usage", "file.csv", "--template").code == 2


def in_header(text: str, change: Callable[[str], str]) -> str:
    head, _, rest = text.partition("\n")
    return f"{change(head)}\n{rest}"


def quoted(head: str) -> str:
    return '"' + head.replace(",", '","') + '"'


COMMENTS = '# one, with commas\n\n#two\n"# three, quoted by Excel",,\n'
FORMS: dict[str, Callable[[str], bytes]] = {
    "as it is": lambda text: text.encode(),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "semicolons, CRLF and a mark": lambda text: text.replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig"),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "pipes": lambda text: text.replace(",", "|").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without its mark, tabs": lambda text: text.replace(",", "\t").encode("utf-16-le"),
    "a header in another letter case": lambda text: in_header(text, str.title).encode(),
    "a header with spaces": lambda text: in_header(text, lambda head: head.replace(",", " , ")).encode(),
    "a header of words": lambda text: in_header(text, lambda head: head.replace("_", " ").upper()).encode(),
    "a quoted header": lambda text: in_header(text, quoted).encode("utf-8-sig"),
    "empty lines at the end": lambda text: f"{text}\n\n \n".encode(),
    "separators at the end": lambda text: f"{text},,,\n".encode(),
    "cleared columns": lambda text: text.replace("\n", ",,\n").encode(),
    "comments before the header": lambda text: f"{COMMENTS}{text}".encode(),
    "a spreadsheet's own word": lambda text: f"sep=;\n{text.replace(',', ';')}".encode(),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", KINDS)
def test_a_form_of_one_meaning_is_read(acme: Installation, what: str, form: str) -> None:
    assert rows_in(taken(acme, what, FORMS[form](TEXT[what]))) == 1


@pytest.mark.parametrize("what", KINDS)
def test_a_value_that_begins_like_a_comment_is_a_value(acme: Installation, what: str) -> None:
    head, row, _ = TEXT[what].split("\n")
    content = f"# a comment\n{head}\n#{row}\n"
    assert rows_in(taken(acme, what, content.encode())) == 1
    again = taken(acme, what, content.encode()).document
    assert again.get("changed", 0) == 0  # it is there, under its name
    assert again.get("duplicates", 1) == 1
    lined = {"subscriptions": '{"id": "#1", "team": "Design", "offering": "CAD", "quantity": 1, '
             '"starts_on": "2026-01-01", "ends_on": "2096-01-01"}',
             "usage": f'{{"event_id": "#1", "occurred_at": "{YESTERDAY}T10:00:00Z", '
             '"mail": "anna.kowalska@acme.example", "offering_code": "CAD"}'}  # fmt: skip
    path = acme.folder / "file.ndjson"
    path.write_text(f"# a comment\n{lined[what]}\n", encoding="utf-8")
    assert rows_in(acme.rosterd("import", what, str(path), "--json")) == 1


def first(head: str) -> str:
    return head.partition(",")[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda head, row: (f"{head},{first(head)}", f"{row},x"), "{path}:1: column {first} is repeated"),
        (lambda head, row: (f"{head},{first(head).upper()}", f"{row},x"), "{path}:1: column {first} is repeated"),
        (lambda head, row: (f"{head},colour", f"{row},red"), "{path}:1: column 'colour' is unknown"),
        (lambda head, row: (f"#,{head}", f"1,{row}"), "{path}:1: column '#' is unknown"),
        (lambda head, row: (head.partition(",")[2], row.partition(",")[2]), "{path}:1: column {first} is missing"),
        (lambda head, row: ("# a comment", f"{head},colour\n{row},red"), "{path}:2: column 'colour' is unknown"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("what", KINDS)
def test_a_header_that_is_wrong_is_refused_with_its_line_and_the_template(
    acme: Installation, what: str, change: Callable[[str, str], tuple[str, str]], said: str
) -> None:
    head, row, _ = TEXT[what].split("\n")
    answer = taken(acme, what, "\n".join(change(head, row)).encode())
    assert answer.code == 2
    assert said.format(path=acme.folder / "file.csv", first=first(head)) in answer.err
    assert f"rosterd import {what} --template" in answer.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "file.csv: the file holds no subscriptions: nothing"),
        ("\ufeff\n \n", "file.csv: the file holds no subscriptions: nothing"),
        ("# a comment\nid,team,offering,quantity,starts_on,ends_on\n",
         "file.csv: the file holds no subscriptions: a header and no rows"),
        (SUBSCRIPTIONS.replace(",5,", ",ten,"),
         "file.csv:2: quantity: 'ten' is not a whole number; expected: a whole number from 1 to 10000000"),
        (SUBSCRIPTIONS.replace(",5,", ",,"), "file.csv:2: quantity: is empty; expected: a whole number"),
        (SUBSCRIPTIONS.replace(",5,", ',"5,0",'), "file.csv:2: quantity: '5,0' is not a whole number"),
        (SUBSCRIPTIONS.replace("2026-01-01", "01.01.2026"),
         "file.csv:2: starts_on: '01.01.2026' is not a day; expected: a day, as YYYY-MM-DD"),
        (SUBSCRIPTIONS.replace("2096", "2025"),
         "file.csv:2: ends_on: '2025-01-01' is not after starts_on, 2026-01-01"),
        (SUBSCRIPTIONS.replace("business", "Premium"), "file.csv:2: tier: 'Premium' is none of standard, business"),
        (SUBSCRIPTIONS.replace("S1", "S" * 300),
         f"file.csv:2: id: '{'S' * 79}… should have at most 64 characters; expected: text of at most 64 characters"),
        (SUBSCRIPTIONS.replace("Design", "Sales"), "file.csv:2: team: unknown Team 'Sales' (known: Design)"),
        (SUBSCRIPTIONS.replace("CAD", "CAT"), "file.csv:2: offering: unknown offering 'CAT': did you mean 'CAD'?"),
        (SUBSCRIPTIONS + "S2,Design\n",
         "file.csv:3: this row has fewer values than the header has names: 2 instead of 7"),
    ],
)  # fmt: skip
def test_a_fault_names_line_column_value_and_what_is_expected(acme: Installation, content: str, said: str) -> None:
    beside = "S9,Design,CAD,9,business,2026-01-01,2096-01-01\n" if content.startswith("id") else ""
    answer = taken(acme, "subscriptions", (content + beside).encode())
    assert answer.code == 2
    assert said in answer.err
    assert "rosterd import subscriptions --template" in answer.err
    later = "id,team,offering,quantity,starts_on,ends_on,renews\nS8,Design,CAD,1,2096-01-01,2097-01-01,S9\n"
    assert "unknown subscription 'S9'" in taken(acme, "subscriptions", later.encode()).err  # nothing of it is in


@pytest.mark.parametrize("encoding", ["cp1250", "iso8859-2"])
def test_an_encoding_that_is_one_of_several_is_asked_for_by_the_command_that_reads_it(
    acme: Installation, encoding: str
) -> None:
    offerings = "code,name\nA1,Śnieżka i ślad\nA2,Źródło\n"
    answer = taken(acme, "offerings", offerings.encode(encoding))
    assert answer.code == 2
    assert (
        f"file.csv:2: is not UTF-8 text (byte 13): as {encoding.upper()} the line is 'A1,Śnieżka i ślad'" in answer.err
    )
    assert f"file.csv --encoding {encoding}" in answer.err
    assert rows_in(taken(acme, "offerings", offerings.encode(encoding), "--encoding", encoding)) == 2
    usage = USAGE.replace("event_id", "version,event_id").replace("e1,", "ślad,e7,")
    answer = taken(acme, "usage", usage.encode(encoding))
    [row] = answer.document["quarantined_rows"]
    assert f"in {encoding.upper()} it reads 'ślad'; then import it with --encoding {encoding}" in row["reasons"][0]


def test_where_semicolons_part_cells_a_comma_is_the_decimal_mark(acme: Installation) -> None:
    text = USAGE.replace(",", ";").replace("e1", "d1")
    assert taken(acme, "usage", text.replace(";3\n", ";1,5\n").encode()).document["fractions"] == 1
    assert taken(acme, "usage", text.replace(";3\n", ";1.5\n").encode()).document["duplicates"] == 1
    either = taken(acme, "usage", text.replace("d1", "d2").replace(";3\n", ";1,500\n").encode()).document
    assert either["quarantined_rows"][0]["reasons"] == ["tokens is not a number: '1,500'; write a point for the comma"]


@pytest.mark.parametrize(("word", "eligible"), [("PRAWDA", True), ("fałsz", False), ("WAHR", True), ("0", False)])
def test_the_truth_of_other_desks_is_read(acme: Installation, word: str, eligible: bool) -> None:
    taken(acme, "offerings", f"code,name,eligible\nTRUTH,Truth,{str(not eligible).lower()}\n".encode())
    assert taken(acme, "offerings", f"code,name,eligible\nTRUTH,Truth,{word}\n".encode()).document["changed"] == 1
    again = taken(acme, "offerings", f"code,name,eligible\nTRUTH,Truth,{str(eligible).lower()}\n".encode())
    assert again.document["changed"] == 0


def test_progress_counts_rows_as_rows_and_bytes_as_bytes(acme: Installation) -> None:
    path = acme.folder / "long.csv"
    head, row, _ = USAGE.split("\n")
    path.write_text(head + "\n" + "".join(f"p{n}{row[2:]}\n" for n in range(12_345)), encoding="utf-8")
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "rosterd.cli", "--config", str(acme.file), "import", "usage", str(path)]
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(command, stderr=terminal, stdout=subprocess.DEVNULL, env=environment) as process:
        os.close(terminal)
        seen = b""
        while True:
            try:
                seen += os.read(screen, 65_536)
            except OSError:  # the other end is closed
                break
    os.close(screen)
    assert process.returncode == 0
    size = f"{path.stat().st_size / 1000:.1f} kB"
    assert f"12,345 rows, {size} of {size}" in seen.decode()
    assert f"{path.stat().st_size}/" not in seen.decode()
