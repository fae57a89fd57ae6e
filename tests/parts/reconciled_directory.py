"""A company whose directory was applied once behind a really opened gate: the ground that directory faults happen on.

Everybody is a member of a Team and holds or waits for seats. Tests then break the directory, run twice more than
``confirm_after`` apart, and compare ``Holdings``. Limits and delays are the defaults of the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from connector.directory.mapping import AttributeRules
from connector.directory.settings import LdapSettings, LdifSettings
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.plan.settings import MappingSettings, TeamSettings
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.whole import Progress
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from connector.reconcile.state.teams import ensure_organization
from connector.sso import steps
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from ledger.secret import SecretRef
from ledger.store import kept_groups, people, seats
from ledger.store.engine import Ledger
from rosterd.demo import company
from tests.parts.directories import ORGANIZATION, sell
from tests.parts.fences import ALONE
from tests.parts.idp import Key
from tests.parts.slapd import Slapd
from tests.parts.sso_organization import SsoOrganization

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FAULT_AT = NOW + timedelta(hours=1)
AGAIN_AT = FAULT_AT + timedelta(minutes=20)
"""A second reading, later than ``confirm_after``."""

COMPANY = company.found(300)
GROUPS = ("design", "engineering", "site", "visual")
PEOPLE_SCOPE = f"people:{company.PEOPLE_BASE}"
SENTINEL = next(iter(COMPANY.people.values())).dn
PASSWORD = "FAULTS_LDAP_PASSWORD"
"""Environment variable that holds the reading account's password."""
PAGE = 50
"""Entries per page: the company is six pages."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What everybody has, by natural names: (mail, state), (mail, Team), (mail, offering, Team, seat state), and
    (mail, anchor of a kept group)."""

    people: tuple[tuple[str, str], ...]
    members: tuple[tuple[str, str], ...]
    seats: tuple[tuple[str, str, str, str], ...]
    groups: tuple[tuple[str, str], ...]

    @property
    def counts(self) -> tuple[int, int, int]:
        """(active people, memberships, seats in use)."""
        active = sum(state == "active" for _, state in self.people)
        return active, len(self.members), sum(row[3] in {"invited", "active"} for row in self.seats)


@dataclass
class Reconciled:
    """An organization after its first applied run; ``settings`` say what the next runs read."""

    ledger: Ledger
    folder: Path
    settings: LdapSettings | LdifSettings | None = None
    groups: Mapping[str, str] | None = None

    def reads(self, settings: LdapSettings | LdifSettings, groups: Mapping[str, str] | None = None) -> None:
        """Point the organization at another directory; ``groups``: mapping id → group reference, for some."""
        self.settings, self.groups = settings, groups

    async def run(self, now: datetime, *, digest: str = "", progress: Progress | None = None) -> RunOutcome:
        """One whole run: reading → plan → apply, as the schedule does it (or with a digest somebody saw)."""
        async with self._setup() as setup:
            choice: dict[str, Any] = {"digest": digest} if digest else {"auto": True}
            return await run.apply(self.ledger, setup, fence=ALONE, now=now, actor="test", progress=progress, **choice)

    async def twice(self, first: datetime = FAULT_AT, second: datetime = AGAIN_AT) -> list[RunOutcome]:
        """Two runs, far enough apart that the second could confirm what the first did not see (D3)."""
        return [await self.run(first), await self.run(second)]

    async def plan_digest(self, now: datetime) -> str:
        """The digest of what a run would do."""
        async with self._setup() as setup:
            return (await run.plan(self.ledger, setup, now=now)).digest

    async def holdings(self) -> Holdings:
        """What everybody has now."""
        async with self.ledger.read(ORGANIZATION.id) as reader:
            found = await people.open_identities(reader)
            mails = {row[1]: row[3] for row in found}
            teams = {row[0]: row[1] for row in await people.open_teams(reader)}
            members = [(mails[row[1]], teams[row[2]]) for row in await people.open_memberships(reader)]
            held = [(mails[row[5]], row[4], teams[row[3]], row[6]) for row in await seats.open_seats(reader)]
            anchors = {row[1]: row[3] for row in await kept_groups.open_groups(reader)}
            inside = [(mails[row[1]], anchors[row[2]]) for row in await kept_groups.members(reader, None)]
        states = tuple(sorted((row[3], row[7]) for row in found))
        return Holdings(states, tuple(sorted(members)), tuple(sorted(held)), tuple(sorted(inside)))

    async def group_names(self) -> dict[str, str]:
        """Anchor → name of every kept group, as the ledger has it now."""
        async with self.ledger.read(ORGANIZATION.id) as reader:
            return {row[3]: row[5] for row in await kept_groups.open_groups(reader)}

    @asynccontextmanager
    async def _setup(self) -> AsyncIterator[Setup]:
        assert self.settings is not None
        source = open_source(self.settings, folder=self.folder)
        try:
            rules = AttributeRules.from_settings(self.settings)
            yield Setup(ORGANIZATION, policy(self.groups or {}), (ConfiguredSource(source, rules),))
        finally:
            await source.close()


