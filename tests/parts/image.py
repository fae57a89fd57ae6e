"""The Dockerfile, instruction by instruction, in folders with a small Debian: what ``docker build`` would do.

The base image is that Debian with its own Python; packages come from where ``scripts/setup --tests`` put them. Nothing
else is different: each ``RUN`` is run as it is written.
"""

from __future__ import annotations

import fnmatch
import json
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.parts.debian_root import ROOT, WHEELS, DebianRoot, requires_root

NO_REGISTRY = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


@dataclass(slots=True)
class Image:
    """A stage while it is built, and what containers of it are started with."""

    root: DebianRoot
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def container(self, mounts: dict[Path, str]) -> Image:
        """With folders of this machine mounted."""
        return replace(self, root=replace(self.root, mounts=mounts))

    def shell(self, *arguments: str) -> str:
        """What a shell runs for ``docker run IMAGE ARGUMENTS``."""
        return f"cd {shlex.quote(self.folder)} && exec {shlex.join([*self.entry, *(arguments or self.command)])}"


def build(folder: Path) -> Image:
    """The last stage of the Dockerfile, made below ``folder``."""
    requires_root()
    stages: dict[str, Image] = {}
    image = Image(DebianRoot(folder))
    for number, (name, rest) in enumerate(instructions()):
        words = shlex.split(rest)
        if name == "FROM":
            image = Image(DebianRoot.make(folder / f"stage{number}"))
            shutil.copytree(WHEELS, image.root.inside("/wheels"))
            stages[words[-1]] = image
        elif name == "WORKDIR":
            image.folder = words[0]
            image.root.inside(words[0]).mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            for pair in words:
                key, _, value = pair.partition("=")
                image.environment[key] = value.replace("$PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        elif name == "COPY":
            _copy(image, words, stages)
        elif name == "RUN":
            done = image.root.runs(f"cd {image.folder} && {rest}", user=image.user, **image.environment, **NO_REGISTRY)
            assert done.returncode == 0, f"RUN {rest}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        elif name == "USER":
            image.user = words[0]
        elif name == "ENTRYPOINT":
            image.entry = json.loads(rest)
        elif name == "CMD":
            image.command = json.loads(rest)
        elif name == "HEALTHCHECK":
            image.health = json.loads(rest[rest.index("[") :])
        else:
            assert name in {"EXPOSE", "STOPSIGNAL"}, f"{name}: nobody has said here what it does"
    return image


def _copy(image: Image, words: list[str], stages: dict[str, Image]) -> None:
    *sources, target = (word for word in words if not word.startswith("--"))
    [source_stage] = [word.removeprefix("--from=") for word in words if word.startswith("--from=")] or [""]
    base = stages[source_stage].root.folder if source_stage else ROOT
    for source in sources:
        found = base / source.lstrip("/")
        into = image.root.inside(str(Path(image.folder, target)))
        if found.is_dir():
            shutil.copytree(found, into, symlinks=True, dirs_exist_ok=True, ignore=None if source_stage else _ignored)
        else:
            shutil.copy2(found, into / found.name if target.endswith("/") else into)


def _ignored(folder: str, names: list[str]) -> list[str]:
    """What ``.dockerignore`` leaves out."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    here = Path(folder).relative_to(ROOT)
    return [
        name
        for name in names
        if any(fnmatch.fnmatch(name if "**/" in line else str(here / name), line.removeprefix("**/")) for line in lines)
    ]
