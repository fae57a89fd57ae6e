"""Plans and outcomes for people and programs: table text, JSON, Markdown (P1). Pure: strings out, nothing read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connector.reconcile.guard import Guarded
from connector.reconcile.plan import REMOVALS, Bundle, Change, Harm, Plan, Problem, ScopeLine, change_to_json

_SHOWN = 12
"""Digits of a digest in messages; ``approve`` accepts any unique prefix of at least 8."""

_ROWS = 40
_NAMES = 5
_SCOPES = 3
_WORDS = {Harm.INVITE: "invites", Harm.RENAME: "renames", Harm.RELINK: "relinks"}


def short(digest: str) -> str:
    """The first digits of a digest, enough to name it on a command line."""
    return digest[:_SHOWN]


def unknown_line(scopes: Iterable[ScopeLine]) -> str:
    """What could not be read, and that nothing is removed because of it; empty when everything was read."""
    found: dict[tuple[str, str], list[str]] = {}
    for scope in sorted(scopes, key=lambda item: (not item.scope.startswith("people:"), item.scope)):
        found.setdefault((scope.source_id, scope.reason or "not read to its end"), []).append(scope.scope)
    parts = [f"{_some(names, _SCOPES)} of {source}: {reason}" for (source, reason), names in found.items()]
    return f"UNKNOWN {'; '.join(parts)}. Nothing will be removed because of it." if parts else ""


def _some(names: Sequence[str], limit: int) -> str:
    """The first names and how many more."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def held_line(applied: Mapping[str, int], held: Mapping[str, int], digest: str, *, done: bool = True) -> str:
    """``0 removals applied, 37 held; approve with `rosterd approve 9f3c…` `` (G2); people are counted, not changes."""
    parts = []
    for word, count in held.items():
        went = applied.get(word, 0)
        parts.append(
            f"{went} {word} applied, {count} held" if done else f"{count} {word} would be held, {went} applied"
        )
    return f"{'; '.join(parts)}; approve with `rosterd approve {short(digest)}`"


def people_by_word(bundles: Iterable[Bundle]) -> dict[str, int]:
    """People per kind of harm in the words of messages: removals, invites, renames, relinks; otherwise additions."""
    found: dict[str, set[str]] = {}
    for bundle in bundles:
        words = {"removals" if c.harm in REMOVALS else _WORDS[c.harm] for c in bundle.changes if c.harm}
        for word in words or {"additions"}:
            found.setdefault(word, set()).add(bundle.subject)
    return {
        word: len(found[word]) for word in ("removals", "invites", "renames", "relinks", "additions") if word in found
    }


def planned_lines(plan: Plan, guarded: Guarded, suspended: Sequence[str]) -> tuple[str, ...]:
    """Plain text lines of a plan; the first says what is unknown, when something is."""
    if suspended:
        why = "; ".join(suspended)
        return (f"SUSPENDED {why}. Nothing was read and nobody is removed.", "what is missing: `rosterd sso status`")
    out = [line for line in [unknown_line(plan.unknown)] if line]
    if plan.empty:
        out.append("nothing to change")
    else:
        out.append(f"plan {short(plan.digest)}: {counts_text(plan.counts)}")
        out += table(plan, guarded)
    out += problem_lines(plan.problems)
    out += [f"held: {trip.text}" for trip in guarded.trips]
    if guarded.held:
        line = held_line(people_by_word(guarded.allowed), people_by_word(guarded.held), guarded.held_digest, done=False)
        out.append(line.partition("; approve with")[0])
        out.append(f"apply all of it, what is held included, with `rosterd apply --digest {short(plan.digest)}`")
    elif not plan.empty:
        out.append(f"apply with `rosterd apply --digest {short(plan.digest)}`")
    return tuple(out)


def outcome_lines(plan: Plan, guarded: Guarded) -> tuple[str, ...]:
    """What a run did, in words: unknown first, then applied, held, notes."""
    out = [line for line in [unknown_line(plan.unknown)] if line]
    if guarded.held:
        out.append(held_line(people_by_word(guarded.allowed), people_by_word(guarded.held), guarded.held_digest))
        out += [f"held: {trip.text}" for trip in guarded.trips]
    out.append(f"applied: {counts_text(guarded.counts)}" if guarded.allowed else "nothing was changed")
    return (*out, *problem_lines(plan.problems))


