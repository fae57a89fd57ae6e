"""docs/first-hour.md, typed as it stands: a directory, the questions of ``init``, a lab, a plan, an invite, a held set
and a report, each showing what the page says it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.parts.installed import ROOT
from tests.parts.ports import free_port, free_ports
from tests.parts.terminal import at_a_terminal

PAGE = ROOT / "docs" / "first-hour.md"
_BLOCK = re.compile(r"^```(sh|console)(?: (\w+))?\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_INSTALLS = ("scripts/setup", "apt-get")
_ASKED = re.compile(r"([^:]* \[[^\]]*\]):\s?(.*)$")
_SOON, _START = 30.0, 60.0
_DIFFERS = re.compile(
    r"token=\w+ |ticket=[\w-]+|\?i=[\w-]+|rpt_\w+|\b[0-9a-f]{32}\b|\b[0-9a-f]{16}…|\b[0-9a-f]{12}\b|\b[a-z2-7]{52}\b"
    r"|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\d{4}-\d\d-\d\dT[\d:.]+Z|\d{4}-\d\d-\d\d(?: \d\d:\d\d UTC)?|just now|\d+ \w+ ago"
    r"|publication \d+"  # a reload publishes at once what there is
)
"""What is another at every reader's; what a command takes of it was shown before."""
_ALSO = re.compile(r"/tmp/tmp\.\w+|127\.0\.0\.1:\d+|  +|--+")


@dataclass(frozen=True, slots=True)
class Block:
    """What is typed, how (a terminal, an exit code, ``soon`` for what takes its time), and what is shown then."""

    kind: str
    how: str
    typed: str
    shown: str


def blocks(page: str) -> Iterator[Block]:
    """Every block that is typed, in the order of the page."""
    yield from (Block(*(part or "" for part in found)) for found in _BLOCK.findall(page))


class Reader:
    """Somebody with three terminals who types the page. ``knows``: what the page shows → what was shown to them."""

    def __init__(self, folder: Path) -> None:
        programs = folder / "bin"
        programs.mkdir()
        (programs / "rosterd").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rosterd.cli "$@"\n', encoding="utf-8")
        (programs / "rosterd").chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROSTERD_")}
        path = f"{programs}:{os.environ['PATH']}:/usr/sbin"
        self._environment = {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
        self.folder = self._here = folder / "home"
        self.folder.mkdir()
        self.terminals: list[subprocess.Popen[str]] = []
        names, mail, served = free_ports(2)[0], free_ports(2)[0], free_ports(2)[0]
        self._lab = (90, free_port()), (53, names), (25, mail)
        self._ports = {"3890": free_port(), "8080": served, "8081": served + 1, "8090": self._lab[0][1]}
        self._ports |= {"8053": names, "8054": names + 1, "8025": mail, "8026": mail + 1}
        self.knows: dict[str, str] = {}

    def types(self, block: Block) -> str:
        """What is shown."""
        text = self._own(block.typed)
        if block.kind == "console":
            return self._answers(text)
        if block.how in {"lab", "serve"}:
            return self._leaves_running(block.how, text)
        until, code = time.monotonic() + _SOON * (block.how == "soon"), int(block.how) if block.how.isdigit() else 0
        while True:
            shown = self._runs(text, code if time.monotonic() >= until else -1)
            if time.monotonic() >= until or self.same(block.shown, shown):
                return shown
            time.sleep(0.2)

    def same(self, told: str, shown: str) -> bool:
        """Whether they say the same; whoever compares learns what differs."""
        self.knows |= dict(zip(_DIFFERS.findall(told), _DIFFERS.findall(shown), strict=False))
        return plain(told) == plain(self.as_told(shown))

    def as_told(self, shown: str) -> str:
        """With the folder and the ports of the page."""
        for told, own in self._ports.items():
            shown = shown.replace(f"127.0.0.1:{own}", f"127.0.0.1:{told}")
        return shown.replace(str(self.folder), "/tmp/tmp.4aBcDeFgHi")

    def _own(self, text: str) -> str:
        for told, own in sorted(self.knows.items(), key=lambda item: -len(item[0])):
            text = text.replace(told, own)
        for told, port in self._ports.items():
            text = text.replace(f"127.0.0.1:{told}", f"127.0.0.1:{port}")
        return text

    def _runs(self, text: str, code: int) -> str:
        place = self.folder / ".here"
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{text}\npwd > '{place}'"],
            cwd=self._here, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=_START, check=False,
        )  # fmt: skip
        assert code in {-1, done.returncode}, f"{text}\n{done.stdout}"
        if not done.returncode:
            self._here = Path(place.read_text(encoding="utf-8").strip())
        return done.stdout

    def _answers(self, text: str) -> str:
        command, *lines = text.splitlines()
        with at_a_terminal(command.removeprefix("$ rosterd ").split(), cwd=self._here) as terminal:
            for question, typed in (_ASKED.findall(line)[0] for line in lines):
                terminal.answer(re.escape(question.partition(" [")[0]), typed)
            assert terminal.end() == 0, terminal.shown
        file = self._here / "acme" / "rosterd.toml"
        file.write_text(self._own(file.read_text(encoding="utf-8")), encoding="utf-8")
        asked = [line for line in terminal.shown.splitlines() if _ASKED.match(line.strip())]
        return "\n".join([command, *(line.strip() for line in asked)]) + "\n"

    def _leaves_running(self, what: str, text: str) -> str:
        if what == "lab":
            options = zip(("--idp-port", "--dns-port", "--mail-port"), self._lab, strict=True)
            text = text.rstrip() + "".join(f" {name} {port}" for name, (_, port) in options)
        *before, last = text.strip().splitlines()
        child = subprocess.Popen(
            ["bash", "-c", "\n".join(("set -e", *before, f"exec {last}"))],
            cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.terminals.append(child)
        assert child.stdout is not None
        shown = ""
        for line in child.stdout:
            shown += line
            if "Ctrl-C here ends" in line or "serve.listening" in line:
                return "" if what == "serve" else shown
        raise AssertionError(f"it ended:\n{shown}")

    def leaves(self) -> None:
        """Close every terminal, and end the directory."""
        for child in self.terminals:
            child.terminate()
            child.communicate(timeout=30)
        with suppress(FileNotFoundError):
            os.kill(int((self.folder / "directory" / "slapd.pid").read_text(encoding="ascii")), SIGTERM)


def plain(text: str) -> str:
    """Text without what differs from reader to reader."""
    text = _ALSO.sub(" ", _DIFFERS.sub("X ", text))
    return "\n".join(re.sub(r" +", " ", line).strip() for line in text.strip().splitlines())


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.leaves()


def test_the_first_hour_as_it_is_written(reader: Reader) -> None:
    seen = 0
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        if block.typed.startswith(_INSTALLS):
            continue
        shown = reader.types(block)
        told = block.typed if block.kind == "console" else block.shown
        assert reader.same(told, shown) or not told, f"{block.typed}\n--- the page:\n{told}\n--- shown:\n{shown}"
        seen += bool(told)
    assert seen > 15
