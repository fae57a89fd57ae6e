"""An export cut off at every twentieth of its length, and exactly between two entries: nobody loses anything (D15)."""

from __future__ import annotations

import pytest

from connector.reconcile.show.outcome import RunState
from tests.parts.reconciled_directory import (
    COMPANY,
    FAULT_AT,
    PEOPLE_SCOPE,
    Reconciled,
    ldif_settings,
    nothing_happened,
    problems,
    unknown,
)

TEXT = COMPANY.to_ldif().encode()
TWENTIETHS = [len(TEXT) * part // 20 for part in range(20)]
BOUNDARIES = [TEXT.index(b"\n\ndn: ", at) + 1 for at in (TWENTIETHS[1], TWENTIETHS[10])]
"""Exactly after an entry's last line, one early and one half way."""


async def _read_twice(reconciled: Reconciled, content: bytes, **values: object) -> None:
    before = await reconciled.holdings()
    (reconciled.folder / "people.ldif").write_bytes(content)
    reconciled.reads(ldif_settings(**values))
    outcomes = await reconciled.twice()
    after = await reconciled.holdings()
    assert after.counts == before.counts
    assert after == before
    assert nothing_happened(outcomes)
    assert PEOPLE_SCOPE in unknown(outcomes[1])


@pytest.mark.parametrize("length", TWENTIETHS)
async def test_d15_an_export_cut_at_every_twentieth_takes_nothing(reconciled: Reconciled, length: int) -> None:
    await _read_twice(reconciled, TEXT[:length])


@pytest.mark.parametrize("length", BOUNDARIES)
@pytest.mark.parametrize("blank", [b"", b"\n"])
async def test_d15_an_export_cut_between_two_entries_takes_nothing(
    reconciled_anywhere: Reconciled, length: int, blank: bytes
) -> None:
    await _read_twice(reconciled_anywhere, TEXT[:length] + blank)


@pytest.mark.parametrize("length", BOUNDARIES)
async def test_d15_a_cut_export_without_its_count_takes_nothing_when_the_count_is_required(
    reconciled: Reconciled, length: int
) -> None:
    uncounted = TEXT[:length].replace(b"# entries:", b"# people:")
    await _read_twice(reconciled, uncounted)


@pytest.mark.parametrize("part", [1, 10, 19])
async def test_d15_a_cut_export_nobody_counts_is_held_or_frozen(reconciled: Reconciled, part: int) -> None:
    """Without a required count a cut between entries looks whole (docs/critiques.md): groups at its end are missing."""
    before = await reconciled.holdings()
    length = TEXT.index(b"\n\ndn: ", TWENTIETHS[part]) + 1
    uncounted = TEXT[:length].replace(b"# entries:", b"# people:")
    (reconciled.folder / "people.ldif").write_bytes(uncounted)
    reconciled.reads(ldif_settings(require_count=False))
    first, second = await reconciled.twice()
    assert await reconciled.holdings() == before
    assert dict(first.counts) == dict(second.counts) == {}
    assert second.state in {RunState.HELD, RunState.UNKNOWN}
    assert problems(first)["group-missing"] > 0


async def test_d15_a_file_that_vanished_takes_nothing(reconciled: Reconciled) -> None:
    before = await reconciled.holdings()
    (reconciled.folder / "people.ldif").unlink()
    reconciled.reads(ldif_settings())
    assert nothing_happened([await reconciled.run(FAULT_AT)])
    assert await reconciled.holdings() == before
