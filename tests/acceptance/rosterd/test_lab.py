"""``rosterd lab``: what it prints, typed as printed, leads from ``init`` to enabled sync; and it leaves nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from connector.sso.settings import SsoSettings
from ledger.errors import BadInput
from rosterd.lab import own_copy, place
from rosterd.loading import load
from tests.parts.chromium import chromium
from tests.parts.installation import Installation
from tests.parts.installed import ROOT
from tests.parts.ports import free_port, free_ports

_SECONDS = 60.0
END = "Ctrl-C here ends"
STEP = re.compile(r"^ *\d+\. (rosterd .*)$", re.MULTILINE)


@pytest.fixture
def acme(tmp_path: Path) -> Installation:
    """What ``rosterd init`` writes, at a port that is free."""
    made = Installation.make(tmp_path / "etc")
    listen = load(made.file, {}).installation.server.listen
    made.edit("rosterd.toml", 'public_url = "http://127.0.0.1:8080"', f'public_url = "http://{listen}"')
    return made


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.close()


class Shell:
    """Terminals of somebody who pastes commands; ``rosterd`` is this checkout."""

    def __init__(self, folder: Path) -> None:
        programs = folder / "bin"
        programs.mkdir()
        program = programs / "rosterd"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rosterd.cli "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROSTERD_")}
        self._environment = {**kept, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self._folder = folder
        self._running: list[subprocess.Popen[str]] = []

    def types(self, command: str, code: int = 0) -> str:
        """What a command prints; it ends with ``code``."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def leaves_running(self, command: str) -> subprocess.Popen[str]:
        """A command in a terminal of its own."""
        child = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._running.append(child)
        return child

    def close(self) -> None:
        """Close every terminal."""
        for child in self._running:
            child.terminate()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout:
                child.stdout.close()


def read_until(child: subprocess.Popen[str], text: str) -> str:
    """What a terminal shows up to and with a line that holds ``text``."""
    lines: list[str] = []
    assert child.stdout is not None
    for line in child.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"it ended without {text!r}:\n{''.join(lines)}")


@contextmanager
def a_lab(shell: Shell, acme: Installation, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A lab that runs, and what it printed."""
    ports = own_ports()
    words = ("rosterd", "-c", str(acme.file), "lab", *ports, *options)
    child = shell.leaves_running(shlex.join(words))
    try:
        yield child, read_until(child, END)
    finally:
        child.terminate()
        assert child.wait(30) == 0


def own_ports() -> tuple[str, ...]:
    """Options with ports nobody has: for the provider, for two name servers, for the mail server and its page."""
    names, mail = free_ports(2)[0], free_ports(2)[0]
    return ("--idp-port", str(free_port()), "--dns-port", str(names), "--mail-port", str(mail))


def walk(shell: Shell, printed: str) -> str:
    """Type every command as it was printed; ``VALUE`` and ``URL`` are what an earlier one said. The last answer."""
    said = ""
    known: dict[str, str] = {}
    commands = STEP.findall(printed)
    assert len(commands) == 10
    for command in commands:
        for name, value in known.items():
            command = command.replace(f"'{name}'", shlex.quote(value))
        if command.endswith(" serve"):
            read_until(shell.leaves_running(command), "serve.listening")
            continue
        said = shell.types(command)
        if found := re.search(r"^  \S+  TXT  (.+)$", said, re.MULTILINE):
            known["VALUE"] = found[1]
        if found := re.search(r"^(http\S+)$", said, re.MULTILINE):
            known["URL"] = found[1]
    return said


def the_link(page: str, mail: str) -> str:
    """The invite that came to an address, as its mail's page shows it."""
    for _ in range(200):
        found = re.search(rf"href='(/\d+)'>\d+</a><td>[^<]*{mail}", read(page))
        if found:
            [link] = set(re.findall(r'href="([^"]+/invite[^"]+)"', read(page.rstrip("/") + found[1])))
            return unescape(link)
        time.sleep(0.1)
    raise AssertionError(read(page))


def clicks(page: str, mail: str) -> str:
    """What a person's browser shows who finds the mail, follows its link and signs in: nothing but clicks."""
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 320, "height": 640})
        tab.goto(page)
        tab.get_by_role("row", name=mail).get_by_role("link").click()
        tab.get_by_role("link", name="Sign in and accept").click()
        tab.get_by_role("link").first.click()
        tab.get_by_label("Your mail address").fill(f"{mail}.")
        assert tab.evaluate("document.documentElement.scrollWidth") == 320
        assert "to acme, which takes people of acme.example" in tab.inner_text("body")
        tab.get_by_role("button").click()
        tab.wait_for_url("**/done?n=*")
        assert tab.reload()
        return tab.inner_text("body")


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the configuration that a person wrote or keeps."""
    kept = [path for path in folder.rglob("*") if path.is_file() and "lab" not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def descendants(pid: int) -> set[int]:
    """Everything that a process started, and what that started."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found |= {int(child)} | descendants(int(child))
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not asked for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_lab_with_a_copy_prints_leads_to_sync(shell: Shell, acme: Installation) -> None:
    before = contents(acme.folder)
    with a_lab(shell, acme, "--write") as (_, printed):
        assert "THIS PROVES NOTHING TO THE WORLD" in printed
        assert "newcomer@acme.example" in walk(shell, printed)
        page = re.findall(r"every mail: (http\S+)", printed)[0]
        link = the_link(page, "newcomer@acme.example")
        assert "Welcome, newcomer@acme.example." in clicks(page, "newcomer@acme.example")
        assert "was claimed already" in read(link)
        copy = shlex.quote(str(acme.folder / "lab" / "rosterd.toml"))
        refused = shell.types(f"rosterd -c {copy} lab sign-in {shlex.quote(link)} bo@globex.example", code=3)
        assert "globex.example is no domain of this configuration; at this page acme takes people of acme." in refused
        [explain] = re.findall(r"→ (rosterd .*)$", refused, re.MULTILINE)
        assert "mail_domain" in shell.types(explain)
        status = shell.types(f"rosterd -c {copy} sso status")
        assert "acme.example: verified, gate open" in status
        # the proof goes, as it would in the world
        shell.types(f"rosterd -c {copy} lab withdraw _rosterd-challenge.acme.example")
        assert "not there" in shell.types(f"rosterd -c {copy} lab withdraw _rosterd-challenge.acme.example")
    assert contents(acme.folder) == before
    # it comes back as it was, by the copy's own name; for other ports it does not
    ports = re.findall(r"127\.0\.0\.1:(\d+)", printed)
    chosen = f"--idp-port {ports[0]} --dns-port {ports[1]} --mail-port {ports[3]}"
    again = shell.leaves_running(f"rosterd -c {copy} lab {chosen}")
    assert "put into" not in read_until(again, END)
    again.terminate()
    assert again.wait(30) == 0
    other = shlex.join(("rosterd", "-c", str(acme.file), "lab", "--write", *own_ports()))
    assert "for other ports" in shell.types(other, code=2)


