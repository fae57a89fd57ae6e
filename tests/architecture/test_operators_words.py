"""What operators look up: a message that the documents explain is one that the product says, and a metric exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rosterd.health import Metrics

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("access", "connector", "ledger", "reporting_api", "rosterd")
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ALERTS = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| `(.+?)` \|", TROUBLESHOOTING, re.MULTILINE)
SOURCE = re.sub(
    r"\"\s*f?\"",
    "",
    "\n".join(path.read_text(encoding="utf-8") for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))),
)
"""With texts that stand in several pieces put together."""


def shown() -> set[str]:
    """Every metric, by the name that ``/metrics`` shows."""
    return {sample for metric in Metrics().registry.collect() for sample in (metric.name, f"{metric.name}_total")}


def test_at_least_thirty_messages_are_explained() -> None:
    assert len(MESSAGES) >= 30
    assert len(set(MESSAGES)) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_explained_is_said(message: str) -> None:
    pattern = r"\{[^\n]+?\}".join(map(re.escape, message.removesuffix("…").removeprefix("…").strip(" ").split("…")))
    assert re.search(pattern, SOURCE), pattern


def test_every_alert_rests_on_a_metric_that_exists() -> None:
    named = set(re.findall(r"rosterd_[a-z_]+", ALERTS))
    assert len(named) > 10
    assert named <= shown()


def test_every_metric_that_can_alarm_is_in_the_table() -> None:
    named = set(re.findall(r"rosterd_[a-z_]+", ALERTS))
    metrics = {metric.name for metric in Metrics().registry.collect()}
    assert {name for name in metrics if not {name, f"{name}_total"} & named} == set()
