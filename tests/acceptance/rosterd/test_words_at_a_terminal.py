"""What is printed can be typed as it stands: at a terminal of 80 columns, by somebody who only reads and pastes."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.rosterd.test_held_on_the_command_line import DESIGN, prepared
from tests.parts.installation import Installation
from tests.parts.terminal import at_a_terminal

__all__ = ["prepared"]
GONE = len(DESIGN) - 3


@pytest.fixture
def acme(prepared: Path, tmp_path: Path) -> Installation:
    """A copy with a held set that waits."""
    shutil.copytree(prepared, tmp_path / "etc")
    made = Installation(tmp_path / "etc")
    assert made.rosterd("apply", "--auto", "--json").document["held"]
    return made


@dataclass(frozen=True, slots=True)
class Screen:
    """How a command ended, and what it showed: as it came, and without colours."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """As it is read."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.raw)


def typed(acme: Installation, command: str, *answers: str, columns: int = 80, **more: str) -> Screen:
    """A command of a message, at a terminal; each answer is to why."""
    program, *words = shlex.split(command)
    assert program == "rosterd", command
    under = {"COLUMNS": str(columns), "TERM": "xterm-256color", **more}
    with at_a_terminal(words, cwd=acme.folder, under=under) as terminal:
        for answer in answers:
            terminal.answer(r"Why\?", answer)
        return Screen(terminal.end(), terminal.shown)


def test_an_approval_asks_why_and_says_what_it_does_and_undo_takes_the_short_id(acme: Installation) -> None:
    shown = acme.rosterd("report", "held").out
    [command] = re.findall(r"if it is meant: (rosterd approve \S+)$", shown, re.MULTILINE)
    done = typed(acme, command, "", "they moved")
    assert done.code == 0, done.text
    assert f"{GONE} PauseSeat" in done.text.split("Why?")[0], "what is approved stands before the question"
    assert acme.rosterd("report", "runs", "--json").document["runs"][0]["kind"] == "approve"
    [undo] = re.findall(r"`(rosterd undo \S+ --dry-run)`", done.text)
    would = typed(acme, undo)
    assert "would undo run" in would.text
    undone = typed(acme, undo.removesuffix(" --dry-run"), "they came back")
    assert undone.code == 0, undone.text


def test_without_a_terminal_a_reason_is_a_word_of_the_command(acme: Installation) -> None:
    digest = acme.rosterd("report", "held", "--json").document["held"][0]["digest"]
    for words in (("approve", digest), ("undo", "0" * 12), ("restrict", "Design"), ("sso", "off")):
        answer = acme.rosterd(*words)
        assert answer.code == 2
        assert "--reason TEXT" in answer.err


def test_ids_are_never_cut(acme: Installation) -> None:
    listed = typed(acme, "rosterd report runs")
    runs = acme.rosterd("report", "runs", "--json").document["runs"]
    ids = [row["id"] for row in runs]
    assert ids
    assert all(run_id[:12] in listed.text for run_id in ids)
    for applied in (row["id"] for row in runs if row["counts"]):
        assert f"would undo run {applied}" in acme.rosterd("undo", applied[:12], "--dry-run").out
    assert all(len(line) <= 80 for line in listed.text.splitlines() if line[:1] in "┏┃┡│└")
    narrow = typed(acme, "rosterd report runs", columns=50)
    assert all(run_id[:12] in narrow.text for run_id in ids)
    assert acme.rosterd("undo", "0", "--dry-run").code == 2
    assert acme.rosterd("undo", "f" * 12, "--dry-run").code == 2


def test_people_lists_who_is_where_with_what(acme: Installation) -> None:
    everybody = acme.rosterd("people", "--json").document["people"]
    assert len(everybody) >= len(DESIGN)
    one = next(row for row in everybody if row["teams"])
    assert (one["teams"], one["seats"][0]["offering"]) == (["Design"], "CAD")
    assert f"{one['mail']}  " in acme.rosterd("people", "--team", "design").out
    assert acme.rosterd("people", "--state", "gone").code == 2
    assert acme.rosterd("people", "--team", "nobody").code == 2
    assert "there are more: --limit" in acme.rosterd("people", "--limit", "1").out
    screen = typed(acme, "rosterd people --team Design")
    assert [line for line in screen.text.splitlines() if len(line) > 80] == []
    assert all(row["mail"] in screen.text for row in everybody if row["teams"])


def test_status_answers_how_are_we_on_one_screen(acme: Installation) -> None:
    answer = acme.rosterd("status")
    assert answer.code == 0
    assert len(answer.out.splitlines()) <= 24
    for said in ("gate: acme.example open", "enabled since", "entries", "no mail is sent", "nothing was published yet"):
        assert said in answer.out, answer.out
    assert re.search(rf"! held +\w{{12}}: {GONE} people, expires in", answer.out)
    document = acme.rosterd("status", "--json").document
    held = next(row for row in document["organizations"]["acme"] if row["about"] == "held")
    assert held["next"].startswith("rosterd report held ")
    assert document["daemon"]["worry"] is True


def test_a_plan_is_shown_for_one_person_one_team_or_one_group(acme: Installation) -> None:
    gone = DESIGN[5].mail
    person = acme.rosterd("plan", "--only", gone.upper())
    assert person.code == 3
    assert person.out.count("@acme.example:") == person.out.count(f"{gone}:") == 1
    for one in ("design", "Design"):
        team = acme.rosterd("plan", "--only", one).out
        assert f"HELD: the changes of {GONE} people wait" in team
        assert team.count("@acme.example:") == GONE
    assert acme.rosterd("plan", "--only", "Nowhere").out.splitlines()[0] == "nothing changes for Nowhere"


@pytest.mark.parametrize("value", ["1", "yes"])
def test_no_color_is_honoured(acme: Installation, value: str) -> None:
    assert not re.search(r"\x1b\[[0-9;]*[39][0-7]m", typed(acme, "rosterd check", NO_COLOR=value).raw)
    assert re.search(r"\x1b\[[0-9;]*[39][0-7]m", typed(acme, "rosterd check").raw)


def test_a_path_with_spaces_is_quoted(acme: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "our config"
    shutil.copytree(acme.folder, folder)
    shown = Installation(folder).rosterd("check", "--live", "--mail-to", "ada@acme.example")
    for command in re.findall(r"→ (rosterd .*)", shown.out):
        shlex.split(command)
    assert f"-c {folder}" not in shown.out


def test_of_several_organizations_every_command_says_which(acme: Installation) -> None:
    text = acme.organization.read_text(encoding="utf-8")
    other = text.replace('id = "acme"', 'id = "globex"').replace("acme.example", "globex.example")
    (acme.folder / "organizations" / "globex.toml").write_text(other, encoding="utf-8")
    assert acme.rosterd("report", "runs").code == 2, "it has to be said which"
    shown = acme.rosterd("plan", "-o", "acme").out
    assert re.search(r"`rosterd approve \w{12} -o acme`", shown)
    assert re.search(r"→ rosterd sso status -o globex", acme.rosterd("status").out)
    assert re.search(r"→ rosterd report held \w{12} -o acme", acme.rosterd("status").out)
    refused = acme.rosterd("undo", "f" * 12, "--dry-run", "-o", "acme")
    assert "rosterd report runs" in refused.err