def policy(groups: Mapping[str, str]) -> Policy:
    """One Team and one mapping per department, with the limits and delays of the product; two groups are kept."""
    mappings = [
        MappingSettings(
            id=name, directory="corp", group=groups.get(name, company.group_dn(name)), team=name.title(),
            offerings=("CAD", "RENDER") if name == "design" else ("CAD",), priority=10 * position,
            keep_group=name in {"design", "engineering"},
        )
        for position, name in enumerate(GROUPS, start=1)
    ]  # fmt: skip
    return Policy.build(teams=[TeamSettings(name=name.title()) for name in GROUPS], mappings=mappings)


def ldap_settings(*urls: str, **values: Any) -> LdapSettings:
    """A server (or several, or a proxy) with the company's bases; one attempt, small pages, no waiting."""
    settings: dict[str, Any] = {
        "id": "corp", "servers": urls, "plaintext": True, "bind_dn": f"cn=root,{company.SUFFIX}",
        "bind_password": f"env:{PASSWORD}", "people_base": company.PEOPLE_BASE, "groups_base": company.GROUPS_BASE,
        "page_size": PAGE, "attempts": 1, "retry_wait": "0", "page_timeout": "10s",
        "attributes": {"mail": ["mail"], "department": ["departmentNumber"]},
        "disabled": {"attribute": "employeeType", "values": ["disabled"]},
    }  # fmt: skip
    return LdapSettings.model_validate({**settings, **values})


def limited_settings(server: Slapd, **values: Any) -> LdapSettings:
    """The server read by nobody in particular, so that its limits and access rules count."""
    return ldap_settings(server.url, **{"bind": "anonymous", "bind_dn": "", "bind_password": None, **values})


def ldif_settings(**values: Any) -> LdifSettings:
    """The company's export ``people.ldif`` with the same bases."""
    settings: dict[str, Any] = {
        "id": "corp", "file": "people.ldif", "people_base": company.PEOPLE_BASE, "groups_base": company.GROUPS_BASE,
        "require_count": True, "attributes": {"mail": ["mail"], "department": ["departmentNumber"]},
        "disabled": {"attribute": "employeeType", "values": ["disabled"]},
    }  # fmt: skip
    return LdifSettings.model_validate({**settings, **values})


async def found(ledger: Ledger, folder: Path) -> Reconciled:
    """From an empty ledger to a company that holds everything: single sign-on tested and on, one plan applied."""
    await ensure_organization(ledger, ORGANIZATION, policy({}).teams, now=NOW)
    await _sign_on(ledger, folder)
    for team, offering, quantity in (
        *(("Design", "CAD", 95), ("Design", "RENDER", 60), ("Engineering", "CAD", 115)),
        *(("Site", "CAD", 80), ("Visual", "CAD", 40)),
    ):
        await sell(ledger, NOW, team, offering, quantity, starts_on=date(2026, 1, 1))
    (folder / "people.ldif").write_text(COMPANY.to_ldif(), encoding="utf-8")
    reconciled = Reconciled(ledger, folder, ldif_settings())
    outcome = await reconciled.run(NOW, digest=await reconciled.plan_digest(NOW))
    assert outcome.state is RunState.APPLIED, outcome.lines
    holdings = await reconciled.holdings()
    assert holdings.counts == (300, 300, 360)
    assert len({anchor for _, anchor in holdings.groups}) == 2
    return reconciled


async def _sign_on(ledger: Ledger, folder: Path) -> None:
    """Domain proved, identity provider connected, a signed test response judged, on, sync enabled (R5)."""
    key, certificate = folder / "saml-key.pem", folder / "saml-certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    settings = SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )
    provider = ServiceProvider("https://rosterd.example", settings, workers=1)
    try:
        await SsoOrganization(ledger, provider, Key.make(NOW)).turned_on(NOW)
    finally:
        await provider.close()
    await steps.enable_sync(ledger, ORGANIZATION.id, actor="ada", now=NOW)


def unknown(outcome: RunOutcome) -> dict[str, str]:
    """Scope → why it proves nothing, of one run."""
    return {line.scope: line.reason for line in outcome.scopes if not line.complete}


def problems(outcome: RunOutcome) -> Counter[str]:
    """How many people (or mappings) each kind of problem names."""
    found: Counter[str] = Counter()
    for item in outcome.problems:
        found[item.code] += len(item.subjects)
    return found


def nothing_happened(outcomes: Sequence[RunOutcome]) -> bool:
    """Whether no run applied anything or held anything, and each said with 4 that it did not see all."""
    return all((item.exit_code, dict(item.counts), item.held) == (4, {}, "") for item in outcomes)
