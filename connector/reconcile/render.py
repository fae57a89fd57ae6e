"""Plans and outcomes for people and programs: table text, JSON, Markdown (P1). Pure: strings out, nothing read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connector.reconcile.outcome import Planned, Undone


def planned_lines(planned: Planned) -> tuple[str, ...]:
    """Plain text lines of a plan."""
    raise NotImplementedError


def planned_json(planned: Planned) -> dict[str, Any]:
    """One JSON document of a plan."""
    raise NotImplementedError


def undone_lines(undone: Undone) -> tuple[str, ...]:
    """Plain text lines of an undo."""
    raise NotImplementedError
