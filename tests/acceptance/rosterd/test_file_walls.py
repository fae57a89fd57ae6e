"""What is made on disk, for whom, and what is never made: modes, ids, a ledger that was lost."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.installation import Installation, run


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def test_what_holds_people_or_keys_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    for name in ("secrets", "var", "var/warehouse"):
        (tmp_path / "etc" / name).mkdir(parents=True, mode=0o777)
    acme = Installation.make(tmp_path / "etc")
    assert acme.rosterd("publish").code == 0
    found = modes(acme.folder)
    files = {name: mode for name, mode in found.items() if name.startswith(("secrets/", "var/")) and "." in name}
    assert {"var/ledger.db", "var/inbox.db", "var/catalog.db", "secrets/saml-key.pem"} <= set(files)
    assert {name for name, mode in files.items() if mode & 0o077} == {"secrets/saml-certificate.pem"}
    assert found["secrets/pepper"] == 0o600
    assert [name for name, mode in found.items() if name.startswith("var/warehouse/") and mode & 0o077] == []


def test_folders_that_are_made_are_private(tmp_path: Path, umask: int) -> None:
    acme = Installation.make(tmp_path / "etc")
    assert acme.rosterd("publish").code == 0
    assert [modes(acme.folder)[name] for name in ("secrets", "var", "var/warehouse")] == [0o700] * 3


@pytest.mark.parametrize("name", ["var/ledger.db", "var/inbox.db", "secrets/pepper", "secrets/saml-key.pem"])
def test_check_names_what_others_may_read(tmp_path: Path, name: str) -> None:
    acme = Installation.make(tmp_path / "etc")
    assert "readable by their owner only" in acme.rosterd("check").out
    (acme.folder / name).chmod(0o644)
    assert acme.rosterd("check").code == 0, "nobody else may enter its folder"
    (acme.folder / name).parent.chmod(0o755)
    answer = acme.rosterd("check")
    assert answer.code == 2
    assert f"chmod go-rwx {acme.folder / name}" in answer.out


@pytest.mark.parametrize(
    ("option", "value"),
    [("--organization", "../../x"), ("--organization", "Acme"), ("--organization", "a\n"), ("--organization", ""),
     ("--domain", 'acme.example"\nx = "1'), ("--domain", "../x")],
)  # fmt: skip
def test_init_takes_ids_and_domains_and_writes_nothing_elsewhere(tmp_path: Path, option: str, value: str) -> None:
    answer = run("init", str(tmp_path / "one" / "etc"), option, value)
    assert answer.code == 2
    assert option in answer.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["plan", "apply --auto", "report runs", "token list", "publish", "check --live"])
def test_no_command_puts_an_empty_ledger_in_the_place_of_a_lost_one(tmp_path: Path, words: str) -> None:
    acme = Installation.make(tmp_path / "etc")
    shutil.rmtree(acme.folder / "var")
    answer = acme.rosterd(*words.split())
    assert answer.code == 2
    assert str(acme.folder / "var" / "ledger.db") in answer.err
    assert "rosterd serve" in answer.err
    assert not (acme.folder / "var").exists()


def test_serve_makes_a_ledger_only_where_nothing_else_is(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    (acme.folder / "var" / "ledger.db").unlink()
    command = [sys.executable, "-m", "rosterd.cli", "--config", str(acme.file), "serve"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2
    assert "inbox.db: it was lost" in ran.stderr
    assert not (acme.folder / "var" / "ledger.db").exists()
    shutil.rmtree(acme.folder / "var")
    with acme.serving("--only", "connector"):
        assert stat.S_IMODE((acme.folder / "var" / "ledger.db").stat().st_mode) == 0o600
