"""A reload takes each good file; a broken one keeps its settings of before and is told of itself alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosterd.loading import load
from rosterd.reloading import Reread, reread
from rosterd.settings import Settings


class Files:
    """``rosterd.toml`` and organization files in a folder, and what is in force."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "organizations").mkdir()
        (folder / "rosterd.toml").write_text('[server]\nlisten = "127.0.0.1:0"\n', encoding="utf-8")
        self.write("acme", ["acme.example"])
        self.write("zeta", ["zeta.example"])
        self.settings: Settings = load(folder / "rosterd.toml", {})

    def write(self, name: str, domains: list[str], *, id: str = "", more: str = "") -> None:
        text = f'[organization]\nid = "{id or name}"\nname = "{name}"\n{more}\n'
        text += "".join(f'[[domains]]\nname = "{domain}"\n' for domain in domains)
        (self.folder / "organizations" / f"{name}.toml").write_text(text, encoding="utf-8")

    def remove(self, name: str) -> None:
        (self.folder / "organizations" / f"{name}.toml").unlink()

    def reread(self) -> Reread:
        found = reread(self.settings, {})
        self.settings = found.settings
        return found

    def domains(self) -> dict[str, list[str]]:
        found = self.settings.customers
        return {name: [item.name for item in customer.settings.domains] for name, customer in found.items()}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def told(found: Reread, organization: str) -> list[str]:
    return [fault.what for fault in found.faults_of(organization)]


def test_each_good_file_is_taken_and_each_broken_one_keeps_what_it_had(files: Files) -> None:
    files.write("acme", ["acme.example", "acme.test"])
    files.write("zeta", ["zeta.test"], more="nonsense = 1")
    files.write("nova", ["nova.example"])
    files.write("omega", ["omega.example"], more="nonsense = 1")
    found = files.reread()
    assert files.domains() == {
        "acme": ["acme.example", "acme.test"],
        "nova": ["nova.example"],
        "zeta": ["zeta.example"],
    }
    assert [(item.file.stem, item.organization) for item in found.kept] == [("omega", ""), ("zeta", "zeta")]
    assert len(told(found, "zeta")) == 1
    assert told(found, "acme") == told(found, "nova") == told(found, "omega") == []


@pytest.mark.parametrize("text", ["[[", "", "a = " + "[" * 50_000, "\0"])
def test_a_file_that_cannot_even_be_read_keeps_what_it_had(files: Files, text: str) -> None:
    (files.folder / "organizations" / "zeta.toml").write_text(text, encoding="utf-8")
    found = files.reread()
    assert files.domains() == {"acme": ["acme.example"], "zeta": ["zeta.example"]}
    assert told(found, "zeta")
    assert told(found, "acme") == []


def test_a_domain_stays_with_whom_it_was_and_nobody_is_named(files: Files) -> None:
    files.write("acme", ["acme.example", "zeta.example"])  # comes first in the order of files
    found = files.reread()
    assert files.domains() == {"acme": ["acme.example"], "zeta": ["zeta.example"]}
    assert told(found, "acme") == ["domain zeta.example is claimed by another organization"]
    assert told(found, "zeta") == []


def test_a_domain_goes_over_in_one_reload_unless_its_holder_is_broken(files: Files) -> None:
    files.write("acme", ["acme.example", "zeta.example"])
    files.write("zeta", ["zeta.test"])
    assert files.reread().kept == ()
    assert files.domains() == {"acme": ["acme.example", "zeta.example"], "zeta": ["zeta.test"]}
    files.write("acme", ["acme.example"], more="nonsense = 1")
    files.write("zeta", ["zeta.test", "zeta.example"])
    found = files.reread()
    assert files.domains() == {"acme": ["acme.example", "zeta.example"], "zeta": ["zeta.test"]}
    assert told(found, "zeta") == ["domain zeta.example is claimed by another organization"]


def test_whoever_falls_back_takes_back_what_it_gave_up(files: Files) -> None:
    files.write("nova", ["nova.example"])
    files.reread()
    files.write("acme", ["zeta.example"])  # gives acme.example up, wants what zeta keeps
    files.write("nova", ["acme.example"])
    found = files.reread()
    assert files.domains() == {"acme": ["acme.example"], "nova": ["nova.example"], "zeta": ["zeta.example"]}
    assert [item.organization for item in found.kept] == ["acme", "nova"]


def test_another_file_with_an_id_that_is_taken_is_nobodys(files: Files) -> None:
    files.write("aaa", ["evil.example"], id="acme")
    found = files.reread()
    assert files.domains() == {"acme": ["acme.example"], "zeta": ["zeta.example"]}
    assert [(item.file.stem, item.organization) for item in found.kept] == [("aaa", "")]
    assert told(found, "acme") == []


def test_a_renamed_file_that_is_broken_keeps_its_organization(files: Files) -> None:
    files.remove("zeta")
    files.write("zeta-two", ["zeta.example"], id="zeta", more="nonsense = 1")
    found = files.reread()
    assert files.domains() == {"acme": ["acme.example"], "zeta": ["zeta.example"]}
    assert told(found, "zeta")


def test_a_file_that_is_gone_is_gone(files: Files) -> None:
    files.remove("zeta")
    assert files.reread().kept == ()
    assert list(files.domains()) == ["acme"]


@pytest.mark.parametrize(
    "text",
    ["[server]\nlisten = 8\n", '[server]\nlisten = "127.0.0.1:1"\n', "[[", '[database]\nurl = "sqlite:///elsewhere"\n'],
)
def test_a_broken_installation_file_keeps_what_it_had_and_the_others_are_taken(files: Files, text: str) -> None:
    before = files.settings.installation
    (files.folder / "rosterd.toml").write_text(text, encoding="utf-8")
    files.write("acme", ["acme.test"])
    found = files.reread()
    assert files.settings.installation == before
    assert files.domains() == {"acme": ["acme.test"], "zeta": ["zeta.example"]}
    assert [(item.file.stem, item.organization) for item in found.kept] == [("rosterd", "")]
    assert told(found, "acme") == []


def test_a_mistyped_variable_is_the_installations(files: Files) -> None:
    found = reread(files.settings, {"ROSTERD_SERVER_LISTN": "x"})
    assert [item.file.stem for item in found.kept] == ["rosterd"]
