"""The whole run from a real slapd: reading, mapping, planning and committing, beside ``ldapsearch`` in the same run.

    python -m benchmarks.full_run --ldap [--people 100000]
    python -m benchmarks.full_run --grow

Each run is a fresh process, as a worker is: a first run, then one without change and one after 100 changed people, both
from ledger.jobs import Unleased
from a whole reading and both from what the server says has changed (syncrepl). The floor is ``ldapsearch`` of people
and groups paged by 1,000. Aims (directory-sync.md): first ≤ 12 × the floor, no change ≤ 4 ×, 100 changes followed in
less than a second, peak memory < 500 MB.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import ldap_read
from tests.parts import company, slapd

TURNS = ("first", "no change, read whole", "100 changes, read whole", "no change, followed", "100 changes, followed")
CHANGED = 100


def main(sizes: list[int], postgres: str = "") -> None:
    """Print one table; a row per size and run. ``postgres``: URL of an empty database, for one size only."""
    os.environ["LDAP_PASSWORD"] = company.PASSWORD
    print(f"{'people':>8} {'run':<26}{'seconds':>9}{'x floor':>9}{'our CPU s':>11}{'peak MB':>9}  state, changes")
    for people in sizes:
        groups = max(1, people // 100)
        with ldap_read._filled(people, groups, log=True) as server, tempfile.TemporaryDirectory() as folder:
            url = postgres or f"sqlite:///{folder}"
            _compare(server, url, people, groups)


def _compare(server: slapd.Slapd, url: str, people: int, groups: int) -> None:
    for turn, name in enumerate(TURNS):
        if name.startswith("100"):
            _change(server, turn)
        floor = sum(
            ldap_read._ldapsearch(server, base, filter_, attributes, count)
            for base, filter_, attributes, count in (
                (company.PEOPLE, "(objectClass=inetOrgPerson)", (*ldap_read.ATTRIBUTES, "entryUUID"), people),
                (company.GROUPS, "(objectClass=groupOfNames)", ("cn", "member", "entryUUID"), groups),
            )
        )
        command = [sys.executable, "-m", "benchmarks.full_run_ldap", server.url, url, str(groups), str(turn)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        seconds, cpu, peak = found["seconds"], found["cpu"], found["peak"]
        what = f"{found['state']}, {found['changes']}"
        print(
            f"{people:>8} {name:<26}{seconds:>9.2f}{seconds / floor:>9.2f}{cpu:>11.2f}{peak:>9.0f}  {what}", flush=True
        )
        if people == 100_000 or turn == 0:
            parts = ", ".join(f"{key} {value:.2f}" for key, value in found["parts"].items())
            print(f"{'':>8} ldapsearch {floor:.2f} s; {parts}")


def _change(server: slapd.Slapd, turn: int) -> None:
    lines = []
    for number in range(CHANGED):
        name = f"uid=p{number:07d},{company.PEOPLE}"
        lines.append(f"dn: {name}\nchangetype: modify\nreplace: sn\nsn: Changed{turn}.{number}\n")
    command = ["ldapmodify", "-x", "-H", server.url, "-D", f"cn=root,{company.SUFFIX}", "-w", slapd.SLAPPASSWD_FREE]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, capture_output=True)


def _one(url: str, ledger_url: str, groups: int, turn: int) -> dict[str, Any]:
    """One run in this process; imports and opening the ledger are not counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ldap3 2.9.1 warns on import
        from benchmarks import full_run
        from connector.directory.mapping import AttributeRules
        from connector.directory.settings import LdapSettings
        from connector.directory.sources import open_source
        from connector.reconcile import run
        from connector.reconcile.apply import commit
        from connector.reconcile.desired.seen import Domains
        from connector.reconcile.guard.limits import Permit
        from connector.reconcile.plan.settings import MappingSettings, TeamSettings
        from connector.reconcile.policy.policy import Policy
        from connector.reconcile.state import gate
        from ledger.jobs import Unleased
        from ledger.store.engine import Ledger

    async def opened(*_args: Any) -> Domains:
        return Domains(frozenset({"firma.example"}))

    async def enabled(*_args: Any) -> bool:
        return False

    async def approved(*_args: Any) -> Permit:
        return Permit(everything=True)  # a first run of thousands of invites is approved by somebody

    commit.load_permit = approved  # type: ignore[assignment]
    gate.look = opened  # type: ignore[assignment]
    gate.require_enabled = enabled  # type: ignore[assignment]
    settings = LdapSettings.model_validate(
        {
            "id": "corp", "servers": [url], "plaintext": True, "bind_dn": company.READER,
            "bind_password": "env:LDAP_PASSWORD", "people_base": company.PEOPLE, "groups_base": company.GROUPS,
            "attributes": {"department": ["departmentNumber"]},
        }
    )  # fmt: skip
    teams = [TeamSettings(name=f"Team {number}") for number in range(max(1, groups // 10))]
    mappings = [
        MappingSettings(id=f"g{n}", directory="corp", group=f"cn=g{n:05d},{company.GROUPS}",
                        team=teams[n % len(teams)].name, offerings=("CAD",) if n < groups // 3 else ())
        for n in range(groups)
    ]  # fmt: skip
    policy = Policy.build(teams=teams, mappings=mappings)
    source = open_source(settings, folder=Path())
    setup = run.Setup(full_run.ACME, policy, (run.ConfiguredSource(source, AttributeRules.from_settings(settings)),))
    recall = run.recall

    async def recalled(*args: Any) -> Any:
        memory = await recall(*args)
        return memory if "followed" in TURNS[turn] else replace(memory, cursors={})

    run.recall = recalled  # type: ignore[assignment]
    now = datetime.now(UTC) + timedelta(minutes=20 * turn)

    async def whole() -> dict[str, Any]:
        ledger = Ledger.open(ledger_url)
        if not turn:
            await ledger.migrate()
            await full_run.stock(ledger, policy, groups * 100)
        began, cpu = time.perf_counter(), time.process_time()
        parts: dict[str, float] = {}
        observe = run.observe

        async def watched(*args: Any) -> Any:
            found = await observe(*args)
            parts["read and map"] = time.perf_counter() - began
            return found

        run.observe = watched  # type: ignore[assignment]
        outcome = await run.apply(ledger, setup, fence=Unleased.BY_HAND, now=now, actor="bench", auto=True)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        parts["transaction"] = seconds - parts["read and map"]
        await ledger.close()
        await source.close()
        return {
            "seconds": seconds, "cpu": cpu, "peak": full_run.peak(),
            "state": outcome.state.value, "changes": sum(outcome.counts.values()), "parts": parts,
        }  # fmt: skip

    return asyncio.run(whole())


if __name__ == "__main__":
    print(json.dumps(_one(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
