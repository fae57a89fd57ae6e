"""config/ is generated from the models and fresh; the example it holds is a configuration that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from rosterd.faults import models_in
from rosterd.loading import load
from rosterd.settings import InstallationSettings, OrganizationSettings
from rosterd.settings_docs import generated, main

CONFIG = Path(__file__).resolve().parents[3] / "config"
NAMES = sorted(generated())


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_file_is_fresh(name: str) -> None:
    committed = (CONFIG / name).read_text(encoding="utf-8")
    assert committed == generated()[name], "stale: python -m rosterd.settings_docs --write"


def test_comparing_says_that_nothing_is_stale(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CONFIG.parent)
    assert main([]) == 0
    assert capsys.readouterr().out == ""


def test_files_are_written_into_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert main(["--write"]) == 0
    assert main([]) == 0
    assert sorted(str(path.relative_to("config")) for path in Path("config").rglob("*.*")) == NAMES


def test_the_example_loads() -> None:
    settings = load(CONFIG / "rosterd.example.toml", {})
    customer = settings.customer("acme")
    assert customer.settings.directories[0].kind == "ldap"
    assert customer.settings.mappings[0].offerings == ("CAD", "RENDER")


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".toml")])
def test_every_commented_key_of_the_example_is_a_key(name: str) -> None:
    lines = generated()[name].splitlines()
    keys = [line.removeprefix("# ").split(" = ", 1)[0] for line in lines if line.startswith("# ") and " = " in line]
    assert all(key.replace("_", "").isalnum() for key in keys if " " not in key)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".json")])
def test_schemas_are_json_and_closed(name: str) -> None:
    schema = json.loads(generated()[name])
    assert schema["additionalProperties"] is False
    assert schema["description"]


def test_every_setting_describes_itself() -> None:
    seen: set[type[BaseModel]] = set()
    waiting: list[type[BaseModel]] = [InstallationSettings, OrganizationSettings]
    while waiting:
        model = waiting.pop()
        seen.add(model)
        assert model.__doc__, model
        for name, field in model.model_fields.items():
            inner = models_in(field.annotation)
            assert field.description or inner, f"{model.__name__}.{name} has no docstring"
            waiting += [found for found in inner if found not in seen]
