"""L5, L7: the catalogue of mail is true of the code that writes the outbox, and of the document about it."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from connector.delivery.mail.kinds import KINDS, READ_BY, Readers
from connector.delivery.mail.words import Templates, example
from connector.reconcile.by_hand.invites import message
from tests.architecture.test_house_rules import ROOT, modules

DOCUMENT = ROOT / "docs" / "mail.md"
READERS = {**READ_BY, Readers.OPERATOR: "the operator, `[mail] operator`"}
MADE = {"Message", "outbox.Message"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Place:
    """An expression in a function of a module."""

    node: ast.expr
    function: Function
    module: str


class Code:
    """What modules of the product give to ``outbox.Message``: kinds and keys of payloads, by reading their source."""

    def __init__(self, sources: dict[str, ast.Module]) -> None:
        self.sources = sources

    def written(self) -> Iterator[tuple[str, frozenset[str]]]:
        for module, tree in self.sources.items():
            for function in self._functions(tree):
                for call in ast.walk(function):
                    if isinstance(call, ast.Call) and call.args and ast.unparse(call.func) in MADE:
                        kind, _, payload = call.args
                        yield from self._read(Place(kind, function, module), Place(payload, function, module))

    def _read(self, kind: Place, payload: Place) -> Iterator[tuple[str, frozenset[str]]]:
        """Follow parameters to every call of the function."""
        names = [argument.arg for argument in kind.function.args.args]
        open_names = {node.id for place in (kind, payload) for node in ast.walk(place.node)
                      if isinstance(node, ast.Name) and node.id in names}  # fmt: skip
        if not open_names & ({kind.node.id} if isinstance(kind.node, ast.Name) else set()):
            yield self._value(kind), self._keys(payload, {})
            return
        calls = [
            (call, function)
            for function in self._functions(self.sources[kind.module])
            for call in ast.walk(function)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == kind.function.name
        ]
        assert calls, f"{kind.module}.{kind.function.name}: nobody calls it"
        for call, function in calls:
            given = {name: Place(node, function, kind.module) for name, node in zip(names, call.args, strict=True)}
            yield self._value(given[ast.unparse(kind.node)]), self._keys(payload, given)

    def _value(self, place: Place) -> str:
        found = eval(ast.unparse(place.node), vars(importlib.import_module(place.module)))  # noqa: S307
        assert isinstance(found, str)
        return found

    def _keys(self, place: Place, given: dict[str, Place]) -> frozenset[str]:
        node = place.node
        if isinstance(node, ast.Name):
            if node.id in given:
                return self._keys(given[node.id], {})
            [value] = [part.value for part in ast.walk(place.function) if isinstance(part, ast.Assign)
                       and ast.unparse(part.targets[0]) == node.id]  # fmt: skip
            return self._keys(Place(value, place.function, place.module), given)
        assert isinstance(node, ast.Dict), f"{place.module}:{node.lineno}: {ast.unparse(node)}"
        found: set[str] = set()
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                found |= self._keys(Place(value, place.function, place.module), given)
            else:
                assert isinstance(key, ast.Constant)
                found.add(key.value)
        return frozenset(found)

    @staticmethod
    def _functions(tree: ast.Module) -> list[Function]:
        return [node for node in ast.walk(tree) if isinstance(node, Function)]


def of_the_product() -> dict[str, ast.Module]:
    return {name: tree for name, (_, tree) in modules().items() if name != "ledger.store.outbox"}


def test_l7_the_catalogue_says_which_kinds_are_raised() -> None:
    raised = {kind for kind, _ in Code(of_the_product()).written()}
    assert raised == {kind.name for kind in KINDS.values() if kind.raised}, "tell the catalogue, and docs/mail.md"


@pytest.mark.parametrize("name", [kind.name for kind in KINDS.values() if kind.raised])
def test_l7_an_example_has_the_keys_that_are_really_written(name: str) -> None:
    written = {keys for kind, keys in Code(of_the_product()).written() if kind == name}
    assert written == {frozenset(KINDS[name].example)}


def test_l7_no_kind_that_is_not_raised_is_named_elsewhere() -> None:
    later = {kind.name for kind in KINDS.values() if not kind.sent}
    found = {
        (name, node.value)
        for name, tree in of_the_product().items()
        if not name.startswith("connector.delivery")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in later
    }
    assert found == set(), "somebody raises it: say so in the catalogue"


def test_the_reader_of_source_sees_a_key_that_is_new() -> None:
    source = """
KIND = "a.b"
async def tell(book, kind, payload):
    await outbox.append(book, [Message(kind, "x", {**payload, "next": "y"})])
async def one(book):
    facts = {"why": 1}
    await tell(book, KIND, facts)
async def two(book):
    await tell(book, KIND, {"new": 1})
"""

    class Planted(Code):
        def _value(self, place: Place) -> str:
            return "a.b"

    found = set(Planted({"planted": ast.parse(source)}).written())
    assert found == {("a.b", frozenset({"why", "next"})), ("a.b", frozenset({"new", "next"}))}


def test_r4_the_invite_that_is_written_is_the_one_of_the_example() -> None:
    example_of = KINDS["invite.mail"].example
    made = message("id", example_of["mail"], example_of["name"], example_of["mapping"])
    assert (made.kind, made.payload) == ("invite.mail", example_of)


# the document


def tables(path: Path) -> list[list[list[str]]]:
    """Every table of a Markdown file: rows of cells."""
    found: list[list[list[str]]] = []
    before = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found += [] if before else [[]]
            found[-1].append(cells)
        before = line.startswith("|")
    return [table[2:] for table in found]


def test_l7_the_document_says_what_is_sent_when_to_whom() -> None:
    sent, _, fields = tables(DOCUMENT)
    assert sent == [
        [f"`{kind.name}`", kind.when, READERS[kind.readers], "yes" if kind.digest else "no",
         "sent today" if kind.sent else "not sent yet"]
        for kind in KINDS.values()
    ]  # fmt: skip
    assert fields == [[f"`{kind.name}`", ", ".join(f"`{key}`" for key in kind.example)] for kind in KINDS.values()]


def test_l7_the_document_names_every_variable_and_filter() -> None:
    variables = tables(DOCUMENT)[1]
    named = {name for row in variables for name in re.findall(r"`([a-z_]+)`", row[0])}
    assert named == set(example(KINDS["invite.mail"]).values())
    filters = set(Templates()._plain["en"].filters) - {"turns", "weighed"}
    text = DOCUMENT.read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line.startswith("Filters:")]
    assert set(re.findall(r"`([a-z]+)`", line)) == filters
