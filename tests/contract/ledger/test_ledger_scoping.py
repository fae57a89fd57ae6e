"""Tenancy by construction (design.md §1): outside a few named modules, the store cannot write an unscoped statement."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ledger.store

FOLDER = Path(ledger.store.__file__).parent
STATEMENTS = {"select", "insert", "update", "delete", "text"}

UNSCOPED = {
    "engine.py": "opens the transactions; takes locks; writes no row",
    "book.py": "the handles themselves: they add the organization",
    "bulk.py": "the bulk door behind the handles: it is given the organization",
    "jobs.py": "workers serve every organization",
    "leases.py": "a lease belongs to a process",
    "deliveries.py": "delivery claims what is due in any organization",
    "tokens.py": "a token is looked up before its organization is known",
    "sso_requests.py": "one domain belongs to one organization only: claims are looked at across all of them",
}
"""Module → why it may. Anything else takes its statements from a handle."""


def faults(source: str) -> list[str]:
    """Statements made from nothing, in one module: ``select`` may only wrap what a handle gave."""
    tree = ast.parse(source)
    imported: dict[str, str] = {}
    rooms: set[str] = set()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
            imported |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found += [f"import {alias.name}" for alias in node.names if alias.name.startswith("sqlalchemy")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ledger.store.tables"):
            rooms |= {alias.asname or alias.name for alias in node.names}
    found += [name for name, original in imported.items() if original in STATEMENTS - {"select"}]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and imported.get(called.id) == "select":
            found += [f"select({ast.unparse(one)})" for one in node.args if _root(one) in rooms]
        if isinstance(called, ast.Attribute):
            on_a_table = called.attr in STATEMENTS and _root(called.value) in rooms
            if on_a_table or called.attr.startswith("unscoped_"):
                found.append(ast.unparse(called))
    return found


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_only_named_modules_write_unscoped_statements(path: Path) -> None:
    if path.name not in UNSCOPED:
        assert faults(path.read_text(encoding="utf-8")) == []


def test_every_exception_still_exists() -> None:
    assert {name for name in UNSCOPED if not (FOLDER / name).exists()} == set()


@pytest.mark.parametrize(
    "planted",
    [
        "from sqlalchemy import delete",
        "from sqlalchemy import insert as put",
        "import sqlalchemy as sa",
        "from sqlalchemy.dialects.postgresql import insert",
        "from sqlalchemy import select\nfrom ledger.store.tables import people\nselect(people.team)",
        "from sqlalchemy import select\nfrom ledger.store.tables import people as p\nselect(p.team.c.id)",
        "from ledger.store.tables.people import team\nteam.delete()",
        "async def f(ledger):\n    async with ledger.unscoped_write() as c:\n        pass",
    ],
)
def test_a_planted_unscoped_statement_is_found(planted: str) -> None:
    assert faults(planted)


def test_counting_over_a_scoped_statement_is_allowed() -> None:
    source = (
        "from sqlalchemy import func, select\nfrom ledger.store.tables import people\n"
        "def f(reader):\n    rows = reader.open(people.team).subquery()\n    return select(func.count(rows.c.id))"
    )
    assert faults(source) == []
