"""Plans as documents: JSON for programs, Markdown for a ticket or a review (P1). Pure: strings out, nothing read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from connector.reconcile.guard.guard import Guarded
from connector.reconcile.outlook.outlook import Outlook
from connector.reconcile.plan.changes import Plan, change_to_json
from connector.reconcile.show.awaiting import Awaiting
from connector.reconcile.show.in_words import grouped, headline
from connector.reconcile.show.text import (
    held_summary,
    next_steps,
    part_problems,
    problem_lines,
    short,
    unknown_line,
    what,
)


def planned_json(
    plan: Plan, guarded: Guarded, awaiting: Sequence[Awaiting], outlook: Outlook, tried: str = ""
) -> dict[str, Any]:
    """A plan as JSON, without what its caller knows (exit code, suspension, expiry)."""
    held = {change.key for bundle in guarded.held for change in bundle.changes}
    changes = [change for bundle in plan.bundles for change in bundle.changes]
    parts = [
        {"digest": part.digest, "counts": dict(part.counts), "why": [trip.text for trip in guarded.trips_of(part)],
         **how.to_json()}
        for part, how in zip(guarded.parts, awaiting, strict=True)
    ]  # fmt: skip
    nothing = {"digest": "", "counts": {}, "why": [], **Awaiting().to_json()}
    return {
        "digest": plan.digest,
        "only": list(plan.only),
        "policy": plan.policy_hash,
        "headline": headline(plan.bundles),
        "unknown": unknown_line(plan.unknown),
        "counts": plan.counts,
        "groups": [
            {"team": item.team, "kind": item.kind, "offering": item.offering, "people": item.people, "held": item.held}
            for item in grouped(plan.bundles, guarded.held)
        ],
        "changes": [{**change_to_json(change), "held": change.key in held} for change in changes],
        "held": parts[0] if parts else nothing,
        "held_apart": parts[1:],
        "next": [line.removeprefix("next:").strip() for line in next_steps(plan, guarded, awaiting, None, tried)]
        if plan.bundles
        else [],
        "outlook": outlook.to_json(),
        "scopes": [
            {"source": s.source_id, "scope": s.scope, "complete": s.complete, "reason": s.reason, "entries": s.entries}
            for s in plan.scopes
        ],
        "problems": [
            {"code": p.code, "what": p.what, "subjects": list(p.subjects)}
            for p in (*part_problems(plan, guarded), *plan.problems)
        ],
    }


def planned_markdown(
    plan: Plan,
    guarded: Guarded,
    awaiting: Sequence[Awaiting],
    outlook: Outlook,
    now: datetime | None,
    tried: str = "",
    roles: Sequence[str] = (),
) -> str:
    """The plan as a Markdown document: headline, what is held and what to do, by Team and kind, then everybody."""
    notes = (*part_problems(plan, guarded), *plan.problems)
    out = [f"# Plan `{short(plan.digest)}`{', only ' + ', '.join(plan.only) if plan.only else ''}", ""]
    out += [line for line in (unknown_line(plan.unknown),) if line]
    if plan.empty:
        out.append("nothing to change")
    else:
        out += [f"**{headline(plan.bundles)}**", ""]
        out += [f"- {line.strip()}" for line in held_summary(guarded) + next_steps(plan, guarded, awaiting, now, tried)]
        out += ["", "| Team | change | people | held |", "|---|---|---:|---:|"]
        out += [_row((item.team, item.what, str(item.people), str(item.held or "")))
                for item in grouped(plan.bundles, guarded.held)]  # fmt: skip
        out += ["", "<details><summary>Everybody</summary>", "", "| person | change | what | cause | |",
                "|---|---|---|---|---|", *_everybody(plan, guarded), "", "</details>"]  # fmt: skip
    out += ["", *(f"- {line}" for line in (*outlook.lines, *problem_lines(notes), *roles))]
    return "\n".join(out).rstrip() + "\n"


def suspended_markdown(lines: Sequence[str]) -> str:
    """A plan that was not made."""
    return "\n".join(["# Plan", "", *lines]) + "\n"


def _everybody(plan: Plan, guarded: Guarded) -> list[str]:
    held = {change.key for bundle in guarded.held for change in bundle.changes}
    return [
        _row((c.subject, c.kind.value, what(c), c.cause, "held" if c.key in held else ""))
        for bundle in plan.bundles
        for c in bundle.changes
    ]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
