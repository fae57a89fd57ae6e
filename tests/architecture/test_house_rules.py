"""The rules of the house that a machine can check: docstrings, names, clocks, sizes, places of this machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import Counter
from functools import lru_cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rosterd", "ledger", "access", "connector", "reporting_api")
FORBIDDEN_NAMES = {"manager", "handler", "util", "utils", "helper", "helpers", "common", "core", "data", "info",
                   "process", "user"}  # fmt: skip
SYNC_IS_AGREED = {"connector.sso.gate.sync"}
MOST_FILES, SHORTEST = 15, 60
CROWDED = {
    "rosterd": "the composition: one file per part of the daemon and of its settings",
    "ledger": "the values of the field and what every store stands on, one file per thing",
    "ledger/store": "one file per aggregate of the book, each with a table room of its own",
    "ledger/store/migrations/versions/ledger": "one file per change of the ledger's shape, in order",
    "connector/scim": "the provider's grammar, resources and routes, to be rooms when the inbox is worked on",
}
"""Folders with more than ``MOST_FILES`` modules, and why."""
SLICES = {
    "connector.reconcile.evidence.doubts": "a rule of its own (E13) that is looked for by its name",
    "connector.reconcile.reading.first_names": "what an upgrade keeps (E3), to go when no ledger is that old",
    "ledger.store.doors": "the seam through which tests run processes in every order",
    "rosterd.wire.unreadable": "what SCIM says of requests that no route sees; the listener knows no face",
}
"""Modules under ``SHORTEST`` lines with one importer, and why."""
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time")}
MAY_READ_THE_CLOCK = {"rosterd.clock", "rosterd.demo.idp"}  # the demo's identity provider is somebody else's process
GOES_OUT = re.compile(r"ClientSession|TCPConnector|urlopen|open_connection|create_connection|HTTPS?Connection")
OTHER_DOORS = {
    "connector.clients.scim": "reads a directory: a source, with its own authority and waits, as LDAP is",
    "connector.delivery.mail.dialogue": "hands mail to the operator's own server; no HTTP, no address from outside",
    "rosterd.demo.idp": "somebody else's process",
    "rosterd.demo.report_act": "a BI tool that asks the demo's own daemon",
    "rosterd.demo.signon_acts": "a browser that signs in at the demo's own daemon",
    "rosterd.readiness": "asks this host's own daemon whether it is ready",
}
"""Modules beside the one door that open connections for HTTP, and why (N12)."""
PURE, PURE_ROOM = re.compile(r"\bPure\b(?! here|: ``)"), re.compile(r"^Pure: no I/O", re.MULTILINE)
SHAPES_OF_ROWS = (
    ("connector.scim.shaping", "ledger.store.inbox"),
    ("connector.usage.dimensions", "ledger.store.histories"),
)
"""Pure files that take the shapes of the rows they are handed, never the store's machinery."""
MACHINE = re.compile(r"/(?:work|root|home/\w+)/[\w.]|pypi\.[a-z]+/|--index-url")


def tracked() -> list[Path]:
    """Every file that is committed or about to be."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = listed.stdout.split("\n") if listed.returncode == 0 else []
    found = [ROOT / name for name in names if name]
    return [path for path in found if path.is_file()] or [path for path in ROOT.rglob("*") if path.is_file()]


@lru_cache
def modules() -> dict[str, tuple[Path, ast.Module]]:
    """Dotted name → file and tree, of every product module."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = (path, ast.parse(path.read_text(encoding="utf-8")))
    return found


