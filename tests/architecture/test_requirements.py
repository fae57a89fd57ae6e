"""docs/requirements.md stays true: every test it names exists, and no requirement is left out."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TEXT = (TESTS.parent / "docs" / "requirements.md").read_text(encoding="utf-8")
ROWS = {row[0]: row[1] for row in re.findall(r"^\| ((?:[DPGAENL]|S-R|SSO-)\d+) \|[^|]*\| (.+) \|$", TEXT, re.MULTILINE)}
NAMED = sorted({(file, name) for cell in ROWS.values() for file, name in re.findall(r"`([\w/.]+)::(\w+)`", cell)})


@lru_cache
def _tests_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_requirement_has_its_row() -> None:
    counts = (
        ("D", 1, 16),
        ("P", 1, 6),
        ("G", 1, 7),
        ("A", 1, 4),
        ("E", 0, 15),
        ("S-R", 1, 60),
        ("N", 1, 17),
        ("SSO-", 0, 22),
        ("L", 1, 17),
    )
    wanted = [f"{letter}{number}" for letter, first, last in counts for number in range(first, last + 1)]
    assert list(ROWS) == wanted


@pytest.mark.parametrize(("requirement", "cell"), ROWS.items())
def test_a_row_names_tests_or_says_later(requirement: str, cell: str) -> None:
    assert cell == "later" or re.search(r"`[\w/.]+::test_\w+`", cell), requirement


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_named_test_exists(file: str) -> None:
    assert (TESTS / file).is_file()
    assert {name for found, name in NAMED if found == file} <= _tests_in(file)
