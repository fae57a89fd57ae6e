"""The container's recipe: each step of the Dockerfile is run in a small Debian, then what the documents say of it.

No container engine is needed; what only one could show (layers, volumes of its own, its health states) is not shown.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from rosterd.cli import VERBS
from rosterd.environment import OWN, names
from rosterd.settings import InstallationSettings
from tests.parts.debian_root import ROOT
from tests.parts.image import Image, build, instructions

RECIPE = (ROOT / "docs" / "deploy" / "container.md").read_text(encoding="utf-8")
USER = 10001


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Built once."""
    return build(tmp_path_factory.mktemp("image"))


@pytest.fixture
def folders(tmp_path: Path) -> dict[Path, str]:
    """The two folders that are mounted, made as the recipe says: the container's user owns them."""
    made = {tmp_path / "etc": "/etc/rosterd", tmp_path / "var": "/var/lib/rosterd"}
    for folder in made:
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)
        os.chown(folder, USER, -1)
    return made


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
    assert [rest for name, rest in instructions() if name == "USER"] == [str(USER)]
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


def run_of(container: Image, command: str) -> tuple[int, str]:
    """A shell command with the image's user, environment and folder: exit code and what was printed."""
    done = container.root.runs(command, user=container.user, **container.environment)
    return done.returncode, done.stdout + done.stderr


def printed(line: str) -> list[str]:
    """The arguments after the image's name in the recipe's ``docker run`` that holds ``line``."""
    [commands] = re.findall(r"```sh\n(.*?)```", RECIPE, re.DOTALL)
    [found] = [item for item in commands.splitlines() if item.startswith("docker run ") and line in item]
    words = shlex.split(found)
    return words[words.index("rosterd", words.index("-v")) + 1 :]


def test_without_a_configuration_it_says_the_command_that_makes_one(image: Image, folders: dict[Path, str]) -> None:
    code, said = run_of(image.container(folders), image.shell())
    assert code == 2
    assert "/etc/rosterd/rosterd.toml: there is no such file\n  → rosterd init /etc/rosterd" in said


def test_the_recipe_leads_to_a_healthy_daemon_that_ends_when_told(image: Image, folders: dict[Path, str]) -> None:
    container = image.container(folders)
    code, said = run_of(container, container.shell(*printed(" init ")))
    assert code == 0, said
    etc, var = folders
    assert {path.stat().st_uid for path in etc.rglob("*")} == {USER}
    serve, healthy = container.shell(), shlex.join(container.health)
    code, said = run_of(
        container,
        f"({serve}) & daemon=$!; for second in $(seq 90); do {healthy} && break; sleep 1; done;"
        " kill -TERM $daemon; wait $daemon",
    )
    assert code == 0, said
    assert "answers 200" in said
    assert "serve.listening address=0.0.0.0:8080" in said
    assert said.rstrip().endswith("serve.stopped")
    assert (var / "ledger" / "ledger.db").exists()
    assert container.root.runs("id", user=container.user).stdout.startswith(f"uid={USER}")


def test_the_health_check_fails_where_no_daemon_runs(image: Image, folders: dict[Path, str]) -> None:
    code, said = run_of(image.container(folders), f"cd {image.folder} && {shlex.join(image.health)}")
    assert (code, "/etc/rosterd/rosterd.toml: there is no such file" in said) == (2, True)
