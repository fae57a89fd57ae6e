"""A whole run at size: plan and first apply of N people, then a run that changes nothing, then one with 1 % churn.

    python -m benchmarks.full_run [--people 100000] [--groups 1000] [--per-person 3] [--postgres URL]
    python -m benchmarks.full_run --ldap            the whole run from a real slapd, beside ldapsearch
    python -m benchmarks.full_run --grow            1,000, 10,000 and 100,000 people, each in a fresh process

Without ``--ldap`` entries are made in memory (reading alone is timed by ``ldap_read.py``); mapping, planning, guarding
and committing are the product's own code on a real database. The gate is held open: signing on is not measured.
Aims (directory-sync.md): planning ≤ 1.5 s, first apply ≤ 8 s, peak memory < 500 MB beside the entries themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sqlite3
import tempfile
import time
import uuid
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import full_run_ldap
from connector.directory.base import Listing
from connector.directory.mapping import Person
from connector.reconcile.apply.commit import commit
from connector.reconcile.desired.ground import Ground
from connector.reconcile.desired.seen import Domains, GroupSeen, SourceSeen
from connector.reconcile.guard.guard import guard
from connector.reconcile.guard.limits import Permit, Windows
from connector.reconcile.pipeline import decide
from connector.reconcile.plan.order import Order
from connector.reconcile.plan.settings import MappingSettings, TeamSettings
from connector.reconcile.policy.policy import Policy
from connector.reconcile.reading.memory import Memory, Observed
from connector.reconcile.state import gate
from connector.reconcile.state.load import load
from connector.reconcile.state.teams import ensure_organization
from ledger.identity import Email, fold
from ledger.jobs import Unleased
from ledger.seat import Offering, OfferingKind, Subscription, Tier
from ledger.store import people, seats
from ledger.store.engine import Ledger
from ledger.team import Organization

Row = tuple[str, float, float, str]
"""(what, wall seconds, processor seconds of this process, note)."""

OPEN = Domains(frozenset({"acme.example"}))
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ACME = Organization("acme", "Acme")


def entries(count: int) -> dict[str, Person]:
    """``count`` mapped people."""
    found = {}
    for number in range(count):
        anchor = str(uuid.UUID(int=number))
        found[anchor] = Person(
            anchor, "corp", Email.parse(f"person.{number}@acme.example"), f"Given{number}", f"Family{number}",
            f"Given{number} Family{number}", True, f"{number:07}", {"department": f"d{number % 50}", "country": "PL"},
            f"{number:032x}", f"uid=p{number},ou=People,dc=acme,dc=example",
        )  # fmt: skip
    return found


def seen(everybody: dict[str, Person], groups: int, per_person: int) -> SourceSeen:
    """Every person in ``per_person`` of ``groups`` groups."""
    members: list[set[str]] = [set() for _ in range(groups)]
    for number, anchor in enumerate(everybody):
        for step in range(per_person):
            members[(number + step * 331) % groups].add(anchor)
    views = {}
    for n in range(groups):
        place = f"cn=g{n},ou=Groups,dc=acme,dc=example"
        inside = frozenset(members[n])
        listings = (Listing(f"anchor-g{n}", place, inside),)
        views[f"g{n}"] = GroupSeen(f"g{n}", True, f"g{n}", members=inside, anchor=f"anchor-g{n}", dn=place,
                                   listings=listings)  # fmt: skip
    return SourceSeen("corp", True, everybody, {}, views)


def make_policy(groups: int) -> Policy:
    """One Team for ten groups; the first third of the groups gives a seat."""
    teams = [TeamSettings(name=f"Team {number}") for number in range(max(1, groups // 10))]
    mappings = [
        MappingSettings(id=f"g{n}", directory="corp", group=f"g{n}", team=teams[n % len(teams)].name,
                        offerings=("CAD",) if n < groups // 3 else ())
        for n in range(groups)
    ]  # fmt: skip
    return Policy.build(teams=teams, mappings=mappings)


async def stock(ledger: Ledger, policy: Policy, count: int) -> None:
    """Teams, one offering, and seats for most people."""
    await ensure_organization(ledger, ACME, policy.teams, now=START)
    async with ledger.write("acme", Unleased.BY_HAND, at=START) as book:
        await seats.put_offering(book, Offering("CAD", "CAD", OfferingKind.SINGLE_USER, True))
        each = max(1, count // len(policy.teams))
        for team_id, _, key in await people.open_teams(book):
            item = Subscription(
                f"s-{fold(key)}", team_id, "CAD", each, Tier.BUSINESS, date(2026, 1, 1), date(2027, 1, 1)
            )
            await seats.put_subscription(book, item)


async def measure(url: str, count: int, groups: int, per_person: int) -> list[Row]:
    """Every step's figures."""

    async def opened(*_args: Any) -> Domains:
        return OPEN

    async def enabled(*_args: Any) -> bool:
        return False

    gate.look = opened  # type: ignore[assignment]
    gate.require_enabled = enabled  # type: ignore[assignment]
    ledger = Ledger.open(url)
    await ledger.migrate()
    policy = make_policy(groups)
    await stock(ledger, policy, count)
    everybody = entries(count)
    before = peak()
    rows: list[Row] = []
    source = seen(everybody, groups, per_person)

    def note(what: str, began: tuple[float, float], text: str = "") -> tuple[float, float]:
        ended = (time.perf_counter(), time.process_time())
        rows.append((what, ended[0] - began[0], ended[1] - began[1], text))
        return ended

    async def plan(name: str, now: datetime) -> str:
        began = (time.perf_counter(), time.process_time())
        async with ledger.read("acme") as reader:
            recorded = await load(reader)
        began = note(f"{name}: load the ledger", began)
        draft = decide(ground := Ground({"corp": source}, recorded, policy, OPEN, now))
        guard(draft, ground, Windows(), Permit(everything=True))
        digest = draft.plan.digest
        note(f"{name}: decide, guard, digest", began, f"{sum(draft.plan.counts.values())} changes")
        return digest

    async def apply(name: str, now: datetime, digest: str) -> None:
        began = (time.perf_counter(), time.process_time())
        observed = Observed({"corp": source}, memory=Memory(ledger, "acme", {}))
        outcome = await commit(ledger, "acme", policy, observed, Order("apply", "bench", now, Unleased.BY_HAND, digest))
        note(f"{name}: apply, whole transaction", began, outcome.state.value)

    await apply("first run", START, await plan("first run", START))
    later = START + timedelta(days=2)
    await apply("no change", later, await plan("no change", later))
    anchors = list(everybody)
    for anchor in anchors[: count // 100]:
        person = everybody[anchor]
        everybody[anchor] = Person(
            person.anchor, person.source_id, person.mail, person.given_name, "Changed", person.display_name, True,
            person.employee_number, person.attributes, person.fingerprint[:-1] + "x", person.dn,
        )  # fmt: skip
    for anchor in anchors[count // 100 : count // 50]:
        person = everybody[anchor]
        everybody[anchor] = Person(
            person.anchor, person.source_id, person.mail, person.given_name, person.family_name, person.display_name,
            False, person.employee_number, person.attributes, person.fingerprint, person.dn,
        )  # fmt: skip
    later += timedelta(days=1)
    await apply("2 % churn", later, await plan("2 % churn", later))
    rows += edge_share(url)
    rows.append(("peak memory above the entries, MB", peak() - before, 0.0, f"{before:.0f} MB with the entries"))
    await ledger.close()
    return rows


def edge_share(url: str) -> list[Row]:
    """How large the ledger is, and what of it says by which names groups list people (SQLite only)."""
    if not url.startswith("sqlite:///"):
        return []
    file = max(Path(url.removeprefix("sqlite:///")).rglob("*.db"), key=lambda path: path.stat().st_size)
    with closing(sqlite3.connect(file)) as connection:
        asked = "SELECT name LIKE '%edge%', SUM(pgsize) / 1e6 FROM dbstat GROUP BY 1"
        sizes = dict(connection.execute(asked).fetchall())
    edges, rest = sizes.get(1, 0.0), sizes[0]
    return [("ledger without edges, MB", rest, 0.0, f"edges {edges:.1f} MB, {edges / rest:.0%} of it")]


def peak() -> float:
    """Peak resident memory of this process so far, MB; not what it was forked from, as ``ru_maxrss`` would have it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--per-person", type=int, default=3)
    parser.add_argument(
        "--postgres", default="", help="postgresql://… of an empty database; default: SQLite in a folder"
    )
    parser.add_argument("--ldap", action="store_true", help="read from a real slapd and print ratios to ldapsearch")
    parser.add_argument("--grow", action="store_true", help="several sizes, each in a fresh process")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.people, chosen.groups = 5_000, 50
    if chosen.ldap or chosen.grow:
        full_run_ldap.main([1_000, 10_000, 100_000] if chosen.grow else [chosen.people], chosen.postgres)
        return
    with tempfile.TemporaryDirectory() as folder:
        url = chosen.postgres or f"sqlite:///{folder}"
        rows = asyncio.run(measure(url, chosen.people, chosen.groups, chosen.per_person))
    print(f"{chosen.people} people, {chosen.people * chosen.per_person} memberships, {url.partition(':')[0]}")
    print(f"  {'':<36} {'wall s':>8} {'cpu s':>8}")
    for name, wall, cpu, note in rows:
        print(f"  {name:<36} {wall:8.2f} {cpu:8.2f}  {note}")


if __name__ == "__main__":
    main()
