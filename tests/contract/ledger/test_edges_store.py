"""By which names groups list people, on both databases (E3): whatever a member value holds comes back as it was."""

from __future__ import annotations

from datetime import datetime

import pytest

from ledger.store import edges
from ledger.store.engine import Ledger
from tests.parts.fences import ALONE


@pytest.mark.parametrize("name", ["uid=anna,ou=people", "\0Users/7", "cn=100%25,ou=x\0y", "%00", "memberUid=anna"])
async def test_e3_a_name_comes_back_as_it_was(ledger: Ledger, now: datetime, name: str) -> None:
    there = {("corp", "anna"): {name: frozenset({"g1", "g2"})}, ("corp", f"group:{name}"): {name: frozenset({"g1"})}}
    async with ledger.write("acme", ALONE, at=now, run_id="r1") as book:
        await edges.replace(book, there, {})
    async with ledger.read("acme") as reader:
        assert await edges.known(reader, None) == there
        assert await edges.known(reader, ["anna"]) == there
    moved = {("corp", "anna"): {name: frozenset({"g2"})}, ("corp", f"group:{name}"): {}}
    async with ledger.write("acme", ALONE, at=now, run_id="r2") as book:
        await edges.replace(book, moved, there)
        assert await edges.known(book, None) == {("corp", "anna"): {name: frozenset({"g2"})}}
