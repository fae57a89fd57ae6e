"""report held: what waits for approval, why, for how long, and who is in it (G2, G3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from connector.reconcile.awaiting import approve_command
from connector.reconcile.heldsets import find
from connector.reconcile.wording import counted, expiry, moment, people
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
        approvers = service.settings.customer(name).settings.limits.approvers
        async with service.ledger.read(name) as reader:
            found = [await find(reader, digest)] if digest else await runs.held_sets(reader, ("open",))
        now = service.clock()
        lines = [line for item in found for line in _lines(item, approvers, expiry(item.expires_at, now))]
        documents = [{**item.to_json(), "expires": expiry(item.expires_at, now)} for item in found]
        if not digest:
            return Shown(tuple(lines) or ("nothing is held",), {"held": documents})
        rows = tuple(_row(change) for change in found[0].changes)
        document = {**documents[0], "state": found[0].state, "what": list(found[0].changes)}
        return Shown(tuple(lines), document, Grid(("person", "change", "what", "because"), rows))

    perform(context, as_json, work)


def _lines(item: runs.HeldSet, approvers: int, expires: str) -> Sequence[str]:
    kinds = Counter(str(change["kind"]) for change in item.changes)
    who = people(len({change["subject"] for change in item.changes}))
    what = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    left = approvers - len(item.approvals)
    given = [f"  approved by {entry['by']} ({entry['reason']})" for entry in item.approvals]
    if item.state == "open" and left:
        given.append(f"  {counted(left, 'approval')} needed, by {'another principal' if given else 'a principal'}"
                     if left == 1 else f"  {left} approvals needed, by different principals")  # fmt: skip
    return [
        f"held set {item.digest[:12]} ({item.state}): {who}, {what}; held since {moment(item.created_at)}, {expires}",
        *(f"  because {why}" for why in item.why.split("; ") if why),
        *given,
        f"  approve: {approve_command(item.digest)}",
        f"  everybody in it: rosterd report held {item.digest[:12]}",
    ]


def _row(change: Any) -> tuple[str, str, str, str]:
    arrow = f"{change['before'] or '·'} → {change['after'] or '·'}"
    what = f"{change['object']}: {arrow}" if change["object"] else arrow
    return (str(change["subject"]), str(change["kind"]), what, str(change["cause"]))


def add_to(report: typer.Typer) -> None:
    """Register the verb under ``report``."""
    report.command()(held)
