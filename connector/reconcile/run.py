"""One run, from directory to ledger: read → map → desired → diff → guard → apply. THE FILE TO READ FIRST.

The gate comes first: when no domain is open the run is suspended and nothing is read (R5, G5). Reading happens outside
any transaction; deciding and writing happen inside one, on the state that transaction sees (A1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from connector.directory.base import Source
from connector.directory.mapping import AttributeRules
from connector.reconcile.explain import Explanation
from connector.reconcile.outcome import Planned, RunOutcome, Undone
from connector.reconcile.policy import Policy
from ledger.store.engine import Ledger
from ledger.team import Organization

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total; 0 = not known) from the run's own thread."""


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """A directory and how its attributes become ours."""

    source: Source
    rules: AttributeRules


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a run of one organization needs."""

    organization: Organization
    policy: Policy
    sources: tuple[ConfiguredSource, ...]


async def plan(ledger: Ledger, setup: Setup, *, now: datetime, progress: Progress | None = None) -> Planned:
    """Read and decide; write nothing to anybody (P1). Raises ``BadInput`` for a policy that contradicts the ledger."""
    raise NotImplementedError


async def apply(
    ledger: Ledger,
    setup: Setup,
    *,
    now: datetime,
    actor: str,
    digest: str | None = None,
    auto: bool = False,
    lease: object | None = None,
    progress: Progress | None = None,
) -> RunOutcome:
    """Read, decide and commit. Exactly one of ``digest`` (a plan somebody saw: recomputed, must match, approves what it
    shows, G3) and ``auto`` (what the guard lets through). Raises ``Stale``, ``Refused``, ``Busy``."""
    raise NotImplementedError


async def approve(ledger: Ledger, setup: Setup, digest: str, *, reason: str, actor: str, now: datetime) -> RunOutcome:
    """Let the held set named by ``digest`` (or a unique prefix of ≥ 8 digits) through, or the part still true (G3)."""
    raise NotImplementedError


async def undo(
    ledger: Ledger, setup: Setup, run_id: str, *, actor: str, reason: str, now: datetime, dry_run: bool
) -> Undone:
    """Restore what run ``run_id`` changed, as a new audited run; what was edited since is kept and named (A3)."""
    raise NotImplementedError


async def explain(ledger: Ledger, setup: Setup, mail: str, *, now: datetime) -> Explanation:
    """Why the person with this address has, waits for, or lost each thing (P6). Raises ``NotFound``."""
    raise NotImplementedError
