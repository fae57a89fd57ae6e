"""What the verbs hand back: values that can be printed (``lines``) or serialised (``to_json``). Pure: no I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from connector.reconcile.guard.guard import Guarded
from connector.reconcile.outlook.outlook import Outlook
from connector.reconcile.plan.changes import Change, Plan, Problem, ScopeLine, change_to_json
from connector.reconcile.show.awaiting import Awaiting
from connector.reconcile.show.documents import planned_json, planned_markdown, suspended_markdown
from connector.reconcile.show.text import planned_lines, suspended_lines, undone_lines

SCHEDULED = "apply"
_OF_A_RUN = ("run_id", "state", "exit_code", "counts", "held", "held_counts")
_SHOWN = 1000
_SHOWN_SUBJECTS = 50
"""Most changes, problems, and people of a problem in a job's outcome: it is looked at, not processed."""


class RunState(StrEnum):
    """How a run ended; ``running`` only while it has not."""

    RUNNING = "running"
    APPLIED = "applied"
    NOTHING = "nothing"
    HELD = "held"
    REFUSED = "refused"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and what the guard would hold of it, made ``at``. ``suspended``: the gate's reasons, when nothing was read
    at all. ``awaiting``: how each held set stands. ``outlook``: seats ahead and coverage (P4, P5). ``tried``: the file
    it was made by, where that is not in force. ``roles``: what the file's admins of Teams change, in words."""

    plan: Plan
    guarded: Guarded
    suspended: tuple[str, ...] = ()
    expires_at: str = ""
    outlook: Outlook = field(default_factory=Outlook)
    awaiting: tuple[Awaiting, ...] = ()
    at: datetime | None = None
    tried: str = ""
    roles: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The plan's digest: what ``apply --digest`` must recompute."""
        return self.plan.digest

    @property
    def exit_code(self) -> int:
        """0 nothing in the way · 3 suspended or something is held · 4 something could not be read."""
        if self.suspended or self.guarded.held:
            return 3
        return 4 if self.plan.unknown or self.plan.doubted else 0

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text, long lists folded; the first line says what is unknown, when something is."""
        return self._lines(every=False)

    @property
    def every_line(self) -> tuple[str, ...]:
        """The same with everybody in it."""
        return self._lines(every=True)

    def _lines(self, *, every: bool) -> tuple[str, ...]:
        if self.suspended:
            return suspended_lines(self.suspended)
        return planned_lines(
            self.plan, self.guarded, self.awaiting, self.outlook, self.at, every=every, tried=self.tried,
            roles=self.roles,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        rest = {
            "exit_code": self.exit_code,
            "suspended": list(self.suspended),
            "expires_at": self.expires_at,
            "roles": list(self.roles),
        }
        return {**planned_json(self.plan, self.guarded, self.awaiting, self.outlook, self.tried), **rest}

    def for_job(self) -> dict[str, Any]:
        """What is kept of it as the outcome of a job: long lists are cut, and say how long they are."""
        document = _cut(self.to_json(), "changes", "problems")
        for problem in document["problems"]:
            _cut(problem, "subjects", most=_SHOWN_SUBJECTS)
        return document

    @property
    def markdown(self) -> str:
        """A Markdown document, for a ticket or a review."""
        if self.suspended:
            return suspended_markdown(suspended_lines(self.suspended))
        return planned_markdown(self.plan, self.guarded, self.awaiting, self.outlook, self.at, self.tried, self.roles)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run did, from what was committed (A4). ``held`` is the held set's digest, or empty."""

    run_id: str
    kind: str
    state: RunState
    exit_code: int
    digest: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    held: str = ""
    held_counts: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    scopes: tuple[ScopeLine, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "run_id": self.run_id,
            "kind": self.kind,
            "state": self.state.value,
            "exit_code": self.exit_code,
            "digest": self.digest,
            "counts": dict(self.counts),
            "held": self.held,
            "held_counts": dict(self.held_counts),
            "lines": list(self.lines),
            "problems": [problem_json(problem) for problem in self.problems],
            "scopes": [scope_json(scope) for scope in self.scopes],
        }

    def for_job(self) -> dict[str, Any]:
        """What is kept of it as the outcome of a job: of a scheduled run what happened, of what somebody asked for all
        of it."""
        document = self.to_json()
        return document if self.kind != SCHEDULED else {name: document[name] for name in _OF_A_RUN}


@dataclass(frozen=True, slots=True)
class Undone:
    """What ``undo`` would do (``outcome`` is None) or did. ``kept``: what was edited since, and is left alone (A3).
    ``marked``: of how many people what was undone does not come back by itself (E14). ``earlier``: the run that undid
    it already, where nothing is left."""

    undoes: str
    changes: tuple[Change, ...]
    kept: tuple[Problem, ...]
    outcome: RunOutcome | None = None
    marked: int = 0
    earlier: str = ""

    @property
    def exit_code(self) -> int:
        """0 when it was shown or done."""
        return self.outcome.exit_code if self.outcome else 0

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text."""
        done = self.outcome is not None
        return undone_lines(self.undoes, self.changes, self.kept, self.marked, done=done, earlier=self.earlier)

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "undoes": self.undoes,
            "changes": [change_to_json(change) for change in self.changes],
            "kept": [problem_json(problem) for problem in self.kept],
            "marked": self.marked,
            "undone_by": self.earlier,
            "outcome": self.outcome.to_json() if self.outcome else None,
        }

    def for_job(self) -> dict[str, Any]:
        """What is kept of it as the outcome of a job: a long list of changes is cut, and says how long it is."""
        return _cut(self.to_json(), "changes")


def _cut(document: dict[str, Any], *names: str, most: int = _SHOWN) -> dict[str, Any]:
    """The document with these lists cut, and how long each was."""
    for name in names:
        document[f"{name}_total"] = len(document[name])
        document[name] = document[name][:most]
    return document


def problem_json(problem: Problem) -> dict[str, Any]:
    """``code``, ``what``, ``subjects``."""
    return {"code": problem.code, "what": problem.what, "subjects": list(problem.subjects)}


def scope_json(scope: ScopeLine) -> dict[str, Any]:
    """The evidence of one scope."""
    return {
        "source": scope.source_id,
        "scope": scope.scope,
        "complete": scope.complete,
        "reason": scope.reason,
        "entries": scope.entries,
        "missing": scope.missing,
    }
