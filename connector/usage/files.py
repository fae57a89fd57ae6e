"""Usage from a file: NDJSON, CSV or Parquet, batch by batch, with progress.

Every batch is its own transaction and idempotent, so an import that broke off is simply started again. Prohibition: no
file is read whole into memory.
"""

from __future__ import annotations

import gzip
import shlex
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa

from connector.usage.formats.bodies import MAX_EVENTS
from connector.usage.formats.decoders import ndjson, opened, parquet, separated
from connector.usage.formats.text import HEAD, OtherForm, form_of
from connector.usage.ingest import EMPTY, IngestReport, in_pool, ingest_parsed
from connector.usage.rows import FIELDS, Row
from connector.usage.settings import ReportingSettings
from ledger.errors import BadInput
from ledger.store.engine import Ledger

KINDS = (".ndjson", ".jsonl", ".csv", ".tsv", ".parquet")
"""Endings of files that are read; of a text also with ``.gz`` behind it."""
_BLOCK = 1 << 18
_TEMPLATE = "rosterd import usage --template prints the format"


@dataclass(frozen=True, slots=True)
class Passed:
    """How far a file was read: ``rows`` that are in; ``done`` of its ``total`` bytes, or rows where it counts these."""

    rows: int
    done: int
    total: int
    in_bytes: bool


Progress = Callable[[Passed], None]
_BROKEN = (OSError, EOFError, zlib.error, pa.ArrowException)


async def import_file(
    ledger: Ledger,
    organization: str,
    path: Path,
    *,
    now: datetime,
    settings: ReportingSettings | None = None,
    progress: Progress | None = None,
    encoding: str = "",
    separator: str = "",
) -> IngestReport:
    """Take in ``path`` (one of ``KINDS``); returns one report over all its batches.

    ``encoding`` and ``separator`` are names of ``formats.text``; empty: what the file shows, else UTF-8 and a comma.
    ``progress`` is called after every batch that is committed. Raises ``BadInput`` naming the
    file when it cannot be read at all, has no header, lacks columns, looks like another form, or is a damaged ``.gz``:
    then nothing is stored. Only a disk or a Parquet page that fails later leaves the batches before it in: importing
    the mended file again counts nothing twice.
    """
    report, file = EMPTY, _File(path)
    try:
        await in_pool(file.begin, encoding, separator)
        while batch := await in_pool(file.batch):
            report += await ingest_parsed(
                ledger, organization, batch, now=now, source=f"file:{path.name}", settings=settings
            )
            if progress is not None:
                progress(file.passed(report.rows))
    except _BROKEN as error:
        raise BadInput(
            f"cannot be read further: {error}",
            where=str(path),
            next_step=f"{report.rows} rows before that are in; mend the file and import it again, nothing counts twice",
        ) from error
    finally:
        file.close()
    if progress is not None:
        progress(Passed(report.rows, file.total, file.total, file.in_bytes))
    return report


class _File:
    """The rows of a file, and how much of it (bytes, rows of Parquet) lies behind. ``begin`` and ``batch`` block."""

    def __init__(self, path: Path) -> None:
        self.done, self.total = 0, 0
        self.in_bytes = path.suffix.lower() != ".parquet"
        self._path = path
        self._rows: Iterator[Row] = iter(())
        self._first: list[Row] = []
        self._open: list[IO[bytes]] = []

    def begin(self, encoding: str, separator: str) -> None:
        """Open it and read its first rows; raises ``BadInput`` for all that is wrong with the whole."""
        path = self._path
        kind, packed = (Path(path.stem).suffix, True) if path.suffix.lower() == ".gz" else (path.suffix, False)
        kind = kind.lower()
        if kind not in KINDS or (packed and kind == ".parquet"):
            raise BadInput("unknown kind of file", where=str(path), next_step=f"use one of {', '.join(KINDS)}")
        try:
            if kind == ".parquet":
                with opened(path) as file:
                    self.total = file.metadata.num_rows
                self._rows = self._counted(parquet(path))
            else:
                self._rows = self._text(kind, packed, encoding, separator)
            # what is wrong with the whole shows before any of it is stored
            self._first = list(islice(self._rows, MAX_EVENTS))
        except OtherForm as other:
            command = f"rosterd import usage {shlex.quote(str(path))} {other.options()}"
            raise BadInput(other.what, where=str(path), next_step=command) from other
        except BadInput as error:
            where = f"{path}:{error.where.removeprefix('line ')}" if error.where else str(path)
            raise BadInput(error.what, where=where, next_step=f"{error.next_step}; {_TEMPLATE}") from error
        except _BROKEN as error:
            raise BadInput(f"cannot be read: {error}", where=str(path), next_step="nothing was stored") from error

    def batch(self) -> list[Row]:
        """The next rows, at most ``MAX_EVENTS``; empty at the end."""
        first, self._first = self._first, []
        return first or list(islice(self._rows, MAX_EVENTS))

    def passed(self, rows: int) -> Passed:
        """How much of it lies behind when ``rows`` are in."""
        return Passed(rows, min(self.done, self.total), self.total, self.in_bytes)

    def close(self) -> None:
        """Close what was opened."""
        for handle in self._open:
            handle.close()

    def _text(self, kind: str, packed: bool, encoding: str, separator: str) -> Iterator[Row]:
        raw = self._path.open("rb")
        self._open.append(raw)
        self.total = self._path.stat().st_size
        text: IO[bytes] = raw
        if packed:
            text = gzip.GzipFile(fileobj=raw)  # type: ignore[assignment]
            while text.read(_BLOCK):  # once through, for its check sum: one that is cut off must store nothing
                pass
            text.seek(0)
        head = text.read(HEAD)
        text.seek(0)
        blocks = self._blocks(raw, text)
        if kind in (".ndjson", ".jsonl"):
            return ndjson(blocks, form_of(head, encoding, "", ())[0])
        return separated(blocks, *form_of(head, encoding, separator, FIELDS))

    def _blocks(self, raw: IO[bytes], text: IO[bytes]) -> Iterator[bytes]:
        while block := text.read(_BLOCK):
            self.done = raw.tell()
            yield block

    def _counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self.done += 1
            yield row