def counts_text(counts: Mapping[str, int]) -> str:
    """``3 Invite, 3 JoinTeam``; ``nothing`` when empty."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"


def table(plan: Plan, guarded: Guarded, limit: int = _ROWS) -> list[str]:
    """One line per change: person, kind, object, before → after, cause; held ones are marked. At most ``limit``."""
    held = {change.key for bundle in guarded.held for change in bundle.changes}
    changes = [change for bundle in plan.bundles for change in bundle.changes]
    rows = [_row(change, change.key in held) for change in changes[:limit]]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = ["  " + "  ".join([*(row[c].ljust(widths[c]) for c in range(4)), row[4]]).rstrip() for row in rows]
    if len(changes) > limit:
        lines.append(f"  … and {len(changes) - limit} more (--json shows all)")
    return lines


def _row(change: Change, held: bool) -> tuple[str, str, str, str, str]:
    return ("held" if held else "", change.subject, change.kind.value, _what(change), change.cause)


def _what(change: Change) -> str:
    arrow = f"{change.before or '·'} → {change.after or '·'}"
    return f"{change.object}: {arrow}" if change.object else arrow


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """One line per problem with the first names it concerns."""
    lines = []
    for problem in problems:
        names = _some(problem.subjects, _NAMES)
        lines.append(f"note: {problem.what}: {names}" if names else f"note: {problem.what}")
    return lines


def planned_json(plan: Plan, guarded: Guarded) -> dict[str, Any]:
    """A plan as JSON, without what its caller knows (exit code, suspension, expiry)."""
    held = {change.key for bundle in guarded.held for change in bundle.changes}
    changes = [change for bundle in plan.bundles for change in bundle.changes]
    return {
        "digest": plan.digest,
        "policy": plan.policy_hash,
        "unknown": unknown_line(plan.unknown),
        "counts": plan.counts,
        "changes": [{**change_to_json(change), "held": change.key in held} for change in changes],
        "held": {
            "digest": guarded.held_digest,
            "counts": dict(guarded.held_counts),
            "why": [trip.text for trip in guarded.trips],
        },
        "scopes": [
            {"source": s.source_id, "scope": s.scope, "complete": s.complete, "reason": s.reason, "entries": s.entries}
            for s in plan.scopes
        ],
        "problems": [{"code": p.code, "what": p.what, "subjects": list(p.subjects)} for p in plan.problems],
    }


def planned_markdown(plan: Plan, guarded: Guarded, suspended: Sequence[str]) -> str:
    """The plan as a Markdown document, for a ticket or a review."""
    held = {change.key for bundle in guarded.held for change in bundle.changes}
    out = [f"# Plan `{short(plan.digest)}`", ""]
    out += [line for line in (unknown_line(plan.unknown), *(f"SUSPENDED {why}" for why in suspended)) if line]
    out += ["", counts_text(plan.counts), "", "| person | change | what | cause | |", "|---|---|---|---|---|"]
    for bundle in plan.bundles:
        for change in bundle.changes:
            cells = (
                change.subject,
                change.kind.value,
                _what(change),
                change.cause,
                "held" if change.key in held else "",
            )
            out.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    out += ["", *(f"- {line}" for line in problem_lines(plan.problems))]
    out += [f"- held: {trip.text}" for trip in guarded.trips]
    return "\n".join(out) + "\n"


def undone_lines(run_id: str, changes: Sequence[Change], kept: Sequence[Problem], *, done: bool) -> tuple[str, ...]:
    """Plain text lines of an undo: what is (or would be) restored and what is kept because it was edited since."""
    verb = "undid" if done else "would undo"
    rows = [_row(change, False) for change in changes]
    out = [f"{verb} run {run_id}: {len(rows)} change(s)"]
    out += [f"  {row[1]}  {row[2]}  {row[3]}" for row in rows[:_ROWS]]
    if len(rows) > _ROWS:
        out.append(f"  … and {len(rows) - _ROWS} more (--json shows all)")
    return (*out, *problem_lines(kept))
