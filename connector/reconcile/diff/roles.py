"""Admin roles that mappings grant and take back (R6, G4, P3). Pure: no I/O, no clock here.

A role lasts as long as one of its person's mappings grants it. Only what a mapping granted is ever ended; an admin
stays protected while the plan leaves them a role, and no plan ends the last active Primary Admin of a Team.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from connector.reconcile.desired.ground import Ground
from connector.reconcile.evidence.judge import Evidence, following, removal
from connector.reconcile.plan.changes import Change, Harm, Kind, Plan
from connector.reconcile.plan.recorded import IdentityRow, MembershipRow, Recorded, RoleRow
from connector.reconcile.policy.policy import MAPPING, Policy, Rule
from ledger.identity import Email, IdentityState, fold
from ledger.team import Role

EVERYWHERE = "organization"
"""What a role without a Team is about."""
_NO_MAPPING = "no mapping grants the role any longer"


class Roles:
    """The roles of one ``diff``. ``team_ids``: mapping id → Team id."""

    def __init__(self, ground: Ground, team_ids: Mapping[str, str]) -> None:
        self.recorded = recorded = ground.recorded
        self.policy = policy = ground.policy
        self.team_ids = team_ids
        self.names = recorded.team_names()
        self._named = _named_in_file(recorded, policy)
        self._any = bool(recorded.roles) or any(rule.role for rule in policy.rules.values())

    def settled(self, identity: str, rules: Sequence[Rule]) -> bool:
        """Whether the person holds exactly the roles these mappings grant, beside what others granted."""
        if not self._any:
            return True
        held = self.recorded.roles.get(identity, ())
        keys = {self._key(rule) for rule in rules if rule.role}
        mine = {(row.role, row.team_id) for row in held if row.provenance.startswith(MAPPING)}
        return mine <= keys <= {(row.role, row.team_id) for row in held}

    def changes(
        self,
        subject: str,
        identity: IdentityRow | None,
        rules: Sequence[Rule],
        stays: Sequence[MembershipRow],
        ends: Mapping[str, Evidence],
        cause: Callable[[Rule], str],
    ) -> list[Change]:
        """What somebody who is here is granted and loses. ``rules``: the mappings that hold now; ``stays``:
        memberships that do not end in this plan, so that whoever waits for a second reading keeps the role; ``ends``:
        provenance → why, of those that do.
        """
        if not self._any:
            return []
        rows = self.recorded.roles.get(identity.id, ()) if identity else ()
        by_preference = sorted(rules, key=lambda rule: (rule.priority, rule.id), reverse=True)  # not the file's order
        wanted = {self._key(rule): rule for rule in by_preference if rule.role}
        kept = self._named.get(subject, set()) | {
            self._key(rule) for rule in map(self._granting, stays) if rule is not None
        }
        held = {(row.role, row.team_id) for row in rows}
        found = [self._grant(subject, rule, cause(rule)) for key, rule in wanted.items() if key not in held]
        for row in rows:
            if row.provenance.startswith(MAPPING) and (row.role, row.team_id) not in wanted.keys() | kept:
                found.append(self._end(subject, row, following(ends.get(row.provenance), _NO_MAPPING)))
        return found

    def off(self, identity: IdentityRow, evidence: Evidence) -> list[Change]:
        """A leaver loses every role that a mapping granted at once: it is access (D7, G7)."""
        rows = self.recorded.roles.get(identity.id, ())
        named = self._named.get(identity.mail_key, set())
        return [
            self._end(identity.mail_key, row, evidence)
            for row in rows
            if row.provenance.startswith(MAPPING) and (row.role, row.team_id) not in named
        ]

    def _granting(self, row: MembershipRow) -> Rule | None:
        rule = self.policy.rule_of(row.provenance)
        return rule if rule is not None and rule.role and self.team_ids[rule.id] == row.team_id else None

    def _key(self, rule: Rule) -> tuple[str, str]:
        return rule.role, "" if rule.role == Role.SSO_ADMIN else self.team_ids[rule.id]

    def _grant(self, subject: str, rule: Rule, cause: str) -> Change:
        role, team = self._key(rule)
        about = EVERYWHERE if role == Role.SSO_ADMIN else rule.team
        return Change(Kind.GRANT_ROLE, subject, about, "", role, rule.id, cause=cause, team=team)

    def _end(self, subject: str, row: RoleRow, evidence: Evidence) -> Change:
        about = self.names.get(row.team_id, row.team_id) if row.team_id else EVERYWHERE
        mapping = row.provenance.removeprefix(MAPPING)
        return removal(evidence, Kind.END_ROLE, subject, Harm.LEAVE, object=about, before=row.role, mapping=mapping,
                       team=row.team_id, ref=row.row_id)  # fmt: skip


def _named_in_file(recorded: Recorded, policy: Policy) -> dict[str, set[tuple[str, str]]]:
    """Mail key → (role, Team id) that ``[[teams]]`` names: the file's word, whoever granted it first."""
    found: dict[str, set[tuple[str, str]]] = {}
    for team in policy.teams:
        row = recorded.teams.get(fold(team.name))
        named = [(team.primary_admin, Role.PRIMARY_ADMIN)] if team.primary_admin else []
        for mail, role in [*named, *((mail, Role.SECONDARY_ADMIN) for mail in team.secondary_admins)]:
            if row is not None:
                found.setdefault(Email.parse(mail).key, set()).add((role.value, row.id))
    return found


def protected_admins(plan: Plan, recorded: Recorded) -> set[str]:
    """Identities that hold a role which the plan leaves them (G4): nothing else may be taken from them either."""
    ends = _ends(plan)
    return {
        identity
        for identity in recorded.admins
        if identity not in ends or {row.row_id for row in recorded.roles.get(identity, ())} - ends[identity]
    }


def last_owners(plan: Plan, recorded: Recorded) -> set[str]:
    """Identities whose role as Primary Admin would end and leave a Team without any active one (G4).

    When several would end at once, all of them stay: which one is the last is not for a plan to choose.
    """
    ends = _ends(plan)
    leaving: dict[str, set[str]] = {}
    for identity, row_ids in ends.items():
        for row in recorded.roles.get(identity, ()):
            if row.row_id in row_ids and row.role == Role.PRIMARY_ADMIN:
                leaving.setdefault(row.team_id, set()).add(identity)
    found: set[str] = set()
    for team, people in leaving.items():
        if not _active(recorded, recorded.primary_admins.get(team, frozenset()) - people):
            found |= people
    return found


def _ends(plan: Plan) -> dict[str, set[str]]:
    """Identity → row ids of the roles that the plan ends."""
    found: dict[str, set[str]] = {}
    for bundle in plan.bundles:
        for change in bundle.changes:
            if change.kind is Kind.END_ROLE:
                found.setdefault(bundle.identity, set()).add(change.ref)
    return found


def _active(recorded: Recorded, people: Collection[str]) -> bool:
    rows = (recorded.identities.get(identity) for identity in people)
    return any(row is not None and row.state == IdentityState.ACTIVE for row in rows)
