"""The Dockerfile names only files and commands that exist; no container engine is needed to see that."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from rosterd.cli import VERBS
from rosterd.environment import OWN, names
from rosterd.settings import InstallationSettings

ROOT = Path(__file__).resolve().parents[2]


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_everything_that_is_copied_exists() -> None:
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source


def test_every_product_package_is_copied() -> None:
    copied = {rest.split()[0] for name, rest in instructions() if name == "COPY"}
    assert {"rosterd", "ledger", "access", "connector", "reporting_api"} <= copied


def test_it_is_slim_and_not_root_and_has_xmlsec1() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert all(base.endswith("-slim") for base in bases)
    assert [rest for name, rest in instructions() if name == "USER"] == ["10001"]
    assert any("xmlsec1" in rest for name, rest in instructions() if name == "RUN")


def test_the_health_check_and_the_command_are_verbs() -> None:
    verbs = {verb for module in VERBS.values() for verb in module}
    health = next(rest for name, rest in instructions() if name == "HEALTHCHECK")
    command = json.loads(re.search(r"\[.*\]", health)[0])  # type: ignore[index]
    assert command == ["rosterd", "check", "--live", "--daemon"], "the daemon alone: no directory ends a container"
    assert json.loads(next(rest for name, rest in instructions() if name == "CMD"))[0] in verbs


def test_its_environment_overrides_keys_that_exist() -> None:
    environment = next(rest for name, rest in instructions() if name == "ENV")
    set_here = {word.partition("=")[0] for word in shlex.split(environment)}
    assert {name for name in set_here if name.startswith("ROSTERD_")} <= OWN | set(names(InstallationSettings))
