"""Collects one person's facts from the ledger, and from the directories where they may be asked (P6). Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from connector.directory.finding import Finding
from connector.reconcile.desired.seen import Domains
from connector.reconcile.diff.roles import EVERYWHERE
from connector.reconcile.explain.answer import UNKNOWN, Explanation, Fact
from connector.reconcile.explain.ask import ConfiguredFinder, ask, holders, sides
from connector.reconcile.explain.directory_side import Context, Known
from connector.reconcile.policy.policy import Policy
from connector.reconcile.state import gate
from ledger.errors import BadInput, NotFound
from ledger.identity import MANUAL, Email, IdentityState
from ledger.instant import to_text
from ledger.seat import SeatState
from ledger.store import kept_groups, people, runs, seats
from ledger.store.book import Reader
from ledger.store.engine import Ledger

_DIRECTORY = "directory"
_READING = frozenset({"apply", "approve"})
"""Kinds of runs that say what they saw of everybody."""


async def explain(
    ledger: Ledger,
    organization: str,
    policy: Policy,
    mail: str,
    now: datetime,
    finders: Sequence[ConfiguredFinder] = (),
) -> Explanation:
    """Everything the ledger knows about the person with this address, beside what each directory of ``finders`` says.

    Raises ``BadInput``, and ``NotFound`` when neither the ledger nor any directory knows the address. No transaction is
    open while directories are asked.
    """
    try:
        key = Email.parse(mail).key
    except ValueError as error:
        raise BadInput(str(error)) from error
    async with ledger.read(organization) as reader:
        told, row, links = await _told(reader, policy, key)
    mails = (mail, *((row[2],) if row else ()))
    findings = await ask(finders, policy, mails, links, now)
    async with ledger.read(organization) as reader:
        domains = await gate.look(reader, now) if finders else Domains(frozenset())
        known = await _known(reader, row) if row and finders else None
        told = await _reported(reader, told, key, findings)
        sides_ = sides(finders, findings, Context(policy, domains, now, known, await holders(reader, findings)))
    shut = Email.parse(told.mail).domain if finders and told.known else ""
    if shut and shut not in domains.open:
        told = replace(told, pending=(*told.pending, f"frozen: {domains.reason(shut)}"))
    if not told.known and not told.pending and not any(side.entries or side.unread or side.notes for side in sides_):
        raise NotFound(f"nobody with the address {key} is known",
                       next_step="rosterd plan shows who would be invited, and who is frozen and why")  # fmt: skip
    return replace(told, source=sides_)


async def _told(reader: Reader, policy: Policy, key: str) -> tuple[Explanation, Any, dict[str, tuple[str, ...]]]:
    """The ledger's side, the identity's row (None: nobody), and its anchors by source."""
    found = await people.identities_by_mail(reader, key)
    if not found:
        return Explanation(key, "", UNKNOWN, (), (), (), (), (), ()), None, {}
    person = min(found, key=lambda row: row[7] == IdentityState.REMOVED)
    teams = {row[0]: row[1] for row in await people.open_teams(reader)}
    about = await people.history_of(reader, person[1])
    held = await seats.history_of(reader, person[1])
    grants = _reasons(held["grants"], teams)
    groups = await _in_groups(reader, person[1])
    anchors: dict[str, tuple[str, ...]] = {}
    for row in about["links"]:
        if row.valid_to is None and row.kind == _DIRECTORY:
            anchors[row.source_id] = (*anchors.get(row.source_id, ()), row.anchor)
    told = Explanation(
        mail=person[2],
        display_name=person[6],
        state=person[7],
        links=tuple(_facts(about["links"], _link)),
        teams=(*_facts(about["memberships"], lambda row: _membership(row, teams, policy)),
               *_facts(about["roles"], lambda row: _role(row, teams))),
        seats=tuple(_facts(held["seats"], lambda row: _seat(row, teams, grants))),
        waiting=await _waiting(reader, held["waiting"], teams),
        past=tuple(_ordered([*_past(about, held["seats"], teams, grants), *(fact for fact in groups if fact.until)])),
        pending=tuple(f"seat of {row.offering_code} is released at {to_text(row.release_due_at)}"
                      for row in held["seats"] if row.valid_to is None and row.release_due_at),
        groups=tuple(fact for fact in groups if not fact.until),
    )  # fmt: skip
    return told, person, anchors


async def _in_groups(reader: Reader, identity: str) -> list[Fact]:
    """Kept groups the person is or was in, under the names they have now."""
    rows = await kept_groups.history_of(reader, identity)
    names = await kept_groups.names(reader, {row.group_id for row in rows})
    return [
        _fact(row, f"in group {names.get(row.group_id, row.group_id)}", row.cause or row.provenance) for row in rows
    ]


async def _known(reader: Reader, row: Any) -> Known:
    """The person as the directories' answers are compared with it."""
    about = await people.history_of(reader, row[1])
    links = {(link.source_id, link.anchor): to_text(link.valid_from)
             for link in about["links"] if link.valid_to is None and link.kind == _DIRECTORY}  # fmt: skip
    fields = {"mail": row[2], "given_name": row[4], "family_name": row[5], "display_name": row[6],
              "employee_number": row[8], **msgspec.json.decode(row[9])}  # fmt: skip
    provenances = frozenset(item.provenance for item in about["memberships"] if item.valid_to is None)
    return Known(row[1], row[7], {name: text for name, text in fields.items() if text}, links, provenances)


