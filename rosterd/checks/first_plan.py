"""What a plan made now would hold: measured on the reading of the check, with every declared domain taken for open.

Writes nothing and asks no directory for people again. Its numbers are not a plan: nobody can apply them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING

from connector.directory.base import Checked, CheckLine, Reading, ReadRequest, Source
from connector.directory.changes import Traced, Tracer, TraceRequest

if TYPE_CHECKING:
    from connector.reconcile.run import Setup
    from connector.reconcile.show.outcome import Planned
    from rosterd.service import Service


@dataclass(frozen=True, slots=True)
class _Read:
    """A directory that was read already, and is not read again."""

    source: Source
    reading: Reading

    @property
    def id(self) -> str:
        """The directory's id."""
        return self.source.id

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        """What was read, as of now."""
        return replace(self.reading, started_at=now, finished_at=now)

    async def check(self, request: ReadRequest) -> Checked:
        """It was checked."""
        return Checked((), self.reading)

    async def close(self) -> None:
        """Whoever opened the directory closes it."""


@dataclass(frozen=True, slots=True)
class _ReadTracer(_Read):
    """One that can be asked for single entries too."""

    source: Tracer

    async def trace(self, request: TraceRequest, *, now: datetime) -> Traced:
        """Ask the directory."""
        return await self.source.trace(request, now=now)


async def measure(service: Service, name: str, setup: Setup, readings: Mapping[str, Reading]) -> CheckLine:
    """What a plan of the organization would do with these readings, one of each directory. Raises ``RosterdError``."""
    from connector.reconcile import run
    from connector.reconcile.state import gate
    from ledger.store import runs

    declared = [item.name for item in service.settings.customer(name).settings.domains]
    sources = tuple(replace(item, source=_read(item.source, readings[item.source.id])) for item in setup.sources)
    now = service.clock()
    planned = await run.plan(service.ledger, replace(setup, sources=sources), now=now, as_if_open=declared)
    async with service.ledger.read(name) as reader:
        first = await runs.first_applied_at(reader) is None
        shut = gate.shut(await gate.look(reader, now))
    step = f"rosterd plan -o {quote(name)}"
    if shut:
        step = f"rosterd sso status --organization {quote(name)} (single sign-on comes first), then {step}"
    return CheckLine(True, f"{name}: {'a first' if first else 'a'} plan would {_words(planned)}", step, note=True)


def _read(source: Source, reading: Reading) -> Source:
    return _ReadTracer(source, reading) if isinstance(source, Tracer) else _Read(source, reading)


def _words(planned: Planned) -> str:
    """``invite 12 people, assign 7 seats (5 short); hold the changes of 12 people: …``."""
    from connector.reconcile.guard.limits import reasons
    from connector.reconcile.plan.changes import Kind
    from connector.reconcile.plan.words import people
    from connector.reconcile.show.text import people_by_word
    from ledger.counted import counted

    if planned.plan.empty:
        return "change nothing" + _unknown(planned)
    changes = [change for bundle in planned.plan.bundles for change in bundle.changes]
    invited = len({change.subject for change in changes if change.kind is Kind.INVITE})
    seats = sum(change.kind is Kind.ASSIGN_SEAT for change in changes)
    short = sum(change.kind is Kind.WAIT and not change.before for change in changes)
    parts = [f"invite {people(invited)}", f"assign {counted(seats, 'seat')}" + (f" ({short} short)" if short else "")]
    if removals := people_by_word(planned.plan.bundles).get("removals"):
        parts.append(f"take something from {people(removals)}")
    held = "hold nothing"
    if planned.guarded.held:
        who = people(len({bundle.subject for bundle in planned.guarded.held}))
        held = f"hold the changes of {who}: {'; '.join(reasons(planned.guarded.trips)[:3])}"
    return f"{', '.join(parts)}; {held}{_unknown(planned)}"


def _unknown(planned: Planned) -> str:
    unread = {f"{scope.scope} of {scope.source_id}" for scope in planned.plan.unknown}
    return f" (without {', '.join(sorted(unread)[:3])}, which could not be read)" if unread else ""
