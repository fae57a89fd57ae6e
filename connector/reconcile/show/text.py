"""Plans and outcomes for people: plain text that needs no manual (P1, G2). Pure: strings out, nothing read.

What happens, to how many, what is held, why, and the exact next command come first; the lists follow, folded.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from connector.reconcile.guard.guard import Guarded
from connector.reconcile.guard.limits import reasons
from connector.reconcile.outlook.outlook import Outlook
from connector.reconcile.plan.changes import READING_DOUBTED, REMOVALS, Bundle, Change, Harm, Plan, Problem, ScopeLine
from connector.reconcile.plan.words import people, some
from connector.reconcile.show.awaiting import Awaiting
from connector.reconcile.show.in_words import Group, grouped, headline, in_words, person_line
from ledger.counted import counted

_SHOWN = 12
"""Digits of a digest in messages; ``approve`` accepts any unique prefix of at least 8."""

_ROWS = 40
_PEOPLE = 20
_NAMES = 5
_SCOPES = 3
_WORDS = {Harm.INVITE: "invites", Harm.RENAME: "renames", Harm.RELINK: "relinks"}


def short(digest: str) -> str:
    """The first digits of a digest, enough to name it on a command line."""
    return digest[:_SHOWN]


def unknown_line(scopes: Iterable[ScopeLine]) -> str:
    """What could not be read, and that nobody leaves for absence because of it; empty when everything was read."""
    found: dict[tuple[str, str], list[str]] = {}
    for scope in sorted(scopes, key=lambda item: (not item.scope.startswith("people:"), item.scope)):
        found.setdefault((scope.source_id, scope.reason or "not read to its end"), []).append(scope.scope)
    parts = [f"{some(names, _SCOPES)} of {source}: {reason}" for (source, reason), names in found.items()]
    return f"UNKNOWN {'; '.join(parts)}. Nobody leaves for absence because of it." if parts else ""


def doubted_line(plan: Plan) -> str:
    """That the reading as a whole is not believed (E13); empty when it is."""
    return f"DOUBTED {plan.doubted}" if plan.doubted else ""


def held_line(applied: Mapping[str, int], held: Mapping[str, int], command: str) -> str:
    """``0 removals applied, 37 held; approve with `rosterd approve 9f3c…` `` (G2); people are counted, not changes."""
    parts = [f"{applied.get(word, 0)} {word} applied, {count} held" for word, count in held.items()]
    return f"{'; '.join(parts)}; approve with `{command}`"


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


def suspended_lines(reasons: Sequence[str]) -> tuple[str, ...]:
    """A plan that was not made because no domain is open (G5)."""
    why = "; ".join(reasons)
    return (f"SUSPENDED {why}. Nothing was read and nobody is removed.", "what is missing: `rosterd sso status`")


def planned_lines(
    plan: Plan,
    guarded: Guarded,
    awaiting: Sequence[Awaiting],
    outlook: Outlook,
    now: datetime | None,
    *,
    every: bool = False,
    tried: str = "",
    roles: Sequence[str] = (),
) -> tuple[str, ...]:
    """Plain text lines of a plan; the first says what is unknown, when something is. ``every``: lists are not folded.
    ``now`` is when it was made; ``tried``: the file that was tried out."""
    out = [line for line in [unknown_line(plan.unknown), doubted_line(plan)] if line]
    if plan.empty and plan.only:
        return (*out, f"nothing changes for {', '.join(plan.only)}", "next: `rosterd plan` has the whole")
    if plan.empty:
        out.append("nothing to change")
    else:
        about = f", only {', '.join(plan.only)}" if plan.only else ""
        out.append(f"plan {short(plan.digest)}{about}: {headline(plan.bundles)}")
        out += held_summary(guarded)
        out += next_steps(plan, guarded, awaiting, now, tried)
        out += ["", *group_table(grouped(plan.bundles, guarded.held))]
        out += ["", *people_lines(plan, guarded, None if every or plan.only else _PEOPLE)]
    notes = [*outlook.lines, *problem_lines((*part_problems(plan, guarded), *plan.problems))]
    notes += [f"note: {line}" for line in roles]
    return (*out, *([""] if notes and not plan.empty else []), *notes)


def plan_command(only: Sequence[str] = ()) -> str:
    """What makes the plan again, or this part of it."""
    return f"rosterd plan{_only(only)}"


def _only(only: Sequence[str]) -> str:
    return "".join(f" --only {shlex.quote(name)}" for name in only)


def part_problems(plan: Plan, guarded: Guarded) -> list[Problem]:
    """What a part leaves to the whole: who waits for others, and how many are not in it; nothing of a whole plan."""
    why: dict[str, list[str]] = {}
    for subject, reason in guarded.needing.items():
        why.setdefault(reason, []).append(subject)
    found = [Problem("part", f"waits for the whole plan: {reason}", tuple(sorted(who))) for reason, who in why.items()]
    if plan.only and guarded.beside:
        said = f"only {', '.join(plan.only)}: the changes of {people(guarded.beside)} outside this part are left"
        found.append(Problem("part", said))
    return found


def held_summary(guarded: Guarded) -> list[str]:
    """What waits and why; empty when nothing does."""
    out = []
    for part in guarded.parts:
        held = ", ".join(f"{count} {word}" for word, count in people_by_word(part.bundles).items())
        who = people(len({bundle.subject for bundle in part.bundles}))
        out.append(f"HELD: the changes of {who} wait until they are approved ({held}); nothing of it happens before")
        out += [f"held: {why}" for why in reasons(guarded.trips_of(part))]
    return out


def next_steps(
    plan: Plan, guarded: Guarded, awaiting: Sequence[Awaiting], now: datetime | None, tried: str = ""
) -> list[str]:
    """The exact next commands, and how what is held stands, part by part. What was planned by a file that is only
    ``tried`` out cannot be applied."""
    if tried:
        return [f"next: {tried} is not in force; put it in place of the organization's file, and then: `rosterd plan`"]
    whole = f"`rosterd apply --digest {short(plan.digest)}{_only(plan.only)}`"
    if not guarded.held:
        return [f"next: apply with {whole}"]
    kept = [how for how in awaiting if how.kept]
    one = awaiting[0]
    if kept:
        out = []
        for how, part in zip(awaiting, guarded.parts, strict=True):
            standing = f"; {how.standing(now)}" if now else ""
            what_waits = "what is held" if len(awaiting) == 1 else f"what is held of {people(len(part.bundles))}"
            out.append(f"next: if this is meant, let {what_waits} through with `{how.command}`{standing}")
    elif one.frozen or one.approvers > 1 or plan.only:
        rest = "what is not held and keeps the rest for approval"
        then = " and ".join(f"`{how.command}`" for how in awaiting)
        first = whole if plan.only else "`rosterd apply --auto`"
        out = [f"next: {first} applies {rest}; then, if it is meant, {then}"]
        if one.approvers > 1:
            out.append(f"      approving takes {one.approvers} principals: each runs it once")
    else:
        out = [f"next: if this is meant, apply all of it, what is held included, with {whole}"]
    return [*out, "      if it is not, correct the directory or the organization file, and plan again"]


def group_table(groups: Sequence[Group]) -> list[str]:
    """Team, kind of change, how many people, how many of them held."""
    rows = [("Team", "change", "people", "held")]
    rows += [(item.team, item.what, str(item.people), str(item.held or "·")) for item in groups]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"  {row[0].ljust(widths[0])}  {row[1].ljust(widths[1])}  {row[2].rjust(widths[2])}  {row[3].rjust(widths[3])}"
        for row in rows
    ]


def people_lines(plan: Plan, guarded: Guarded, limit: int | None) -> list[str]:
    """One line per person, held ones first, with the cause; the first ``limit`` of them (None: all)."""
    held = {bundle.subject for bundle in guarded.held}
    chosen = sorted(plan.bundles, key=lambda bundle: (bundle.subject not in held, bundle.subject))
    lines = [f"  {person_line(bundle, held=bundle.subject in held)}" for bundle in chosen[:limit]]
    if limit is not None and len(chosen) > limit:
        lines.append(f"  … and {people(len(chosen) - limit)} more: `rosterd plan --all` lists everybody")
    return lines


def outcome_lines(plan: Plan, guarded: Guarded, awaiting: Sequence[Awaiting], now: datetime) -> tuple[str, ...]:
    """What a run did, in words: unknown first, then applied, held and why, notes."""
    out = [line for line in [unknown_line(plan.unknown), doubted_line(plan)] if line]
    applied = people_by_word(guarded.allowed)
    for part, how in zip(guarded.parts, awaiting, strict=True):
        out.append(held_line(applied, people_by_word(part.bundles), _brief(how)))
        out += [f"held: {why}" for why in reasons(guarded.trips_of(part))]
        if how.kept:
            out.append(f"who: `rosterd report held {short(how.digest)}`; {how.standing(now)}")
    out.append(f"applied: {counts_text(guarded.counts)}" if guarded.allowed else "nothing was changed")
    return (*out, *problem_lines((*part_problems(plan, guarded), *plan.problems)))


def _brief(awaiting: Awaiting) -> str:
    """``rosterd approve 9f3c…``: the reason is asked for anyway, a freeze is not."""
    return f"rosterd approve {short(awaiting.digest)}{' --despite-freeze' if awaiting.frozen else ''}"


def counts_text(counts: Mapping[str, int]) -> str:
    """``3 Invite, 3 JoinTeam``; ``nothing`` when empty."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"


