"""``deploy/rosterd.service`` under a real systemd, set up, stopped, broken and rolled back as docs/deploy says.

A small Debian is booted in namespaces of its own; nothing of this machine's systemd is asked.
"""

from __future__ import annotations

import re
import shutil

import pytest

from tests.parts.debian_root import ROOT, WHEELS, DebianRoot, requires_root
from tests.parts.image import NO_REGISTRY
from tests.parts.installed import build

SERVICE = (ROOT / "docs/deploy/service.md").read_text(encoding="utf-8")
UPGRADE = (ROOT / "docs/deploy/upgrade.md").read_text(encoding="utf-8")
UNIT = (ROOT / "deploy/rosterd.service").read_text(encoding="utf-8")
EXPOSURE = 13
"""Tenths of what ``systemd-analyze security`` counts; it calls 100 unsafe, and 20 OK."""
SUDO = """#!/bin/sh
[ "$1" = -u ] || exec "$@"
user=$2
shift 2
exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
"""


def block(text: str, heading: str, number: int = 0) -> str:
    """The commands of a section."""
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[number]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> DebianRoot:
    """A Debian on which the page's first block has been followed."""
    requires_root()
    folder = tmp_path_factory.mktemp("machine")
    machine = DebianRoot.make(folder / "root")
    checkout = machine.inside("/checkout")
    build(folder)
    shutil.copytree(folder / "dist", checkout / "dist")
    shutil.copytree(WHEELS, machine.inside("/wheels"))
    shutil.copytree(ROOT / "deploy", checkout / "deploy")
    shutil.copy(ROOT / "requirements-run.lock", checkout)
    sudo = machine.inside("/usr/local/bin/sudo")
    sudo.write_text(SUDO, encoding="ascii")
    sudo.chmod(0o755)
    offline = "\n".join(f"export {name}={value}" for name, value in NO_REGISTRY.items())
    said = machine.boots(f"set -e\n{offline}\napt-get update\ncd /checkout\n{block(SERVICE, 'Install')}\necho done")
    assert said.endswith("\ndone\n"), said[-3000:]
    return machine


def test_the_unit_is_right_and_has_few_ways_out(machine: DebianRoot) -> None:
    done = machine.runs("systemd-analyze verify /etc/systemd/system/rosterd.service")
    assert (done.returncode, [line for line in done.stderr.splitlines() if "rosterd.service" in line]) == (0, [])
    done = machine.runs(
        f"systemd-analyze security --offline=true --threshold={EXPOSURE} /etc/systemd/system/rosterd.service"
    )
    assert done.returncode == 0, done.stdout


def test_started_asked_reloaded_and_stopped(machine: DebianRoot) -> None:
    said = machine.boots(f"""
{READY}
grep -E '^(CapEff|CapBnd|NoNewPrivs|Uid)' /proc/$(systemctl show rosterd -p MainPID --value)/status
systemctl reload rosterd && echo reloaded
sleep 5
systemctl stop rosterd
systemctl show rosterd -p ExecMainStatus,NRestarts,Result
journalctl -u rosterd --no-pager -o cat
""")
    assert "answers 200" in said
    assert "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n" in said
    assert "\nreloaded\n" in said
    assert "info reload.done" in said
    assert "serve.stopped" in said
    assert "Result=success\nNRestarts=0\nExecMainStatus=0\n" in said


def test_everything_that_the_product_does_is_possible_inside_the_walls(machine: DebianRoot) -> None:
    changes = {
        r"(?m)^ExecStart=.*": "ExecStart=/opt/rosterd/bin/rosterd demo --people 20",
        r"(?m)^Type=.*": "Type=oneshot",
        r"(?m)^Restart=.*": "Restart=no",
        r"(?m)^Environment=.*": "",
    }
    text = UNIT
    for before, after in changes.items():
        assert re.search(before, text)
        text = re.sub(before, after, text)
    machine.inside("/etc/systemd/system/walled-demo.service").write_text(text, encoding="utf-8")
    said = machine.boots("""
systemctl stop rosterd
systemctl start walled-demo
systemctl show walled-demo -p ExecMainStatus,Result
journalctl -u walled-demo --no-pager -o cat
""")
    assert "Result=success\nExecMainStatus=0\n" in said
    assert "Nobody lost access without proof." in said


def test_a_fault_of_the_configuration_is_no_reason_to_start_again_for_ever(machine: DebianRoot) -> None:
    file = machine.inside("/etc/rosterd/rosterd.toml")
    good = file.read_text(encoding="utf-8")
    file.write_text(good + "broken\n", encoding="utf-8")
    said = machine.boots(f"""
{FAILED}
sleep 12
systemctl show rosterd -p ActiveState,ExecMainStatus,NRestarts
systemctl status rosterd --no-pager
""")
    file.write_text(good, encoding="utf-8")
    assert "NRestarts=0\nExecMainStatus=2\nActiveState=failed\n" in said
    assert "broken TOML" in said


def test_a_ledger_of_a_newer_version_is_left_alone_until_the_copy_is_back(machine: DebianRoot) -> None:
    newer = (
        'import sqlite3; ledger = sqlite3.connect("/var/lib/rosterd/ledger.db");'
        ' ledger.execute("UPDATE alembic_version SET version_num = 999"); ledger.commit()'
    )
    said = machine.boots(f"""
set -x
{READY}
{block(UPGRADE, "Back up")}
python3 -c '{newer}'
systemctl start rosterd
{FAILED}
systemctl show rosterd -p ActiveState,ExecMainStatus
journalctl -u rosterd --no-pager -o cat
{block(UPGRADE, "Roll back")}
{READY}
""")
    assert "ExecMainStatus=2\nActiveState=failed\n" in said
    assert "the ledger is at revision 999, which this version does not know" in said
    assert "ok    acme: audit" in said
    assert said.rstrip().endswith("answers 200")


READY = f"""
for second in $(seq 90); do
    {block(SERVICE, "Install", 1).splitlines()[1]} >/ready.log 2>&1 && break
    sleep 1
done
cat /ready.log
"""
FAILED = "for second in $(seq 90); do systemctl is-failed --quiet rosterd && break; sleep 1; done"
