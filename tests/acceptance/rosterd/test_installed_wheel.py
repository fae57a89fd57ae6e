"""rosterd installs: its wheel, in an empty venv outside the checkout, plays the demo and starts an installation."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.installed import ROOT, Installed, shared_installation
from tests.parts.shared import base_of

PACKAGES = ("rosterd", "ledger", "access", "connector", "reporting_api")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Installed]:
    """The run's one installation; workers share the folder above their own."""
    with shared_installation(base_of(tmp_path_factory, worker_id)) as made:
        yield made


def test_wheel_and_source_hold_every_file_of_the_product_and_no_other_code(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    with tarfile.open(installed.sdist) as sdist:
        members = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
    product = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == product
    assert product <= members
    beside = {name for name in members - product if ".egg-info/" not in name}
    assert beside == {"PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}


def test_an_installation_starts_with_init_and_check(installed: Installed, tmp_path: Path) -> None:
    where = installed.run("python", "-c", "import rosterd; print(rosterd.__file__)", cwd=tmp_path).stdout
    assert Path(where.strip()).is_relative_to(installed.folder / "venv" / "lib")
    assert "site-packages" in where
    first = installed.run("rosterd", "init", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    for file, name in (("rosterd.toml", "rosterd"), ("organizations/acme.toml", "organization")):
        mark, _, place = (tmp_path / file).read_text("utf-8").partition("\n")[0].partition(" ")
        schema = ((tmp_path / file).parent / place).read_text("utf-8")
        assert (mark, schema) == ("#:schema", (ROOT / "config" / "schema" / f"{name}.schema.json").read_text("utf-8"))
    checked = installed.run("rosterd", "check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "The files are good" in checked.stdout


def test_the_installed_product_writes_the_examples_that_its_first_files_name(
    installed: Installed, tmp_path: Path
) -> None:
    written = installed.run("python", "-m", "rosterd.settings_docs", "--write", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    for example in (ROOT / "config").rglob("*.example.toml"):
        assert (tmp_path / example.relative_to(ROOT)).read_text("utf-8") == example.read_text("utf-8")


def test_the_installed_demo_plays_to_its_end(installed: Installed, tmp_path: Path) -> None:
    done = installed.run("rosterd", "demo", "--people", "20", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count("\n== Act ") == 8
    assert "✘" not in done.stdout
    assert done.stdout.rstrip().endswith("Nobody lost access without proof.")


def test_the_installed_product_has_its_guides(installed: Installed, tmp_path: Path) -> None:
    assert installed.run("rosterd", "init", cwd=tmp_path).returncode == 0
    listed = installed.run("rosterd", "sso", "guide", cwd=tmp_path)
    names = listed.stdout.splitlines()[:-1]
    assert len(names) == len(list((ROOT / "rosterd" / "guides").glob("*.md")))
    for name in names:
        printed = installed.run("rosterd", "sso", "guide", name, cwd=tmp_path)
        assert "http://127.0.0.1:8080/sso/acme/acs" in printed.stdout, printed.stderr
