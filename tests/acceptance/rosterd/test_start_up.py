"""Starting: help, version, completion and the manual page load no library of the product; a command or a job its own.

Modules are counted, in processes of their own: unlike times, they are the same on every machine.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import typer
from typer.main import get_command

from ledger.jobs import Claim
from ledger.store import jobs
from rosterd import job_kinds
from rosterd.cli import EXIT_CODES, VERBS, make
from rosterd.handover import Handover
from rosterd.loading import load
from rosterd.service import Service
from tests.parts import fresh
from tests.parts.installation import Installation
from tests.parts.ports import free_port

MOST = 400
LIBRARIES = {"aiohttp", "aiosqlite", "alembic", "apscheduler", "cryptography", "dns", "duckdb", "keycloak", "ldap3",
             "msgspec", "psycopg", "pyarrow", "pyiceberg", "rich", "saml2", "sqlalchemy", "uvloop"}  # fmt: skip
HEAVY = {"ldap3", "aiohttp", "saml2", "pyiceberg", "pyarrow", "duckdb", "apscheduler"}
WITHOUT_LEDGER = LIBRARIES - {"cryptography", "msgspec"}

COMMANDS: dict[str, tuple[str, set[str]]] = {
    "init FOLDER": ("init {folder}/new", HEAVY | {"dns"}),
    "check": ("check", WITHOUT_LEDGER),
    "token list": ("token list", HEAVY),
    "usage status": ("usage status", HEAVY),
    "report runs": ("report runs", HEAVY),
    "report held": ("report held", HEAVY),
    "invite list": ("invite list", HEAVY),
    "sso status": ("sso status", HEAVY | {"dns"}),
    "sync status": ("sync status", HEAVY | {"dns"}),
    "plan, from a file": ("plan", HEAVY | {"dns"}),
}
"""Command → its words, and what it must not load."""

JOBS: dict[str, set[str]] = {
    job_kinds.SEAL: HEAVY | {"dns", "connector.reconcile.run"},
    job_kinds.EVIDENCE: HEAVY | {"connector.reconcile.run"},
    job_kinds.RECONCILE: HEAVY | {"dns"},
    job_kinds.PLAN: HEAVY | {"dns"},
    job_kinds.PUBLISH: {"ldap3", "saml2", "apscheduler", "dns", "duckdb", "connector.reconcile.run"},
}
"""Job kind → what its worker must not load; the directory here is a file."""

LDIF_DIRECTORY = """
[[directories]]
id = "corp"
kind = "ldif"
file = "people.ldif"
"""
LDAP_DIRECTORY = """
[[directories]]
id = "corp"
kind = "ldap"
servers = ["ldap://127.0.0.1:PORT"]
plaintext = true
bind_dn = "cn=reader,dc=x"
bind_password = "file:../secrets/pepper"
people_base = "dc=x"
"""


def paths(command: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Words of every verb and sub-verb, the hidden ones too."""
    for name, inner in getattr(command, "commands", {}).items():
        yield (*above, name)
        yield from paths(inner, (*above, name))


TREE: Any = get_command(make(VERBS))
EVERY = sorted(paths(TREE))


@pytest.fixture(scope="module")
def helped() -> dict[str, tuple[int, str, int]]:
    """Words → code, text and modules so far, of the help of every verb, one after another in one fresh process: if all
    of them together load little, each does."""
    script = (
        "import contextlib, io, json, sys\n"
        "from rosterd.cli import run\n"
        "found = {}\n"
        "for number, words in enumerate(json.loads(sys.argv[1])):\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        code = run([*words, ('--help', '-h')[number % 2]])\n"
        "    found[' '.join(words)] = (code, out.getvalue(), len(sys.modules))\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps([[], [], *EVERY])],
        capture_output=True, text=True, check=True, cwd=fresh.ROOT, env=fresh.environment(),
    )  # fmt: skip
    return dict(json.loads(done.stdout))


@pytest.fixture
def acme(tmp_path: Path) -> Installation:
    made = Installation.make(tmp_path / "etc")
    (made.folder / "organizations" / "people.ldif").write_text("version: 1\n", encoding="utf-8")
    made.append(LDIF_DIRECTORY)
    return made