def test_what_a_lab_says_to_put_into_ones_own_files_leads_to_sync(shell: Shell, acme: Installation) -> None:
    with a_lab(shell, acme) as (_, printed):
        blocks = re.findall(r"^put into (\S+), in place of .*:\n((?:    .*\n|\n)+)", printed, re.MULTILINE)
        assert [file for file, _ in blocks] == [str(acme.file), str(acme.organization)]
        for file, text in blocks:
            tomllib.loads(text)
            with Path(file).open("a", encoding="utf-8") as handle:
                handle.write("\n" + "\n".join(line.removeprefix("    ") for line in text.splitlines()) + "\n")
        assert "newcomer@acme.example" in walk(shell, printed)


def test_a_lab_serves_one_organization_of_several_and_says_how_to_serve_another(
    shell: Shell, acme: Installation
) -> None:
    other = acme.organization.read_text(encoding="utf-8").replace("acme", "globex").replace("Acme", "Globex")
    acme.organization.with_name("globex.toml").write_text(other, encoding="utf-8")
    with a_lab(shell, acme, "-o", "acme", "--write") as (_, printed):
        assert "organization: acme alone, not globex; for another end this lab, and" in printed
        [another] = re.findall(r"^  → (rosterd .* -o globex .*)$", printed, re.MULTILINE)
    ports = shlex.join(own_ports())
    child = shell.leaves_running(f"{another} {ports}")
    assert "sso add globex.example" in read_until(child, END)


def test_programs_get_the_same_as_one_document(shell: Shell, acme: Installation) -> None:
    child = shell.leaves_running(shlex.join(("rosterd", "-c", str(acme.file), "lab", *own_ports(), "--json")))
    assert child.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        text += child.stdout.readline()
    document = json.loads(text)
    assert "PROVES NOTHING" in document["warning"]
    assert list(document["set"]) == [str(acme.file), str(acme.organization)]
    assert [step["command"].split()[3:5] for step in document["steps"]][-2:] == [["sync", "enable"], ["invite", "add"]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_nothing_of_a_lab_outlives_it(shell: Shell, acme: Installation, number: signal.Signals) -> None:
    child = shell.leaves_running(shlex.join(("rosterd", "-c", str(acme.file), "lab", *own_ports())))
    read_until(child, END)
    children = descendants(child.pid)
    assert len(children) == 4
    child.send_signal(number)
    assert child.wait(30) == (-9 if number is signal.SIGKILL else 0)
    until = time.monotonic() + _SECONDS
    while any(alive(pid) for pid in children) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in children if alive(pid)]


def test_a_lab_whose_provider_died_says_so_and_ends(shell: Shell, acme: Installation) -> None:
    child = shell.leaves_running(shlex.join(("rosterd", "-c", str(acme.file), "lab", *own_ports())))
    read_until(child, END)
    victim, *others = sorted(descendants(child.pid))
    os.kill(victim, signal.SIGKILL)
    assert child.wait(30) == 4
    assert child.stdout is not None
    assert "a process of the lab ended" in child.stdout.read()
    assert not [pid for pid in others if alive(pid)]


