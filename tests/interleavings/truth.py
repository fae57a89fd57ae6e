"""What must hold of a book after each commit and at the end, read past the product with plain SQL.

Who may lose what is the script's word (``Company.off``, ``Company.left``), never the evidence code's.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from typing import Any

import psycopg

from ledger.store.tables import people, seats
from tests.interleavings.company import Company
from tests.interleavings.script import SEATS
from tests.interleavings.simulator import acting

_BY_JOBS = ("service:schedule", "token:ada")
"""Who acts for jobs."""
_WRITES = ("apply", "approve", "adopt", "undo")
_INTERVALS = [
    (
        table.name,
        [column.name for column in next(i for i in table.indexes if i.name == f"uq_{table.name}_open").columns],
    )
    for table in (people.identity, people.identity_link, people.team_membership, seats.seat, seats.seat_grant)
]
_FOREVER = 2**63 - 1
_BACKWARD = """
    SELECT 'backward', '{name}' FROM (SELECT valid_from AS b, e, LAG(e) OVER (PARTITION BY {key} ORDER BY valid_from, e)
    AS r FROM (SELECT *, COALESCE(valid_to, {forever}) AS e FROM {name}) s) t WHERE e < b OR r > b"""
_NOW = """
    SELECT 'off', mail_key FROM identity WHERE valid_to IS NULL AND state <> 'active'
    UNION ALL SELECT 'twice', mail_key FROM identity WHERE valid_to IS NULL AND state <> 'removed'
        GROUP BY mail_key HAVING COUNT(*) > 1
    UNION ALL SELECT 'seat', identity_id FROM seat WHERE valid_to IS NULL
    UNION ALL SELECT 'run', id || ' ' || kind || ' ' || state FROM run
    UNION ALL SELECT 'silent', kind FROM job WHERE CAST(outcome AS TEXT) LIKE '%went silent%'
    UNION ALL SELECT 'sign-on', kind FROM sso_evidence WHERE seq = (SELECT MAX(seq) FROM sso_evidence
        WHERE kind IN ('connection.on', 'connection.off'))
    UNION ALL SELECT 'member', i.mail_key FROM team_membership m
        JOIN identity i ON i.id = m.identity_id AND i.valid_to IS NULL
        JOIN team t ON t.id = m.team_id AND t.valid_to IS NULL WHERE m.valid_to IS NULL AND t.name_key = 'design'"""
_EVERYTHING = " UNION ALL ".join(
    (_NOW, *(_BACKWARD.format(name=name, key=", ".join(key), forever=_FOREVER) for name, key in _INTERVALS))
)
"""What ``look`` needs, as (what, of whom or of what), in one statement: it is asked after every commit."""


def _name(mail: str) -> str:
    return mail.partition("@")[0]


class Eye:
    """Plain SQL on the schedule's ledger; each statement sees what is committed."""

    def __init__(self, url: str) -> None:
        self._connection: Any
        if url.startswith("sqlite:///"):
            path = url.removeprefix("sqlite:///")
            self._connection = sqlite3.connect(f"file:{path}/ledger.db?mode=ro", uri=True, isolation_level=None)
        else:
            self._connection = psycopg.connect(url, autocommit=True, options="-csearch_path=ledger")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Every row."""
        return list(self._connection.execute(query).fetchall())

    def close(self) -> None:
        """Let go of the ledger."""
        self._connection.close()


class Truth:
    """Looks after each commit (``look``) and at the end (``judge``). ``everybody_lives``: no process is killed,
    none is told that it waited too long, and each is told of its commits."""

    def __init__(self, eye: Eye, company: Company, *, everybody_lives: bool = False) -> None:
        self._eye = eye
        self._company = company
        self._newest = 0
        self._known = {row[0] for row in eye.rows("SELECT id FROM run")}
        self._members = {_name(who) for what, who in eye.rows(_EVERYTHING) if what == "member"}
        self._everybody_lives = everybody_lives

    def look(self) -> None:
        """History runs forward, nobody lost anything they need not, nothing was written while the gate was shut, and no
        run by an older reading is behind a newer one."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for what, who in self._eye.rows(_EVERYTHING):
            found[what].append(who)
        assert not found["backward"], f"rows of {found['backward'][0]} run backwards or overlap"
        assert not found["twice"], f"{found['twice'][0]} is two people"
        held = found["seat"]
        assert len(held) <= SEATS, f"{len(held)} seats are given of {SEATS}"
        assert len(held) == len(set(held)), "somebody has two seats"
        lost = set(map(_name, found["off"])) - self._company.off
        assert not lost, f"{sorted(lost)} lost access and were never disabled"
        runs = [run.split() for run in found["run"]]
        new = [run for run in runs if run[0] not in self._known]
        self._known = {run[0] for run in runs}
        members = set(map(_name, found["member"]))
        gone = self._members - members - self._company.off - self._company.left
        assert not gone or any(kind == "undo" for _, kind, _ in new), (
            f"{sorted(gone)} lost their Team and were neither disabled nor taken out of the group"
        )
        self._members = members
        wrote = [run_id for run_id, kind, state in new if kind in _WRITES and state == "applied"]
        assert not wrote or found["sign-on"] == ["connection.on"], "a run was applied while single sign-on was off"
        if self._everybody_lives and not self._company.sim.stood:
            assert not found["silent"], f"the job {found['silent'][0]} was taken from a process that lives"
        number = self._company.readings.get(acting())
        if new and number is not None:
            assert number >= self._newest, (
                f"a run was committed by reading {number}, behind one by reading {self._newest}"
            )
            self._newest = number

    def judge(self) -> list[str]:
        """Every job's outcome is told once and true."""
        wrong = []
        told = self._eye.rows("SELECT id, kind, state, outcome FROM job")
        runs = {row[0]: row[1] for row in self._eye.rows("SELECT id, state FROM run")}
        actors = ", ".join(f"'{name}'" for name in _BY_JOBS)
        asked_for = {row[0] for row in self._eye.rows(f"SELECT id FROM run WHERE actor IN ({actors})")}  # noqa: S608
        named: Counter[str] = Counter()
        for job_id, kind, state, outcome in told:
            found = outcome if isinstance(outcome, dict) else json.loads(outcome or "{}")
            if state not in {"done", "failed"}:
                wrong.append(f"job {kind} {job_id[-4:]} is still {state}")
            error = str(found.get("error", ""))
            if state == "failed" and "taken" in error:
                wrong.append(f"job {kind} was given up because it was overtaken: {error}")
            if "the database refuses" in error:
                wrong.append(f"job {kind}: {error}")
            told_of = found.get("outcome") or found
            run_id = told_of.get("run_id", "")
            if run_id and run_id not in runs:
                wrong.append(f"job {kind} tells of a run that is not there")
            elif run_id and told_of.get("state", runs[run_id]) != runs[run_id]:
                wrong.append(f"job {kind} tells that its run is {told_of['state']}; it is {runs[run_id]}")
            named[run_id] += bool(run_id)
        published = [row[0] for row in self._eye.rows("SELECT number FROM publication ORDER BY number")]
        if published != list(range(1, len(published) + 1)):
            wrong.append(f"publications are numbered {published}")
        wrong += [f"no job tells of run {run_id}" for run_id in sorted(asked_for - named.keys())]
        wrong += [f"two jobs tell of run {run_id}" for run_id, count in named.items() if count > 1]
        return wrong

    def standing(self) -> dict[str, tuple[Any, ...]]:
        """Who is what, and has what: without ids and instants."""
        states = self._eye.rows("SELECT mail_key, state FROM identity WHERE valid_to IS NULL")
        found: dict[str, list[Any]] = {mail: [state] for mail, state in states}
        for mail, team, source in self._eye.rows(
            "SELECT i.mail_key, t.name_key, m.provenance FROM team_membership m"
            " JOIN identity i ON i.id = m.identity_id AND i.valid_to IS NULL"
            " JOIN team t ON t.id = m.team_id AND t.valid_to IS NULL WHERE m.valid_to IS NULL"
        ):
            found[mail].append(("in", team, source))
        for mail, offering in self._eye.rows(
            "SELECT i.mail_key, s.offering_code FROM seat s"
            " JOIN identity i ON i.id = s.identity_id AND i.valid_to IS NULL WHERE s.valid_to IS NULL"
        ):
            found[mail].append(("has", offering))
        return {mail: tuple(sorted(map(str, values))) for mail, values in found.items()}

    def undone(self) -> set[str]:
        """Of whom something was undone: it does not come back by itself."""
        query = "SELECT i.mail_key FROM undone u JOIN identity i ON i.id = u.identity_id AND i.valid_to IS NULL"
        return {row[0] for row in self._eye.rows(query)}