def loaded(ran: fresh.Ran) -> set[str]:
    """Which libraries of the product a process had loaded."""
    return {name for name in LIBRARIES if name in ran.modules}


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_the_help_of_every_verb_loads_little(helped: dict[str, tuple[int, str, int]], words: tuple[str, ...]) -> None:
    code, text, modules = helped[" ".join(words)]
    assert code == 0
    assert text.startswith(f"Usage: rosterd {' '.join(words)} ")
    assert "-h, --help" in text
    assert modules <= MOST


@pytest.mark.parametrize("words", ["--help", "-h", "--version", "plan --help", "token create -h", "man",
                                   "completion bash"])  # fmt: skip
def test_a_fresh_process_that_only_explains_loads_no_library(words: str) -> None:
    ran = fresh.command(*words.split())
    assert ran.code == 0, ran.err
    assert len(ran.modules) <= MOST
    assert loaded(ran) == set()


def test_the_version_is_that_of_the_installed_package() -> None:
    assert fresh.command("--version").out == f"rosterd {version('rosterd')}\n"


def test_python_runs_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rosterd", "no-such-verb"],
        capture_output=True, text=True, check=False, cwd=fresh.ROOT, env=fresh.environment(),
    )  # fmt: skip
    assert done.returncode == 2
    assert "No such command 'no-such-verb'" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_loads_what_it_needs(acme: Installation, name: str) -> None:
    words, forbidden = COMMANDS[name]
    ran = fresh.command("--config", str(acme.file), *words.format(folder=acme.folder).split())
    assert ran.code in {0, 3}, ran.err  # a plan is suspended here: nobody has proved a domain
    assert forbidden & ran.modules == set()


@pytest.mark.parametrize("kind", JOBS)
def test_a_worker_loads_what_its_job_needs(acme: Installation, kind: str) -> None:
    assert acme.rosterd("token", "create", "x").code == 0  # now the organization is in the ledger
    settings = load(acme.file, {})

    async def claimed() -> Claim:
        async with Service.opened(settings) as service:
            now = service.clock()
            await jobs.enqueue(service.ledger, "acme", kind, now=now)
            job = await jobs.claim(service.ledger, [kind], "test", now=now, deadline=timedelta(hours=1))
            assert job is not None
            return job.claim

    ran = fresh.job(Handover(settings, "acme", kind, {}, asyncio.run(claimed())))
    assert ran.code == 0
    assert set(json.loads(ran.out)) == {"outcome"}, ran.out
    assert JOBS[kind] & ran.modules == set()


