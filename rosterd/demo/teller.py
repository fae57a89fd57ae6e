"""How the story is told: tables and progress bars on a terminal, plain lines when piped. Decides nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.rule import Rule
from rich.table import Table


class Teller:
    """Writes to stdout, plainly when that is no terminal; ``recording`` keeps the facts and writes nothing.

    ``all_true``: whether every fact read back from the ledger was as it should be.
    """

    def __init__(self, *, recording: bool = False) -> None:
        self._recording = recording
        self._console = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() and not recording else None
        self._began = time.monotonic()
        self.acts: list[dict[str, Any]] = []
        self.all_true = True

    def act(self, number: int, title: str) -> None:
        """Open an act."""
        self.acts.append({"act": number, "title": title, "facts": []})
        if self._recording:
            return
        if self._console is None:
            sys.stdout.write(f"\n== Act {number}: {title}\n")
            sys.stdout.flush()
            return
        self._console.print()
        self._console.print(Rule(f"[bold]Act {number}[/bold] · {title}", align="left"))

    def say(self, text: str) -> None:
        """A sentence of the narrator."""
        self._write(text, style="")

    def quote(self, lines: Sequence[str], limit: int = 12) -> None:
        """What the product itself printed, indented; long texts are cut, and say so."""
        for line in lines[:limit]:
            self._write(f"    {line}", style="cyan")
        if len(lines) > limit:
            self._write(f"    … {len(lines) - limit} more lines", style="dim")

    def fact(self, text: str, *, ok: bool = True) -> None:
        """Something read back from the ledger."""
        self.all_true = self.all_true and ok
        if self.acts:
            self.acts[-1]["facts"].append({"fact": text, "true": ok})
        mark = "✔" if ok else "✘"
        self._write(f"  {mark} {text}", style="green" if ok else "bold red")

    def grid(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table."""
        if self._recording:
            return
        cells = [[str(cell) for cell in row] for row in rows]
        if self._console is not None:
            table = Table(*columns)
            for row in cells:
                table.add_row(*row)
            self._console.print(table)
            return
        every = [list(columns), *cells]
        widths = [max(len(row[column]) for row in every) for column in range(len(columns))]
        for row in every:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            sys.stdout.write(f"    {line}\n")
        sys.stdout.flush()

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar that is advanced by the number given; one plain line when piped."""
        if self._console is None:
            self._write(f"    {label} ({total}) …", style="")
            yield lambda step: None
            return
        columns = (TextColumn("    {task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda step: bar.advance(task, step)

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return time.monotonic() - self._began

    def _write(self, text: str, *, style: str) -> None:
        if self._recording:
            return
        if self._console is None:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        else:
            self._console.print(text, style=style or None, markup=False)
