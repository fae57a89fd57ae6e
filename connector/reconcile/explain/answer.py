"""Why one person has, waits for, or lost each thing: the chain entry → group → mapping → Team and seats (P6). Pure.

The ledger's side and, where they were asked, what each directory says now (``directory_side``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connector.reconcile.explain.directory_side import SourceSide

UNKNOWN = "not in the ledger"
"""State of somebody no identity stands for."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of an explanation: ``what`` holds (or held), ``why``, since when (RFC 3339), by which run (empty: by
    hand)."""

    what: str
    why: str
    since: str
    until: str = ""
    run_id: str = ""
    ended_run: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything the ledger can say about one person, newest last within each part; ``source``: each directory's side.

    ``state`` is ``UNKNOWN`` for somebody the ledger does not know: ``source`` and ``pending`` then say why.
    """

    mail: str
    display_name: str
    state: str
    links: tuple[Fact, ...]
    teams: tuple[Fact, ...]
    seats: tuple[Fact, ...]
    waiting: tuple[Fact, ...]
    past: tuple[Fact, ...]
    pending: tuple[str, ...]
    source: tuple[SourceSide, ...] = ()
    groups: tuple[Fact, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the ledger knows the person."""
        return self.state != UNKNOWN

    @property
    def exit_code(self) -> int:
        """4 when a directory could not be asked; the ledger's side is all there nevertheless."""
        return 4 if any(side.unread for side in self.source) else 0

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text, one fact per line under its heading."""
        out = [f"{self.display_name} <{self.mail}> is {self.state}".lstrip()]
        parts = (("linked to", self.links), ("Teams", self.teams), ("groups", self.groups), ("seats", self.seats))
        for title, facts in (*parts, ("waiting for", self.waiting), ("before", self.past)):
            if facts:
                out.append(f"{title}:")
                out += [f"  {_line(fact)}" for fact in facts]
        if self.pending:
            out.append("pending:")
            out += [f"  {line}" for line in self.pending]
        return (*out, *(line for side in self.source for line in side.lines))

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "mail": self.mail,
            "display_name": self.display_name,
            "state": self.state,
            "links": [_json(fact) for fact in self.links],
            "teams": [_json(fact) for fact in self.teams],
            "groups": [_json(fact) for fact in self.groups],
            "seats": [_json(fact) for fact in self.seats],
            "waiting": [_json(fact) for fact in self.waiting],
            "past": [_json(fact) for fact in self.past],
            "pending": list(self.pending),
            "source": [side.to_json() for side in self.source],
        }


def _line(fact: Fact) -> str:
    end = f" until {fact.until}" if fact.until else ""
    began = f" by run {fact.run_id}" if fact.run_id else " by hand"
    ended = ""
    if fact.until:
        ended = f", ended by run {fact.ended_run}" if fact.ended_run else ", ended by hand"
    why = f" because {fact.why}" if fact.why else ""
    return f"{fact.what}{why} (since {fact.since}{began}{end}{ended})"


def _json(fact: Fact) -> dict[str, str]:
    return {
        "what": fact.what,
        "why": fact.why,
        "since": fact.since,
        "until": fact.until,
        "run": fact.run_id,
        "ended_run": fact.ended_run,
    }
