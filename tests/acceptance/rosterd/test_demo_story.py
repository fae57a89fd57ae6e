"""The demo is the product's own acceptance test: eight acts, every fact read back from the ledger and true."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_demo_plays_eight_acts_and_every_fact_is_true() -> None:
    command = [sys.executable, "-m", "rosterd.cli", "demo", "--people", "120", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    acts = json.loads(done.stdout)["acts"]
    assert [act["act"] for act in acts] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(act["facts"] for act in acts)
    assert [fact["fact"] for act in acts for fact in act["facts"] if not fact["true"]] == []
