"""report held: what waits for approval, why, for how long, and who is in it (G2, G3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from connector.reconcile.apply.held_sets import find
from connector.reconcile.plan.approval import approve_command
from connector.reconcile.plan.freeze import frozen
from connector.reconcile.plan.settings import LimitSettings
from connector.reconcile.plan.words import counted, expiry, moment, people
from ledger.store import runs
from rosterd.service import Service
from rosterd.verbs.console import Grid, Json, OneOrganization, Result, Shown, choose, perform


def held(
    context: typer.Context,
    digest: Annotated[str, typer.Argument(metavar="[DIGEST]", help="Only this one, with everybody in it.")] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """What waits for approval; with a digest, everybody in that held set."""

    async def work(service: Service) -> Result:
        name = choose(service.settings, organization)
        limits = service.settings.customer(name).settings.limits
        async with service.ledger.read(name) as reader:
            found = [await find(reader, digest)] if digest else await runs.held_sets(reader, ("open",))
        now = service.clock()
        lines = [line for item in found for line in _lines(item, limits, now)]
        documents = [{**item.to_json(), "expires": expiry(item.expires_at, now)} for item in found]
        if not digest:
            return Shown(tuple(lines) or ("nothing is held",), {"held": documents})
        rows = tuple(_row(change) for change in found[0].changes)
        document = {**documents[0], "state": found[0].state, "what": list(found[0].changes)}
        return Shown(tuple(lines), document, Grid(("person", "change", "what", "because"), rows))

    perform(context, as_json, work)


def _lines(item: runs.HeldSet, limits: LimitSettings, now: datetime) -> Sequence[str]:
    kinds = Counter(str(change["kind"]) for change in item.changes)
    who = people(len({change["subject"] for change in item.changes}))
    what = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    since = f"held since {moment(item.created_at)}, {expiry(item.expires_at, now)}"
    lines = [f"held set {item.digest[:12]} ({item.state}): {who}, {what}; {since}"]
    lines += [f"  because {why}" for why in item.why.splitlines()]
    lines += [f"  approved by {entry['by']}: {entry['reason']}" for entry in item.approvals]
    left = limits.approvers - len(item.approvals)
    if item.state in {"open", "superseded"} and item.expires_at > now:
        if item.approvals or left > 1:
            lines.append(f"  needs {counted(left, 'more approval')}, each by another principal")
        through = bool(frozen(limits.freeze, now))
        lines.append(f"  if it is meant: {approve_command(item.digest, despite_freeze=through)}")
    return [*lines, f"  everybody in it: rosterd report held {item.digest[:12]}"]


def _row(change: Any) -> tuple[str, str, str, str]:
    arrow = f"{change['before'] or '·'} → {change['after'] or '·'}"
    what = f"{change['object']}: {arrow}" if change["object"] else arrow
    return (str(change["subject"]), str(change["kind"]), what, str(change["cause"]))


def add_to(report: typer.Typer) -> None:
    """Register the verb under ``report``."""
    report.command()(held)