def what(change: Change) -> str:
    """Before → after, with what it is about."""
    arrow = f"{change.before or '·'} → {change.after or '·'}"
    return f"{change.object}: {arrow}" if change.object else arrow


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """One line per problem with the first names it concerns."""
    lines = []
    for problem in problems:
        if problem.code == READING_DOUBTED:
            continue  # it is the first line
        names = some(problem.subjects, _NAMES)
        lines.append(f"note: {problem.what}: {names}" if names else f"note: {problem.what}")
    return lines


def undone_lines(
    run_id: str, changes: Sequence[Change], kept: Sequence[Problem], marked: int, *, done: bool, earlier: str
) -> tuple[str, ...]:
    """Plain text lines of an undo: what is (or would be) restored, what is kept because it was edited since, and that
    what was undone of so many people does not come back by itself (E14). ``earlier``: the run that undid it already."""
    verb = "undid" if done else "would undo"
    head = f"{verb} run {run_id}: {counted(len(changes), 'change')}"
    out = [f"nothing of run {run_id} is left to undo: run {earlier} did" if earlier else head]
    out += [f"  {change.subject}  {in_words(change)}" for change in changes[:_ROWS]]
    if len(changes) > _ROWS:
        out.append(f"  … and {len(changes) - _ROWS} more (--json shows all)")
    if marked:
        waits = f"every run holds it for these {marked} people" if marked > 1 else "every run holds it for this person"
        out.append(f"the same does not happen again by itself: {waits} until it is approved, or the directory changes")
    return (*out, *problem_lines(kept))
