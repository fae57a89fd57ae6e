"""How verbs speak: people get lines and tables, programs get one JSON document, errors say what, where and what next.

Decides nothing about results; only prints them.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from ledger.errors import BadInput, ManyErrors, RosterdError

if TYPE_CHECKING:
    from connector.reconcile.reading.whole import Progress as Reading

    class Step(Reading, Protocol):
        """Told how far a stage has come; ``counted`` says it in words where ``done`` of ``total`` would not."""

        def __call__(
            self, stage: str, done: int, total: int, pages: int = 0, scopes: int = 0, counted: str = ""
        ) -> None:
            """``done`` of ``total``; a ``total`` of 0 is not known."""

    from rosterd.service import Service
    from rosterd.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
OneOrganization = Annotated[
    str, typer.Option("--organization", "-o", help="Id of the organization; needed when several.")
]
MaybeReason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]


def _asked_why(context: typer.Context, value: str) -> str:
    """What was given, or what somebody at a terminal answers: a command that a message names works as it stands."""
    if value.strip() or context.resilient_parsing:
        return value
    if not at_a_terminal():
        raise typer.BadParameter("say why: --reason TEXT (on a terminal it is asked for)")
    return ask_why()


Reason = Annotated[
    str, typer.Option("--reason", callback=_asked_why, help="Why; kept in the audit. Asked for on a terminal.")
]


SHORT_ID = 12
"""Digits of a long id that people are shown: no other begins so, and commands take it for the whole."""


_CHOSEN: ContextVar[list[str]] = ContextVar("chosen", default=[])  # noqa: B039 - replaced as soon as settings are read
"""The organization that was asked about, where the installation has several."""

FILE: ContextVar[str] = ContextVar("file", default="")
"""The admin file as it was typed on the command line."""

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line, steers a terminal, turns the direction of text, or is half of a character."""
_WHOLE = 40
_STYLES = {
    "FAIL": "bold red",
    "ok": "green",
    "note": "yellow",
    "HELD": "bold yellow",
    "held": "yellow",
    "SUSPENDED": "bold yellow",
    "UNKNOWN": "bold yellow",
    "!": "bold yellow",
    "→": "cyan",
}
"""First word of a line → how it is shown where there are colours."""


class Result(Protocol):
    """What a verb answers with; one that can fail to be *done* also has an ``exit_code`` (3 held, 4 incomplete)."""

    @property
    def lines(self) -> Sequence[str]:
        """Plain text."""

    def to_json(self) -> Any:
        """One JSON document."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows for a table: rich on a terminal, columns of plain text when piped."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A plain answer: lines before a grid, and the same as a document."""

    lines: tuple[str, ...]
    document: Any
    grid: Grid | None = None
    exit_code: int = 0

    def to_json(self) -> Any:
        """The document."""
        return self.document


@dataclass(frozen=True, slots=True)
class Several:
    """One answer per organization."""

    parts: Mapping[str, Result]

    @property
    def lines(self) -> Sequence[str]:
        """Each under its heading."""
        from rosterd.verbs.pasted import named

        return [
            line
            for name, part in self.parts.items()
            for line in (f"== {name}", *(named(text, name) for text in part.lines))
        ]

    @property
    def exit_code(self) -> int:
        """The worst one."""
        return max((exit_code(part) for part in self.parts.values()), default=0)

    def to_json(self) -> Any:
        """By organization."""
        return {"organizations": {name: part.to_json() for name, part in self.parts.items()}}


@dataclass(slots=True)
class Session:
    """What the global options said; the ``obj`` of every typer context."""

    config: Path
    debug: bool = False
    as_json: bool = False
    settings: Settings | None = field(default=None)

    def load(self) -> Settings:
        """The settings, read once; also sets up logging as they say."""
        from rosterd import logs
        from rosterd.loading import load

        if self.settings is None:
            _CHOSEN.set([])
            self.settings = load(self.config)
            section = self.settings.installation.logging
            logs.configure(form=section.format, level="debug" if self.debug else _quiet(section.level))
        return self.settings


def perform(context: typer.Context, as_json: bool, work: Callable[[Service], Awaitable[Result]]) -> None:
    """Open the service, do the work, print its result, exit with its code."""
    session: Session = context.obj
    session.as_json = session.as_json or as_json
    settings = session.load()
    import uvloop

    from rosterd.service import Service

    async def run() -> Result:
        async with Service.opened(settings) as service:
            return await work(service)

    answer(session, uvloop.run(run()))


def answer(session: Session, result: Result) -> None:
    """Print a result and leave with its exit code."""
    if session.as_json:
        write_json(result.to_json())
    else:
        write_lines([_typed(line) for line in result.lines])
        if isinstance(result, Shown) and result.grid is not None:
            write_grid(result.grid)
    raise typer.Exit(exit_code(result))


def at_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_why() -> str:
    """Ask until something is said; raises ``typer.Abort`` for Ctrl-C and the end of the input."""
    return str(typer.prompt("Why? It is kept in the audit", err=True))


def _typed(text: str) -> str:
    """What is printed, with commands that work as they stand."""
    chosen, file = set(_CHOSEN.get()), FILE.get()
    if "rosterd " not in text or (len(chosen) != 1 and not file):
        return text
    from rosterd.verbs.pasted import named, of_file

    text = named(text, chosen.pop()) if len(chosen) == 1 else text
    return of_file(text, file) if file else text