async def _reported(reader: Reader, told: Explanation, key: str, findings: Sequence[Finding]) -> Explanation:
    """With what is held about the person, and what the last run said of them by address, entry or anchor."""
    names = {key, Email.parse(told.mail).key}
    for finding in findings:
        names |= {name for item in finding.entries for name in (item.entry.dn, item.entry.anchor)}
    return replace(told, pending=(*await _pending(reader, key, names), *told.pending))


def _fact(row: Any, what: str, why: str) -> Fact:
    until = to_text(row.valid_to) if row.valid_to else ""
    return Fact(what, why, to_text(row.valid_from), until, row.run_id, row.ended_run)


def _facts(rows: Iterable[Any], describe: Any) -> list[Fact]:
    return [_fact(row, *describe(row)) for row in rows if row.valid_to is None]


def _link(row: Any) -> tuple[str, str]:
    if row.kind == _DIRECTORY:
        return f"{row.kind} {row.source_id}", f"anchor {row.anchor}"
    made = row.subject_kind or "the raw NameID, from before that was told apart"
    return f"{row.kind} {row.source_id}", f"signs in as subject {row.anchor[:12]}, made of {made}"


def _membership(row: Any, teams: Mapping[str, str], policy: Policy) -> tuple[str, str]:
    rule = policy.rule_of(row.provenance)
    known = "" if rule or row.provenance == MANUAL else " (this mapping is no longer in the organization file)"
    return f"member of {teams.get(row.team_id, row.team_id)}", (row.cause or row.provenance) + known


def _role(row: Any, teams: Mapping[str, str]) -> tuple[str, str]:
    where = teams.get(row.team_id, row.team_id) or EVERYWHERE
    why = "the organization file or a person says so" if row.provenance == MANUAL else row.cause or row.provenance
    return f"{row.role} of {where}", why


def _seat(row: Any, teams: Mapping[str, str], grants: Mapping[str, list[str]]) -> tuple[str, str]:
    why = "; ".join(grants.get(row.id, [])) or "no recorded grant"
    if row.state == SeatState.PAUSED:
        why = f"off-boarding paused it (was {row.paused_from or 'active'}); {why}"
    return f"seat of {row.offering_code} in {teams.get(row.team_id, row.team_id)}: {row.state}", why


def _reasons(rows: Sequence[Any], teams: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        team = teams.get(row.team_id, row.team_id)
        found.setdefault(row.seat_id, []).append(f"{row.cause or row.provenance} → Team {team}")
    return found


def _past(
    about: Mapping[str, Sequence[Any]], held: Sequence[Any], teams: Mapping[str, str], grants: Mapping[str, list[str]]
) -> list[Fact]:
    """Ended rows: what was lost, when, and by which run."""
    facts = [
        _fact(row, f"member of {teams.get(row.team_id, row.team_id)}", row.cause or row.provenance)
        for row in about["memberships"]
        if row.valid_to is not None
    ]
    facts += [_fact(row, *_role(row, teams)) for row in about["roles"] if row.valid_to is not None]
    facts += [_fact(row, *_seat(row, teams, grants)) for row in held if row.valid_to is not None]
    return facts


def _ordered(facts: Iterable[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: (fact.until, fact.what))


async def _waiting(reader: Reader, rows: Sequence[Any], teams: Mapping[str, str]) -> tuple[Fact, ...]:
    """Places on the waitlist with the position in their pool."""
    everybody = sorted(await seats.open_waiting(reader), key=lambda row: (row[5], row[6], row[1]))
    facts = []
    for row in rows:
        if row.valid_to is not None:
            continue
        line = [other[0] for other in everybody if (other[2], other[3]) == (row.team_id, row.offering_code)]
        place = line.index(row.row_id) + 1
        why = f"no free seat; number {place} of {len(line)}, by priority {row.priority}, then first come"
        facts.append(_fact(row, f"seat of {row.offering_code} in {teams.get(row.team_id, row.team_id)}", why))
    return tuple(facts)


async def _pending(reader: Reader, key: str, names: set[str]) -> list[str]:
    """Held changes about the person, and what the last run reported about them."""
    out = []
    for held in await runs.held_sets(reader, ("open", "approved")):
        mine = [change for change in held.changes if change["subject"] == key]
        kinds = ", ".join(f"{change['kind']} {change['object']}".strip() for change in mine)
        if mine:
            out.append(f"held: {kinds}; approve with `rosterd approve {held.digest[:12]}`")
    for run in [run for run in await runs.latest(reader) if run.kind in _READING][:1]:
        for problem in run.problems:
            if any(subject in names or subject.startswith(f"{key} ") for subject in problem["subjects"]):
                out.append(f"{problem['code']}: {problem['what']}")
    return out
