"""Adopting: manual memberships and grants of people who are in a mapped group come under the mapping's care (P3).

The manual reason ends and the mapping's begins in one change, so that nobody gains or loses anything; from then on the
mapping decides when a person leaves. Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Desired, Present, SourceSeen
from connector.reconcile.diff.diff import Draft
from connector.reconcile.diff.seat_pools import Allocation
from connector.reconcile.guard.guard import Guarded
from connector.reconcile.outlook.outlook import Outlook
from connector.reconcile.pipeline import decide
from connector.reconcile.plan.changes import Bundle, Change, Harm, Kind, Plan, Problem, sort_changes
from connector.reconcile.plan.recorded import GrantRow, SeatRow
from connector.reconcile.policy.policy import Policy, Rule
from connector.reconcile.show.documents import planned_json
from connector.reconcile.show.text import counts_text, people_lines, problem_lines, short, unknown_line
from ledger.counted import counted
from ledger.identity import MANUAL, IdentityState

_ACTIVE = IdentityState.ACTIVE.value


@dataclass(slots=True)
class Swap:
    """Rows of one table: the ids to end, and the new rows as ``ledger.store`` takes them."""

    end: list[str] = field(default_factory=list)
    begin: list[tuple[Any, ...]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Adoption:
    """What adopting would do (``plan``), and the rows that do it. ``suspended``: the gate's reasons, nothing was read.

    ``unread``: why the mapping's group proves nothing in this reading; then nothing is adopted. The rows are valid only
    for the recorded state they were made from.
    """

    rule: Rule
    plan: Plan
    memberships: Swap = field(default_factory=Swap)
    grants: Swap = field(default_factory=Swap)
    links: Swap = field(default_factory=Swap)
    suspended: tuple[str, ...] = ()
    unread: str = ""

    @property
    def digest(self) -> str:
        """What ``adopt --digest`` must recompute."""
        return self.plan.digest

    @property
    def exit_code(self) -> int:
        """0 shown · 3 suspended · 4 the group could not be read."""
        return 3 if self.suspended else 4 if self.unread else 0

    @property
    def lines(self) -> tuple[str, ...]:
        """Plain text: what would be adopted, who is left alone and why, and the exact next command."""
        if self.suspended:
            return (f"SUSPENDED {'; '.join(self.suspended)}. Nothing was read.",)
        out = [line for line in [unknown_line(self.plan.unknown)] if line]
        if self.unread:
            out.append(f"nothing is adopted: group {self.rule.group} proves nothing now ({self.unread})")
        elif self.plan.empty:
            out.append(f"nothing to adopt: nobody in group {self.rule.group} has anything by hand in {self.rule.team}")
        else:
            out.append(f"adoption {short(self.digest)}: {counts_text(self.plan.counts)}; nobody gains or loses access")
            out += people_lines(self.plan, self._guarded, None)
        out += problem_lines(self.plan.problems)
        if not self.plan.empty:
            out.append(f"apply with `rosterd adopt {self.rule.id} --digest {short(self.digest)}`")
        return tuple(out)

    @property
    def _guarded(self) -> Guarded:
        return Guarded(self.plan.policy_hash, self.plan.bundles, ())

    def to_json(self) -> dict[str, Any]:
        """As a plan, with the mapping."""
        rest = {"mapping": self.rule.id, "exit_code": self.exit_code, "suspended": list(self.suspended)}
        return {**planned_json(self.plan, self._guarded, (), Outlook()), **rest, "unread": self.unread}


def suspended(rule: Rule, policy: Policy, reasons: Iterable[str]) -> Adoption:
    """Nothing was read, because no domain is open (G5)."""
    return Adoption(rule, Plan(policy.hash, ()), suspended=tuple(reasons))


def adopt(rule: Rule, ground: Ground) -> Adoption:
    """The adoption of mapping ``rule``. People who hold something by hand and are not in the group are named, never
    touched; so is everybody whose presence is not proved (D3, D9, D11)."""
    work = _Work(rule, ground)
    return work.adoption(decide(ground, work.differ).plan)


class _Work:
    """One adoption; lives for one call of ``adopt``."""

    def __init__(self, rule: Rule, ground: Ground) -> None:
        self.rule = rule
        self.policy = ground.policy
        self.recorded = ground.recorded
        team = ground.recorded.teams.get(rule.team_key)
        self.team = team.id if team else ""
        self.source = ground.sources.get(rule.directory) or SourceSeen(rule.directory, False)
        self.memberships, self.grants, self.links = Swap(), Swap(), Swap()
        self.unread = ""
        self.left: dict[tuple[str, str], list[str]] = {}
        self._whole: set[str] = set()
        self._outside_of: set[str] = set()
        self._problems: Iterable[Problem] = ()

    def differ(self, wanted: Desired, ground: Ground) -> Draft:
        """desired × recorded → the swaps of who is in the group, in place of ``diff``."""
        scopes = tuple(line for line in self.source.scopes if line.source_id == self.rule.directory)
        if self.rule.id in wanted.frozen_rules:
            self.unread = wanted.frozen_rules[self.rule.id]
            scopes = tuple(line for line in scopes if line.scope == f"group:{self.rule.group}" or not line.complete)
            return Draft(Plan(ground.policy.hash, (), scopes=scopes), Allocation())
        holders = self._holders()
        bundles: list[Bundle] = []
        inside: set[str] = set()
        for item in wanted.present:
            identity = item.identity
            if identity is None or identity.id not in holders or self.rule not in item.rules:
                continue
            inside.add(identity.id)
            changes = self._one(item)
            if changes:
                bundles.append(Bundle(identity.mail_key, identity.id, sort_changes(changes), item.person))
        self._whole = {bundle.identity for bundle in bundles}
        self._outside_of, self._problems = holders - inside, wanted.problems
        ordered = tuple(sorted(bundles, key=lambda bundle: bundle.subject))
        return Draft(Plan(ground.policy.hash, ordered, scopes=scopes), Allocation(bundles=len(ordered)))

    def adoption(self, plan: Plan) -> Adoption:
        """The adoption of who is left of ``plan`` without protected people, with everything that is to be said."""
        if self.unread:
            return Adoption(self.rule, plan, unread=self.unread)
        spared = self._whole - {bundle.identity for bundle in plan.bundles}
        notes = [*plan.problems, *self._outside(self._outside_of, self._problems)]
        notes += [Problem(code, text, tuple(sorted(who))) for (code, text), who in self.left.items()]
        plan = Plan(plan.policy_hash, plan.bundles, tuple(sorted(set(notes))), plan.scopes)
        return self._without(spared, plan)

    def _holders(self) -> set[str]:
        """Who has something by hand that the mapping gives: a membership of its Team, a grant of its offerings."""
        rows = self.recorded.memberships.items()
        found = {
            who for who, mine in rows if any(row.team_id == self.team and row.provenance == MANUAL for row in mine)
        }
        found |= {who for who in self.recorded.seats if any(True for _ in self._by_hand(who))}
        return {who for who in found if who in self.recorded.identities}

    def _by_hand(self, identity: str) -> Iterable[tuple[SeatRow, GrantRow | None]]:
        """Seats of the mapping's Team and offerings with their manual grant; None: no reason was ever recorded."""
        for seat in self.recorded.seats.get(identity, ()):
            if seat.offering_code not in self.rule.offerings:
                continue
            grants = self.recorded.grants.get(seat.id, [])
            if not grants and seat.team_id == self.team:
                yield seat, None
            for grant in grants:
                if grant.provenance == MANUAL and grant.team_id == self.team:
                    yield seat, grant

    def _one(self, item: Present) -> list[Change]:
        """One person's changes and rows; nothing where presence is not proved or a relink has to come first."""
        identity, person = item.identity, item.person
        assert identity is not None  # noqa: S101  # the caller looked
        subject = identity.mail_key
        if identity.state != _ACTIVE or not person.enabled:
            self._leave("leaving", "disabled or leaving: nothing is adopted, decide by hand", subject)
            return []
        if item.replaces:
            self._leave("relink-first", "their entry is a new one: a run relinks them first (rosterd plan)", subject)
            return []
        rows = [row for row in self.recorded.memberships.get(identity.id, ()) if row.team_id == self.team]
        manual = [row for row in rows if row.provenance == MANUAL]
        covered = any(row.provenance == self.rule.provenance for row in rows)
        if not manual and not covered:
            self._leave(
                "no-membership", f"hold a seat by hand and are not in Team {self.rule.team}: left alone", subject
            )
            return []
        cause = self._cause(item)
        changes = [self._change(subject, self.rule.team, cause, row.row_id) for row in manual]
        self.memberships.end += [row.row_id for row in manual]
        if not covered:
            row = (identity.id, self.team, self.rule.provenance, person.source_id, cause)
            self.memberships.begin.append(row)
        for seat, grant in self._by_hand(identity.id):
            changes.append(self._seat(subject, seat, grant, cause))
        if item.link is None:
            changes.append(
                Change(Kind.RELINK_ANCHOR, subject, person.employee_number, "unlinked", "relinked", "", Harm.RELINK,
                       "same mail address")
            )  # fmt: skip
            # Without a fingerprint the next run compares every field (D14).
            self.links.begin.append((identity.id, person.source_id, person.anchor, ""))
        return changes

    def _seat(self, subject: str, seat: SeatRow, grant: GrantRow | None, cause: str) -> Change:
        if grant is not None:
            self.grants.end.append(grant.row_id)
        held = self.recorded.grants.get(seat.id, [])
        if not any(row.provenance == self.rule.provenance and row.team_id == self.team for row in held):
            self.grants.begin.append((seat.id, seat.identity_id, self.team, self.rule.provenance, cause))
        name = f"{seat.offering_code} @ {self.rule.team}"
        return self._change(subject, name, cause, grant.row_id if grant else "", seat.offering_code)

    def _change(self, subject: str, name: str, cause: str, ref: str, offering: str = "") -> Change:
        return Change(Kind.ADOPT_GRANT, subject, name, MANUAL, self.rule.provenance, self.rule.id, Harm.NONE, cause,
                      self.team, offering, ref)  # fmt: skip

    def _cause(self, item: Present) -> str:
        """The chain entry → group path → mapping, as on what a run grants (P6)."""
        group = self.source.groups[self.rule.group]
        name = group.name or self.rule.group
        path = group.paths.get(item.person.anchor)
        return f"{item.person.dn} → {' / '.join((name, *path)) if path else name} → mapping {self.rule.id}"

    def _leave(self, code: str, text: str, subject: str) -> None:
        self.left.setdefault((code, text), []).append(subject)

    def _outside(self, who: set[str], problems: Iterable[Problem]) -> list[Problem]:
        """Who holds something by hand and was not found in the group, with whatever the reading says about them."""
        mails = {self.recorded.identities[identity].mail_key for identity in who}
        entries = {person.dn: person.mail.key for person in self.source.people.values() if person.mail.key in mails}
        about = mails | entries.keys()
        found = [problem for problem in problems if about & set(problem.subjects)]
        named = {entries.get(subject, subject) for problem in found for subject in problem.subjects}
        rest = tuple(sorted(mails - named))
        if rest:
            text = (f"hold something by hand in Team {self.rule.team} and are not in group {self.rule.group}:"
                    " never touched, decide by hand")  # fmt: skip
            found.append(Problem("not-in-group", text, rest))
        group = self.source.groups[self.rule.group]
        if rest and group.unresolved:
            number = counted(len(group.unresolved), "member value")
            text = f"{number} of group {self.rule.group} naming nobody that was read"
            found.append(Problem("unresolved", text, tuple(sorted(group.unresolved)[:20])))
        return found

    def _without(self, spared: set[str], plan: Plan) -> Adoption:
        """The rows of everybody who is not protected (G4)."""
        kept = {change.ref for bundle in plan.bundles for change in bundle.changes if change.ref}
        ends = [Swap([row for row in swap.end if row in kept]) for swap in (self.memberships, self.grants)]
        ends[0].begin = [row for row in self.memberships.begin if row[0] not in spared]
        ends[1].begin = [row for row in self.grants.begin if row[1] not in spared]
        links = Swap(begin=[row for row in self.links.begin if row[0] not in spared])
        return Adoption(self.rule, plan, ends[0], ends[1], links)