def exit_code(result: Result) -> int:
    """The code of a result; 0 for one that has none."""
    return int(getattr(result, "exit_code", 0))


def choose(settings: Settings, organization: str) -> str:
    """The organization that was named, or the only one there is."""
    if organization:
        chosen = settings.customer(organization).organization.id
        if len(settings.customers) > 1:
            _CHOSEN.get().append(chosen)
        return chosen
    if len(settings.customers) == 1:
        return next(iter(settings.customers))
    known = ", ".join(settings.customers) or "none"
    raise typer.BadParameter(f"name the organization (known: {known})")


def chosen(settings: Settings, organization: str) -> list[str]:
    """The organization that was named; all of them where none was."""
    return [choose(settings, organization)] if organization else list(settings.customers)


def write_json(document: Any) -> None:
    """One document on stdout."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2)
    sys.stdout.write(text.decode("utf-8") + "\n")
    sys.stdout.flush()


def visible(text: str) -> str:
    """On one line, whoever wrote it: control characters as escapes that can be read (``\\n``, ``\\x1b``)."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def write_lines(lines: Sequence[str]) -> None:
    """Text on stdout, each item one line (``visible``); on a terminal with colour where a line's first word says how
    it stands. No line is broken: what is pasted from it is what was printed."""
    lines = [visible(line) for line in lines]
    words = [(line.split() or [""])[0] for line in lines]
    if sys.stdout.isatty() and any(word.rstrip(":") in _STYLES for word in words):  # rich takes its time to load
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False, soft_wrap=True)
        for line, word in zip(lines, words, strict=True):
            text = Text(line)
            if style := _STYLES.get(word.rstrip(":")):
                start = line.index(word)
                text.stylize(style, start, len(line) if word == "→" else start + len(word))
            console.print(text)
        return
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write_grid(grid: Grid) -> None:
    """A table; no cell makes a line of its own."""
    grid = Grid(grid.columns, tuple(tuple(visible(cell) for cell in row) for row in grid.rows), grid.title)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(title=grid.title or None, title_justify="left")
        for number, column in enumerate(grid.columns):  # the first names the row, and is typed again: it is not broken
            widest = max((len(row[number]) for row in grid.rows), default=0)
            table.add_column(column, overflow="fold", no_wrap=number == 0 and widest <= _WHOLE)
        for row in grid.rows:
            table.add_row(*row)
        Console().print(table)
        return
    rows = [grid.columns, *grid.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(grid.columns))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


@contextmanager
def progress(session: Session) -> Iterator[Step | None]:
    """A progress callback ``(stage, done, total)`` while stderr is a terminal and nobody asked for JSON."""
    if session.as_json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    words = TextColumn("{task.fields[counted]}"), TextColumn("{task.fields[seen]}")
    columns = (TextColumn("{task.description}"), BarColumn(), *words, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def step(stage: str, done: int, total: int, pages: int = 0, scopes: int = 0, counted: str = "") -> None:
            counted = counted or f"{done}/{total or '?'}"
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total or None, seen="", counted=counted)
            seen = f"{pages} pages, {scopes} scopes" if pages else ""
            bar.update(tasks[stage], completed=done, total=total or None, seen=seen, counted=counted)

        yield step


@asynccontextmanager
async def reading(session: Session, organization: str) -> AsyncIterator[Reading]:
    """Progress of a run: a bar on a terminal, elsewhere a line in the log every ten seconds."""
    with progress(session) as step:
        if step is not None:
            yield step
            return
        from rosterd.heartbeat import heartbeat

        if not session.debug and session.load().installation.logging.level == "info":
            logging.getLogger("rosterd.heartbeat").setLevel("INFO")  # the rest of the log is quieter here
        async with heartbeat(organization) as beating:
            yield beating


def report_error(error: BaseException, session: Session) -> int:
    """Print an error for people (stderr) and, where asked for, for programs (stdout); returns the exit code."""
    if session.debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, RosterdError):
        code = error.exit_code
        sys.stderr.write("\n".join(_typed(visible(line)) for line in f"rosterd: {error}".split("\n")) + "\n")
        document = {"error": error_document(error), "exit_code": code}
    else:
        code = 1
        sys.stderr.write(f"rosterd: unexpected {type(error).__name__}: {visible(_first_line(error))}\n")
        if not session.debug:
            sys.stderr.write("  → run it again with --debug and report what it prints\n")
        document = {
            "error": {"what": f"unexpected {type(error).__name__}", "where": "", "next_step": ""},
            "exit_code": 1,
        }
    if session.as_json:
        write_json(document)
    return code


def error_document(error: RosterdError) -> dict[str, Any]:
    """``what``, ``where``, ``next_step``, and ``faults`` where there are several."""
    document: dict[str, Any] = {"what": error.what, "where": error.where, "next_step": error.next_step}
    if isinstance(error, ManyErrors):
        document["what"] = f"{len(error.faults)} errors"
        document["faults"] = [error_document(fault) for fault in error.faults]
    return document


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]


def _quiet(level: str) -> str:
    """Command lines print results; the log only speaks up from warnings on."""
    return {"info": "warning"}.get(level, level)


def write_file(path: Path, text: str, option: str) -> None:
    """A file that ``option`` named; raises ``BadInput`` where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"cannot be written: {error.strerror}", where=str(path), next_step=f"name another file with {option}"
        ) from error