@pytest.mark.parametrize("option", ["--idp-port", "--dns-port", "--mail-port"])
def test_a_port_in_use_is_named(acme: Installation, option: str) -> None:
    kind = socket.SOCK_DGRAM if option == "--dns-port" else socket.SOCK_STREAM
    options = dict(zip(*[iter(own_ports())] * 2, strict=True))
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        options[option] = str(taken.getsockname()[1])
        refused = acme.rosterd("lab", *(word for pair in options.items() for word in pair))
    assert refused.code == 2
    assert f"{option}: port {options[option]} of 127.0.0.1 is in use already" in refused.err
    assert not (acme.folder / "lab").exists()
    [again] = re.findall(r"→ rosterd lab (--idp-port \d+ --dns-port \d+ --mail-port \d+)$", refused.err, re.MULTILINE)
    assert {name for name in options if f"{name} {options[name]}" not in again} == {option}


def test_the_daemons_port_is_not_the_providers(acme: Installation) -> None:
    port = load(acme.file, {}).installation.server.address[1]
    refused = acme.rosterd("lab", "--idp-port", str(port))
    assert (refused.code, "is the daemon's" in refused.err) == (2, True)


def test_a_lab_for_what_others_can_reach_is_refused(acme: Installation) -> None:
    listen = load(acme.file, {}).installation.server.listen
    acme.edit("rosterd.toml", f'public_url = "http://{listen}"', 'public_url = "https://rosterd.acme.example"')
    refused = acme.rosterd("lab", "--write", "--json")
    assert refused.code == 3
    assert "could sign in as anybody" in refused.document["error"]["what"]
    assert not (acme.folder / "lab").exists()


def test_signing_in_is_on_this_machine_only(acme: Installation) -> None:
    refused = acme.rosterd("lab", "sign-in", "https://rosterd.acme.example/x", "anna@acme.example")
    assert (refused.code, "not on this machine" in refused.err) == (2, True)
    nobody = acme.rosterd("lab", "sign-in", f"http://127.0.0.1:{free_port()}/x", "anna@acme.example")
    assert (nobody.code, "nobody answers" in nobody.err) == (4, True)


def test_nothing_is_published_where_there_is_no_lab_or_no_record(acme: Installation) -> None:
    missing = acme.rosterd("lab", "publish", "_rosterd-challenge.acme.example", "token=x")
    assert (missing.code, "there is no lab" in missing.err) == (2, True)
    for name, value in (("!ad", "x"), ("two names", "x"), ("", "x"), ("name", "")):
        assert acme.rosterd("lab", "publish", "--", name, value).code == 2


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ("", {}),
        ('[sso]\nmetadata = "https://idp.acme.example/m"\nmail_attribute = "mail"  # ours\n', {}),
        ('[[directories]]\nid = "corp"\nkind = "ldif"\nfile = "people.ldif"\n', {"file": "people.ldif"}),
        (
            '[sso]\nentity_id = "https://idp.acme.example"\n\n[[directories]]\nid = "corp"\nkind = "ldap"\n'
            'servers = ["ldaps://ldap.acme.example"]\nbind_dn = "cn=reader"\nbind_password = "file:../secrets/ldap"\n'
            'people_base = "ou=People,dc=acme"\ntls_ca = "ca.pem"\n',
            {"tls_ca": "ca.pem"},
        ),
    ],
    ids=["as init writes it", "its own sso", "an LDIF file", "secrets and authorities"],
)
def test_a_copy_says_the_same_wherever_it_lies(
    acme: Installation, tmp_path: Path, before: str, kept: dict[str, Any]
) -> None:
    acme.append(f"\n{before}")
    folder = acme.organization.parent
    text = own_copy.organization(acme.organization.read_text(encoding="utf-8"), folder)
    other = tmp_path / "elsewhere" / "organizations"
    other.mkdir(parents=True)
    acme.organization.rename(folder / "acme.kept")
    acme.organization.write_text(text, encoding="utf-8")
    found = load(acme.file, {}).customer("acme").settings
    assert found.sso == SsoSettings(metadata="file:../idp-metadata.xml")
    assert [item.name for item in found.domains] == ["acme.example"]
    for directory in found.directories:
        for name, value in kept.items():
            assert getattr(directory, name) == str(folder / value)
        password = getattr(directory, "bind_password", None)
        assert password is None or password.name == str(folder / "../secrets/ldap")


def test_a_file_that_cannot_be_copied_is_not_used(acme: Installation) -> None:
    text = acme.organization.read_text(encoding="utf-8")
    acme.organization.write_text(f'sso.metadata = "file:mine.xml"\n{text}', encoding="utf-8")
    settings = load(acme.file, {})
    lab = place.planned(settings, "acme", folder=None, idp_port=1, dns_port=2, mail_port=4)
    with pytest.raises(BadInput, match="the copy"):
        own_copy.write(lab, settings)
