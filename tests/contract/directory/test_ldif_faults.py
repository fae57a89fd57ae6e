"""What goes wrong with a file: every scope is unknown then, and says why (D15)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector.directory.base import Reading, ReadRequest
from tests.contract.directory.conftest import OpenSource
from tests.parts import company

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SCOPES = {f"people:{company.PEOPLE}", "group:design"}


async def read(open_ldif: OpenSource, **overrides: object) -> Reading:
    source = open_ldif(**overrides)
    try:
        return await source.read(ReadRequest(("design",), ("mail",), timedelta(minutes=1)), now=NOW)
    finally:
        await source.close()


def unknown(reading: Reading) -> dict[str, str]:
    return {name: scope.reason for name, scope in reading.scopes.items() if not scope.complete}


async def test_d15_a_file_that_is_not_there_is_unknown(open_ldif: OpenSource) -> None:
    reading = await read(open_ldif, file="elsewhere.ldif")
    assert set(unknown(reading)) == SCOPES
    assert all("cannot be read: No such file" in reason for reason in unknown(reading).values())
    assert not any(scope.missing for scope in reading.scopes.values())


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 0.9, 0.99])
async def test_d15_a_cut_off_file_is_unknown_and_shows_only_whole_entries(
    open_ldif: OpenSource, tmp_path: Path, share: float
) -> None:
    whole = await read(open_ldif)
    path = tmp_path / "firm.ldif"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    reading = await read(open_ldif, require_count=True)
    assert set(unknown(reading)) == SCOPES
    assert reading.groups == {}
    assert all(whole.people[anchor] == entry for anchor, entry in reading.people.items())


async def test_d15_a_count_that_must_be_there(open_ldif: OpenSource, tmp_path: Path, firm: company.Firm) -> None:
    assert unknown(await read(open_ldif, require_count=True)) == {}
    (tmp_path / "firm.ldif").write_text(firm.ldif(), encoding="utf-8")
    assert unknown(await read(open_ldif)) == {}
    assert "not declared" in unknown(await read(open_ldif, require_count=True))["group:design"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (f"dn: uid=u1,{company.PEOPLE}\nchangetype: delete\n", "change record"),
        (f"dn: uid=u1,{company.PEOPLE}\ncn:< file:///etc/passwd\n", "by reference"),
        ("dn: no dn\nobjectClass: person\n", "is not a DN"),
        (f"dn: {company.SUFFIX.upper()}\nobjectClass: top\n", "is there twice"),
    ],
)
async def test_d15_what_is_no_plain_entry_makes_all_unknown(
    open_ldif: OpenSource, tmp_path: Path, firm: company.Firm, more: str, words: str
) -> None:
    (tmp_path / "firm.ldif").write_text(f"{firm.ldif()}\n{more}", encoding="utf-8")
    reading = await read(open_ldif)
    assert set(unknown(reading)) == SCOPES
    assert all(words in reason for reason in unknown(reading).values())


async def test_without_a_people_base_the_scope_is_named_after_the_file(open_ldif: OpenSource) -> None:
    reading = await read(open_ldif, people_base="", groups_base="")
    assert list(reading.scopes) == ["people:firm.ldif", "group:design"]
    assert reading.people_complete


async def test_check_names_the_fix(open_ldif: OpenSource, tmp_path: Path) -> None:
    (tmp_path / "firm.ldif").write_bytes((tmp_path / "firm.ldif").read_bytes()[:5000])
    source = open_ldif()
    lines = (await source.check(ReadRequest(("design",), ("mail",)))).lines
    await source.close()
    assert not lines[0].ok
    assert lines[0].fix == "export the file again, completely"
