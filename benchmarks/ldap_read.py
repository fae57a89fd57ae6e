"""How fast and how small reading a large directory is, beside its floor.

Fills a real slapd with people and with groups of 300 (seven attributes each), then times in the same run:
``ldapsearch`` of the same people and attributes paged by 1,000 (the floor), ``ldapsearch`` of people and groups, and
our reading in a fresh process each time. Prints a table with medians, ratios, our own CPU time and peak memory; the
last row is what changed after 100 people were modified (D13), with syncprov's session log or, ``--no-log``, without.

    python -m benchmarks.ldap_read --people 100000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.parts import company, slapd

ATTRIBUTES = ("mail", "givenName", "sn", "displayName", "cn", "employeeNumber", "departmentNumber")
GROUP_SIZE = 300
CHANGED = 100


def main() -> None:
    """Run the benchmark, or (``--read URL``) one reading in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds' worth, to see that it runs")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=0, help="number of groups of 300; default: one per 100 people")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--no-log", action="store_true", help="the server lists who is there instead of who is gone")
    parser.add_argument("--follow", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--map", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.small:
        arguments.people, arguments.rounds = 5_000, 2
    groups = arguments.groups or max(1, arguments.people // 100)
    if arguments.read:
        print(json.dumps(asyncio.run(_read(arguments.read, groups, arguments.map, arguments.follow))))
        return
    os.environ["LDAP_PASSWORD"] = company.PASSWORD
    with _filled(arguments.people, groups, log=not arguments.no_log) as server:
        _compare(server, arguments.people, groups, arguments.rounds)


def _compare(server: slapd.Slapd, people: int, groups: int, rounds: int) -> None:
    floor, floor_all, ours, ours_all, mapped = [], [], [], [], []
    for _ in range(rounds):
        seconds = _ldapsearch(server, company.PEOPLE, "(objectClass=inetOrgPerson)", (*ATTRIBUTES, "entryUUID"), people)
        floor.append(seconds)
        members = ("cn", "member", "entryUUID")
        floor_all.append(seconds + _ldapsearch(server, company.GROUPS, "(objectClass=groupOfNames)", members, groups))
        ours.append(_fresh(server, 0))
        ours_all.append(_fresh(server, groups))
        mapped.append(_fresh(server, groups, "--map"))
    base, base_all = statistics.median(floor), statistics.median(floor_all)
    size = min(GROUP_SIZE, people)
    print(f"{people} people x {len(ATTRIBUTES)} attributes, {groups} groups of {size}; median of {rounds}")
    print(f"{'what':<46}{'seconds':>9}{'x floor':>9}{'our CPU s':>11}{'peak MB':>9}")
    _row("ldapsearch, people, paged by 1000 (floor)", base, base)
    _row("ldapsearch, people and groups (floor)", base_all, base_all)
    for name, results, against in (
        ("rosterd, people", ours, base),
        ("rosterd, people and groups", ours_all, base_all),
        ("rosterd, the same + fingerprints", mapped, base_all),
    ):
        seconds = statistics.median(result["seconds"] for result in results)
        cpu = statistics.median(result["cpu"] for result in results)
        _row(name, seconds, against, f"{cpu:>11.2f}{max(result['peak'] for result in results):>9.0f}")
    changed = [_fresh(server, groups, "--follow") for _ in range(rounds)]
    seconds = statistics.median(result["changes"] for result in changed)
    _row(f"rosterd, what changed ({CHANGED} people)", seconds, base_all)
    assert all(result["changed"] == CHANGED for result in changed), "not every change was told"
    assert all(result["people"] == people for result in [*ours, *ours_all]), "a reading was not whole"
    assert all(result["unknown"] == 0 for result in [*ours, *ours_all]), "a scope is unknown"


def _row(name: str, seconds: float, floor: float, more: str = "") -> None:
    print(f"{name:<46}{seconds:>9.2f}{seconds / floor:>9.2f}{more}")


def _ldapsearch(server: slapd.Slapd, base: str, filter_: str, attributes: tuple[str, ...], expected: int) -> float:
    command = ["ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", server.url, "-D", company.READER]
    command += ["-w", company.PASSWORD, "-b", base, "-E", "pr=1000/noprompt", filter_, *attributes]
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        subprocess.run(command, stdout=output, check=True)
        seconds = time.perf_counter() - started
        output.seek(0)
        assert sum(line.startswith(b"dn:") for line in output) == expected
    return seconds


def _fresh(server: slapd.Slapd, groups: int, *flags: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.ldap_read", "--read", server.url, "--groups", str(groups or -1)]
    done = subprocess.run([*command, *flags], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


async def _read(url: str, groups: int, fingerprints: bool, follow: bool) -> dict[str, float]:
    """One reading: seconds (connection included, imports not), peak memory in MB, and what was found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ldap3 2.9.1 warns on import
        from connector.directory.base import ReadRequest
        from connector.directory.changes import ChangesRequest
        from connector.directory.mapping import AttributeRules, fingerprint
        from connector.directory.settings import LdapSettings
        from connector.directory.sources import open_source
    settings = LdapSettings.model_validate(
        {
            "id": "bench",
            "servers": [url],
            "plaintext": True,
            "bind_dn": company.READER,
            "bind_password": "env:LDAP_PASSWORD",
            "people_base": company.PEOPLE,
            "groups_base": company.GROUPS,
            "attributes": {"department": ["departmentNumber"]},
        }
    )
    rules = AttributeRules.from_settings(settings)
    source = open_source(settings, folder=Path())
    references = tuple(f"cn=g{number:05d},{company.GROUPS}" for number in range(max(groups, 0)))
    request = ReadRequest(references, rules.requested, timedelta(minutes=10))
    started, cpu = time.perf_counter(), time.process_time()
    reading = await source.read(request, now=datetime.now(UTC))
    if fingerprints:
        prints = {anchor: fingerprint(entry, rules) for anchor, entry in reading.people.items()}
        assert len(prints) == len(reading.people)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    told: dict[str, float] = {}
    if follow:
        _change(url)
        found = await source.changes(ChangesRequest(reading.cursor or {}, rules.requested), now=datetime.now(UTC))
        told = {"changes": found.seconds, "changed": len(found.people)}
    await source.close()
    return {
        **told,
        "seconds": seconds,
        "cpu": cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "people": len(reading.people),
        "members": sum(len(group.members) for group in reading.groups.values()),
        "unknown": sum(not scope.complete for scope in reading.scopes.values()),
    }


def _change(url: str) -> None:
    """Modify some people, as the server's own administrator would."""
    blocks = [
        f"dn: uid=p{number:07d},{company.PEOPLE}\nchangetype: modify\nreplace: departmentNumber\n"
        f"departmentNumber: {uuid.uuid4()}\n"
        for number in range(CHANGED)
    ]
    command = ["ldapmodify", "-x", "-H", url, "-D", f"cn=root,{company.SUFFIX}", "-w", slapd.SLAPPASSWD_FREE]
    subprocess.run(command, input="\n".join(blocks), text=True, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _filled(people: int, groups: int, *, log: bool) -> Iterator[slapd.Slapd]:
    names = [f"uid=p{number:07d},{company.PEOPLE}" for number in range(people)]
    blocks = [company.Firm(()).ldif()]
    for number, name in enumerate(names):
        given, family = company.GIVEN[number % 8], company.FAMILY[number // 8 % 8]
        blocks.append(
            company.record(
                [
                    ("dn", name),
                    ("objectClass", "inetOrgPerson"),
                    ("structuralObjectClass", "inetOrgPerson"),
                    ("entryUUID", str(uuid.UUID(int=number + (1 << 100)))),
                    ("uid", f"p{number:07d}"),
                    ("cn", f"{given} {family}"),
                    ("displayName", f"{given} {family}"),
                    ("givenName", given),
                    ("sn", family),
                    ("mail", f"p{number:07d}@firma.example"),
                    ("employeeNumber", str(number)),
                    ("departmentNumber", f"D{number % 40}"),
                ]
            )
        )
    for number in range(groups):
        members = [names[(number * 97 + place) % people] for place in range(min(GROUP_SIZE, people))]
        head = [("dn", f"cn=g{number:05d},{company.GROUPS}"), ("objectClass", "groupOfNames"), ("cn", f"g{number:05d}")]
        anchor = ("entryUUID", str(uuid.UUID(int=number + (1 << 101))))
        blocks.append(company.record([*head, anchor, *(("member", member) for member in members)]))
    extra = [*slapd.SYNCPROV, *(["syncprov-sessionlog 10000"] if log else [])]
    with slapd.running("\n".join(blocks), extra=extra) as server:
        yield server


if __name__ == "__main__":
    main()
