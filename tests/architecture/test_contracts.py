"""The arrows of design.md §2 hold, and a planted violation of each contract breaks exactly that contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rosterd", "ledger", "access", "connector", "reporting_api")

ROOMS_TO_COME = ("reporting_api/rest", "reporting_api/odata", "reporting_api/exports", "reporting_api/query")
"""Rooms that a contract names and that may still be empty; the copy has them, so that each contract has a subject."""

TYPES_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {}"
"""An import that only a type checker follows is an arrow like any other."""

PLANTED: dict[str, tuple[str, str]] = {
    "programs": ("reporting_api/planted.py", "import connector.usage"),
    "ledger-layers": ("ledger/identity.py", "import ledger.store.engine"),
    "published-knows-no-tables": ("ledger/published/planted.py", "import ledger.store.tables.people"),
    "connector-layers": ("connector/directory/planted.py", "import connector.reconcile.run"),
    "sso-layers": ("connector/sso/gate/planted.py", "import connector.sso.proof.dns"),
    "directory-sources": ("connector/directory/ldap/planted.py", "import connector.directory.ldif"),
    "ldap-layers": ("connector/directory/ldap/whole/planted.py", TYPES_ONLY.format("connector.directory.ldap.source")),
    "scim-sources": ("connector/directory/scim/inbox.py", "import connector.directory.scim.pull"),
    "report-faces": ("reporting_api/rest/planted.py", "import reporting_api.odata"),
    "reconcile-layers": ("connector/reconcile/diff/diff.py", "import connector.reconcile.guard.limits"),
    "reconcile-values": ("connector/reconcile/plan/changes.py", "import connector.directory.base"),
    "evidence-alone": ("connector/reconcile/undo/planted.py", "import connector.directory.dn"),
    "pure": ("connector/reconcile/plan/changes.py", "import asyncio"),
    "ldap3-room": ("connector/reconcile/planted.py", "import ldap3"),
    "saml2-room": ("rosterd/planted.py", "from saml2 import config"),
    "keycloak-room": ("connector/sso/planted.py", "from keycloak import KeycloakAdmin"),
    "apscheduler-room": ("connector/usage/planted.py", "import apscheduler.schedulers.asyncio"),
    "sqlalchemy-room": ("connector/reconcile/planted.py", "from sqlalchemy import select"),
    "pyiceberg-room": ("reporting_api/planted.py", "import pyiceberg.catalog"),
    "engine-room": ("ledger/published/planted.py", "import duckdb"),
}
"""Contract id → (file, import) that must break it."""

SECOND_ROOMS: dict[str, tuple[str, str]] = {
    "sqlalchemy-room": ("rosterd/planted.py", "import alembic.command"),
    "engine-room": ("rosterd/planted.py", "import trino"),
    "pure": ("connector/reconcile/pipeline.py", "import time"),
    "reconcile-layers": ("connector/reconcile/desired/planted.py", TYPES_ONLY.format("connector.reconcile.run")),
    "programs": ("ledger/planted.py", "import access"),
    "connector-layers": ("connector/clients/planted.py", "import connector.sso"),
}


def _contracts() -> list[dict[str, str]]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found: list[dict[str, str]] = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return found


def _lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"}
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of every package and of the contracts."""
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for room in ROOMS_TO_COME:
        (folder / room).mkdir(exist_ok=True)
        (folder / room / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_every_arrow_holds(house: Path) -> None:
    done = _lint(house)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract["id"] for contract in _contracts()} == set(PLANTED)


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [(name, *plant) for plants in (PLANTED, SECOND_ROOMS) for name, plant in plants.items()],
    ids=[f"{name}-{number}" for number, plants in enumerate((PLANTED, SECOND_ROOMS)) for name in plants],
)
def test_a_planted_violation_breaks_its_contract(house: Path, contract: str, file: str, line: str) -> None:
    target = house / file
    before = target.read_text(encoding="utf-8") if target.exists() else None
    target.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
    try:
        done = _lint(house, "--contract", contract)
    finally:
        target.unlink() if before is None else target.write_text(before, encoding="utf-8")
    named = next(item["name"] for item in _contracts() if item["id"] == contract)
    assert done.returncode == 1, done.stdout + done.stderr
    shown = " ".join(done.stdout.split())
    assert f"{' '.join(named.split())} BROKEN" in shown, done.stdout
