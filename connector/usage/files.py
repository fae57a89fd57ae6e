"""Usage from a file: NDJSON, CSV or Parquet, batch by batch, with progress.

Every batch is its own transaction and idempotent, so an import that broke off is simply started again. Prohibition: no
file is read whole into memory.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connector.usage.ingest import EMPTY, MAX_EVENTS, IngestReport, Row, in_pool, ingest_parsed
from connector.usage.rows import FIELDS, REQUIRED, BadRow, clean, parse_line, parse_mapping
from connector.usage.settings import ReportingSettings
from ledger.errors import BadInput
from ledger.store.engine import Ledger

_LONGEST_LINE = 1 << 20
Progress = Callable[[int, int], None]
Read = Iterator[tuple[int, Row]]
"""Each row with how much of the file lies behind it (bytes; for Parquet, rows)."""


async def import_file(
    ledger: Ledger,
    organization: str,
    path: Path,
    *,
    now: datetime,
    settings: ReportingSettings | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Take in ``path`` (``.ndjson``/``.jsonl``, ``.csv``, ``.parquet``); returns one report over all its batches.

    ``progress(done, total)`` counts bytes (rows for Parquet) and is called after every batch that is committed. Raises
    ``BadInput`` naming the file when it cannot be read at all, has no header, lacks columns, or breaks off as a format:
    batches before that point are in, and importing the mended file again counts nothing twice.
    """
    total, rows = await in_pool(_opened, path)
    report, done = EMPTY, 0
    try:
        while batch := await in_pool(_next_batch, rows):
            done = batch[-1][0]
            report += await ingest_parsed(
                ledger,
                organization,
                [row for _, row in batch],
                now=now,
                source=f"file:{path.name}",
                settings=settings,
            )
            if progress is not None:
                progress(min(done, total), total)
    except (OSError, csv.Error, UnicodeDecodeError, pa.ArrowException) as error:
        raise BadInput(
            f"cannot be read further: {error}",
            where=str(path),
            next_step=f"{report.rows} rows before that are in; mend the file and import it again, nothing counts twice",
        ) from error
    if progress is not None:
        progress(total, total)
    return report


def _next_batch(rows: Read) -> list[tuple[int, Row]]:
    return list(islice(rows, MAX_EVENTS))


def _opened(path: Path) -> tuple[int, Read]:
    """The size of the file (bytes, or rows) and its rows; raises ``BadInput`` for what shows at once."""
    readers = {".ndjson": _ndjson, ".jsonl": _ndjson, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadInput("unknown kind of file", where=str(path), next_step="use .ndjson, .jsonl, .csv or .parquet")
    try:
        return reader(path)
    except (OSError, csv.Error, UnicodeDecodeError, pa.ArrowException) as error:
        raise BadInput(f"cannot be read: {error}", where=str(path)) from error


def _ndjson(path: Path) -> tuple[int, Read]:
    size = path.stat().st_size
    path.open("rb").close()

    def rows() -> Read:
        done = 0
        with path.open("rb") as handle:
            for number in range(1, size + 2):
                line = handle.readline(_LONGEST_LINE)
                if not line:
                    return
                done += len(line)
                if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                    done += _skip_line(handle)
                    reason = f"longer than {_LONGEST_LINE} bytes"
                    yield done, (f"line {number}", BadRow(line[:200].decode("utf-8", "replace"), (reason,)))
                elif line.strip():
                    yield done, (f"line {number}", parse_line(line.removeprefix(b"\xef\xbb\xbf")))

    return size, rows()


def _skip_line(handle: Any) -> int:
    skipped = 0
    while part := handle.readline(_LONGEST_LINE):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _csv(path: Path) -> tuple[int, Read]:
    size = path.stat().st_size
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
        header = next(csv.reader(handle, strict=True), None)
    if header is None:
        raise BadInput("is empty: a header row is needed", where=str(path), next_step=f"columns: {','.join(FIELDS)}")
    _check_columns(path, header)

    def rows() -> Read:
        done = 0
        # bad bytes become surrogates, so that the row they stand in is quarantined and the rest goes in
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            next(reader)
            for cells in reader:
                done += sum(map(len, cells)) + len(cells)
                place = f"line {reader.line_num}"
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    reason = f"has {len(cells)} cells, the header has {len(header)}"
                    yield done, (place, BadRow(clean(",".join(cells)), (reason,)))
                else:
                    yield done, (place, parse_mapping(dict(zip(header, cells, strict=True)), texts=True))

    return size, rows()


def _parquet(path: Path) -> tuple[int, Read]:
    with pq.ParquetFile(path) as file:
        total = file.metadata.num_rows
        _check_columns(path, file.schema_arrow.names)

    def rows() -> Read:
        number = 0
        with pq.ParquetFile(path) as opened:
            for batch in opened.iter_batches(batch_size=MAX_EVENTS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, (f"row {number}", parse_mapping(row))

    return total, rows()


def _check_columns(path: Path, names: list[str]) -> None:
    """Raises ``BadInput`` naming every missing, unknown and repeated column."""
    faults = [f"column {name} is missing" for name in REQUIRED if name not in names]
    faults += [f"column {name!r} is unknown" for name in names if name not in FIELDS]
    faults += [f"column {name} is repeated" for name in FIELDS if names.count(name) > 1]
    if faults:
        raise BadInput("; ".join(faults), where=str(path), next_step=f"columns: {','.join(FIELDS)}")