def contract(identifier: str) -> dict[str, list[str]]:
    """One import contract of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return next(item for item in contracts if item["id"] == identifier)


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name, (_, tree) in modules().items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_everything_public_is_documented() -> None:
    silent = []
    for name, (_, tree) in modules().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith(
                "_"
            ):
                silent += [] if ast.get_docstring(node) else [f"{name}.{node.name}"]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    wrong = [name for name in modules() if name.rsplit(".", 1)[-1] in FORBIDDEN_NAMES]
    wrong += [name for name in modules() if name.endswith(".sync") and name not in SYNC_IS_AGREED]
    assert wrong == []


def test_no_folder_is_several_rooms() -> None:
    """A folder with more than a dozen files is several rooms that nobody named yet."""
    rooms = Counter(path.parent.relative_to(ROOT) for path, _ in modules().values() if path.name != "__init__.py")
    crowded = {str(room) for room, count in rooms.items() if count > MOST_FILES}
    assert crowded == set(CROWDED), "name the rooms; or take an exception away that is none any more"


def test_a_slice_belongs_to_its_only_importer() -> None:
    """A short file that one other file imports was cut off from it."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    slices = set()
    for name, (path, _) in modules().items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if path.name != "__init__.py" and lines < SHORTEST and len(graph.find_modules_that_directly_import(name)) == 1:
            slices.add(name)
    assert slices == set(SLICES), "join the slice with its importer; or take an exception away that is none any more"


def test_every_file_that_calls_itself_pure_is() -> None:
    """No list of names: whoever says ``Pure`` in its docstring, or stands in a room that does, is followed through
    everything it imports, for types too."""
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    for importer, imported in SHAPES_OF_ROWS:
        graph.remove_import(importer=importer, imported=imported)
    forbidden = set(contract("pure")["forbidden_modules"])
    docstrings = {name: ast.get_docstring(tree) or "" for name, (_, tree) in modules().items()}
    pure = [
        name
        for name in docstrings
        if PURE.search(docstrings[name]) or PURE_ROOM.search(docstrings.get(name.rpartition(".")[0], ""))
    ]
    assert len(pure) > 110
    wrong = {name: found for name in pure if (found := sorted(forbidden & graph.find_upstream_modules(name)))}
    assert wrong == {}


def test_e0_only_one_file_makes_evidence_and_what_takes_something_away() -> None:
    # elsewhere a change may be harmful only as an invite, a rename or a relink: nobody loses access by these
    taking = {f"Harm.{name}" for name in ("PAUSE", "RELEASE", "LEAVE", "DISABLE", "REMOVE")}
    found = []
    for name, (_, tree) in modules().items():
        if name in {"connector.reconcile.evidence.judge", "ledger.store.sso"}:
            continue
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            said = {ast.unparse(node) for part in given for node in ast.walk(part) if isinstance(node, ast.Attribute)}
            made = call.func.id == "Evidence" and name.startswith("connector.reconcile")
            if made or (call.func.id == "Change" and said & taking):
                found.append(f"{name}:{call.lineno}")
    assert not found


def test_n12_there_is_one_door_out() -> None:
    found = set()
    for name, (_, tree) in modules().items():
        made = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        if any(GOES_OUT.search(called) for called in made):
            found.add(name)
    assert found - {"access.outbound.door"} == set(OTHER_DOORS), "fetch through access.outbound.door; or say why not"


def test_only_the_composition_reads_the_clock() -> None:
    wrong = []
    for name, (_, tree) in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            if (node.value.id, node.attr) in CLOCKS and name not in MAY_READ_THE_CLOCK:
                wrong.append(f"{name}:{node.lineno}")
    assert wrong == []


def test_no_file_names_a_place_of_one_machine() -> None:
    wrong = []
    for path in tracked():
        if path.suffix in {".lock", ".json", ".png"} or path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE.finditer(text)]
    assert wrong == []


@pytest.mark.parametrize("name", ["setup", "test", "demo", "bench", "check"])
def test_scripts_are_bash_and_strict(name: str) -> None:
    path = ROOT / "scripts" / name
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "set -euo pipefail" in text
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_continuous_integration_runs_the_same_test_script() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "scripts/test" in text


def test_the_lock_holds_hashes_and_no_addresses() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "--hash=sha256:" in text
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^A-Za-z0-9_.-]", item, maxsplit=1)[0].lower().replace("_", "-") for item in wanted}
    locked = set(re.findall(r"^([a-z0-9.-]+)==", text, re.MULTILINE))
    assert names <= locked, names - locked


def test_the_lock_of_a_container_is_part_of_the_lock() -> None:
    pins = [
        set(re.findall(r"^([a-z0-9.-]+==\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements.lock", "requirements-run.lock")
    ]
    assert pins[1] < pins[0]
    assert not any(pin.startswith(("pytest==", "mypy==", "ruff==")) for pin in pins[1])