@pytest.mark.parametrize(("words", "expected"), [
    ("rosterd pl", {"plan"}),
    ("rosterd token cr", {"create"}),
    ("rosterd plan --mark", {"--markdown"}),
    ("rosterd -c x.toml import us", {"usage"}),
    ("rosterd sync ", {"status", "enable", "disable"}),
])  # fmt: skip
def test_bash_completes(tmp_path: Path, words: str, expected: set[str]) -> None:
    """The printed script, sourced by a real bash that calls what it registered."""
    program = tmp_path / "rosterd"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rosterd "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    typed = words.split(" ")
    script = (
        "set -eu\nsource <(rosterd completion bash)\n"
        "[[ $(complete -p rosterd) =~ -F\\ ([^ ]+) ]]\n"
        f"COMP_WORDS=({' '.join(repr(word) for word in typed)}); COMP_CWORD={len(typed) - 1}\n"
        '"${BASH_REMATCH[1]}" rosterd\n'
        "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    path = f"{tmp_path}:{fresh.environment()['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True, text=True, check=False, cwd=fresh.ROOT, env=fresh.environment(PATH=path),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completing_loads_little_in_every_shell(shell: str) -> None:
    ran = fresh.command(
        _ROSTERD_COMPLETE=f"complete_{shell}",
        COMP_WORDS="rosterd rep", COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS="rosterd rep", _TYPER_COMPLETE_FISH_ACTION="get-args",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "report" in ran.out
    assert "plan" not in ran.out
    assert len(ran.modules) <= MOST
    assert loaded(ran) - {"rich"} == set()  # rich is a name there that cannot be imported


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_asks_rosterd(shell: str) -> None:
    script = fresh.command("completion", shell).out
    assert f"_ROSTERD_COMPLETE=complete_{shell}" in script


@pytest.fixture(scope="module")
def manual() -> str:
    return fresh.command("man").out


def test_every_verb_and_option_is_on_the_manual_page(manual: str) -> None:
    plain = manual.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")
    sections = {part.split("\n", 1)[0]: part for part in plain.split("\n.S")[1:]}
    assert all(option in sections["H OPTIONS"] for option in ("--config", "--json", "--debug", "--version", "--help"))
    for words in EVERY:
        command = TREE
        for word in words:
            command = command.commands[word]
        title = f'S "{" ".join(("rosterd", *words))}"'
        assert (title in sections) != command.hidden
        if not command.hidden:
            context = typer.Context(command, info_name=words[-1])
            wanted = {name for item in command.get_params(context) for name in item.opts if name.startswith("-")}
            assert wanted <= set(sections[title].replace(",", " ").split()), title
            assert command.help.split(None, 1)[0] in sections[title]
    for code, meaning in EXIT_CODES.items():
        assert f".TP\n{code}\n{meaning}\n" in sections["H EXIT STATUS"] + "\n"


def test_the_manual_page_is_roff(manual: str) -> None:
    assert manual.isascii()
    requests = {line.split()[0] for line in manual.splitlines() if line[:1] in {".", "'"}}
    assert requests == {".TH", ".ad", ".nh", ".SH", ".SS", ".TP", ".PP"}
    for command in (["groff", "-man", "-Tutf8", "-ww"], ["mandoc", "-Tlint", "-Wwarning"]):
        if shutil.which(command[0]):
            done = subprocess.run(command, input=manual, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A daemon that says it is ready, or not: its port, and what it was asked."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def test_the_health_check_asks_the_daemon_and_nothing_else(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    acme.append(LDAP_DIRECTORY.replace("PORT", str(free_port())))
    shutil.rmtree(acme.folder / "var")
    with answering(200) as (port, asked):
        ran = fresh.command(
            "-c", str(acme.file), "check", "--live", "--daemon", ROSTERD_SERVER_LISTEN=f"0.0.0.0:{port}"
        )
    assert ran.code == 0, ran.out
    assert ran.out == f"ok    daemon at http://127.0.0.1:{port}/health/ready answers 200\n"
    assert asked == ["/health/ready"]
    assert loaded(ran) <= {"msgspec"}
    assert not (acme.folder / "var").exists(), "a ledger was opened"


def test_a_broken_file_is_no_reason_to_end_a_daemon_that_goes_on(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    acme.append("[[mappings\n")
    acme.edit("rosterd.toml", "[database]", "[databse]")
    with answering(200) as (port, _):
        assert fresh.command(
            "-c", str(acme.file), "check", "--live", "--daemon", ROSTERD_SERVER_LISTEN=f"[::]:{port}"
        ).out.startswith("FAIL  daemon: nothing answers at http://[::1]:")
        ran = fresh.command(
            "-c", str(acme.file), "check", "--live", "--daemon", "--json", ROSTERD_SERVER_LISTEN=f"127.0.0.1:{port}"
        )
    assert ran.code == 0, ran.out
    assert json.loads(ran.out)["ok"]


def test_a_daemon_that_is_not_ready_or_not_there_fails_the_health_check_with_its_fix(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    absent = acme.rosterd("check", "--live", "--daemon")
    assert absent.code == 4
    assert "      → rosterd serve\n" in absent.out
    with answering(503) as (port, _):
        listen = acme.file.read_text(encoding="utf-8").split('listen = "')[1].split('"')[0]
        acme.edit("rosterd.toml", listen, f"127.0.0.1:{port}")
        draining = acme.rosterd("check", "--live", "--daemon")
    assert draining.code == 4
    assert "answers 503\n      → read the daemon's log\n" in draining.out


def test_the_daemon_is_asked_alone_or_with_everything_else(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    for words in (["--daemon"], ["--live", "--daemon", "--audit"]):
        assert acme.rosterd("check", *words).code == 2
