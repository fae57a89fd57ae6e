"""The gate's table: evidence and an instant in, open, closed or unknown out (sso.md §1, R5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connector.sso.gate import connections, domains
from connector.sso.gate.connections import (
    Certificate,
    ConnectionEvidence,
    ConnectionState,
    Probe,
    Switch,
    Test,
    Version,
)
from connector.sso.gate.decision import CLOSED_REASONS, UNKNOWN_REASONS, Gate, GateState, decide
from connector.sso.gate.domains import Answer, Check, DomainEvidence, DomainState
from connector.sso.gate.explain_gate import missing_steps

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
H = timedelta(hours=1)
D = timedelta(days=1)
FOUND, ABSENT, UNREADABLE = Answer.FOUND, Answer.ABSENT, Answer.UNREADABLE


def domain(*checks: tuple[timedelta, Answer], grace: timedelta = D) -> DomainEvidence:
    """A domain whose token was issued at T0; checks at T0 + each."""
    found = tuple(Check(T0 + after, answer, "why") for after, answer in checks)
    return DomainEvidence("acme.example", T0, grace, T0, T0 + 30 * D, found, version=7)


VERSION = Version(1, "f1", "https://idp", (Certificate("spki", T0 - D, T0 + 365 * D),), T0)
SAME = ("f1", "acme.example")
ON = ConnectionEvidence("main", (VERSION,), (Test(T0, "f1", "acme.example"),), (Switch(T0, True, 1),))
PROVED = domain((timedelta(0), FOUND))


def gate(evidence: DomainEvidence, connection: ConnectionEvidence | None, after: timedelta) -> Gate:
    return decide(evidence, connection, T0 + after)


def test_r5_open_when_proved_tested_and_on() -> None:
    assert gate(PROVED, ON, 6 * D) == Gate("acme.example", GateState.OPEN, (), (), 7)


@pytest.mark.parametrize(
    ("checks", "after", "state"),
    [
        ((), 0 * H, DomainState.PENDING),
        (((H, ABSENT), (2 * H, UNREADABLE)), 3 * H, DomainState.PENDING),
        ((), 30 * D, DomainState.FAILED),
        (((30 * D, FOUND),), 30 * D, DomainState.FAILED),  # found too late
        (((H, FOUND),), H, DomainState.VERIFIED),
        (((H, FOUND),), 30 * 24 * H, DomainState.LOST),  # nobody looked for 29 days
        (((H, FOUND),), H + 7 * D - timedelta(seconds=1), DomainState.VERIFIED),
        (((H, FOUND), (2 * H, UNREADABLE), (6 * D, UNREADABLE)), 6 * D, DomainState.VERIFIED),  # SERVFAIL for 6 days
        (((H, FOUND), (2 * H, UNREADABLE), (6 * D, UNREADABLE)), 7 * D + H, DomainState.LOST),  # unverifiable
        (((H, FOUND), (2 * H, ABSENT)), 2 * H, DomainState.STALE),
        (((H, FOUND), (2 * H, ABSENT)), 5 * D, DomainState.STALE),  # one negative alone never loses it
        (((H, FOUND), (2 * H, ABSENT), (2.5 * H, ABSENT)), 5 * D, DomainState.STALE),  # half an hour is not apart
        (((H, FOUND), (2 * H, ABSENT), (3 * H, ABSENT)), 25 * H, DomainState.STALE),
        (((H, FOUND), (2 * H, ABSENT), (3 * H, ABSENT)), 26 * H, DomainState.LOST),
        (((H, FOUND), (2 * H, ABSENT), (3 * H, UNREADABLE), (30 * H, ABSENT)), 30 * H, DomainState.LOST),
        (((H, FOUND), (2 * H, ABSENT), (3 * H, ABSENT), (20 * H, FOUND)), 40 * H, DomainState.VERIFIED),
        (((H, FOUND), (2 * H, ABSENT), (3 * H, ABSENT), (50 * H, FOUND)), 50 * H, DomainState.VERIFIED),  # back
    ],
)
def test_standing_of_a_domain(checks: Sequence[tuple[timedelta, Answer]], after: timedelta, state: DomainState) -> None:
    assert domains.standing(domain(*checks), T0 + after).state is state


@pytest.mark.parametrize(("grace", "lost"), [(0 * H, 3 * H), (2 * H, 4 * H), (72 * H, 74 * H)])
def test_grace_counts_from_the_first_negative_and_needs_two(grace: timedelta, lost: timedelta) -> None:
    evidence = domain((H, FOUND), (2 * H, ABSENT), (3 * H, ABSENT), grace=grace)
    assert (
        domains.standing(evidence, T0 + lost - timedelta(microseconds=1)).state is DomainState.STALE or grace == 0 * H
    )
    assert domains.standing(evidence, T0 + lost).state is DomainState.LOST


def test_released_and_never_given_a_token() -> None:
    assert domains.standing(replace(PROVED, released_at=T0 + H), T0 + H).state is DomainState.RELEASED
    assert domains.standing(DomainEvidence("acme.example", T0), T0).state is DomainState.ADDED


@pytest.mark.parametrize(
    ("connection", "after", "reasons"),
    [
        (None, 0 * H, ("no_connection",)),
        (ConnectionEvidence("main"), 0 * H, ("no_connection", "sso_off")),
        (replace(ON, tests=(), switches=()), 0 * H, ("not_tested", "sso_off")),
        (replace(ON, switches=()), 0 * H, ("sso_off",)),
        (replace(ON, switches=()), 6 * D, ("sso_off",)),
        (
            replace(ON, switches=(), tests=(Test(T0 - 2 * D, "f1", "acme.example"),)),
            6 * D,
            ("test_outdated", "sso_off"),
        ),
        (replace(ON, switches=(), tests=(Test(T0, "f0", "acme.example"),)), 0 * H, ("test_outdated", "sso_off")),
        (replace(ON, tests=(Test(T0, "f1", "other.example"),)), 0 * H, ("not_tested",)),  # a test per domain
        (replace(ON, switches=(*ON.switches, Switch(T0 + H, False))), 2 * H, ("sso_off",)),
        (replace(ON, versions=(replace(VERSION, valid_until=T0 + H),)), H, ("metadata_expired",)),
        (replace(ON, probes=(Probe(T0 + H, True, "idp_changed"),)), 2 * H, ("idp_changed",)),
        (replace(ON, probes=(Probe(T0 + H, True, "idp_changed"), Probe(T0 + 2 * H, True))), 3 * H, ()),
    ],
)
def test_reasons_of_the_connection(
    connection: ConnectionEvidence | None, after: timedelta, reasons: tuple[str, ...]
) -> None:
    found = gate(PROVED, connection, after)
    assert found.reasons == reasons
    assert found.state is (GateState.CLOSED if reasons else GateState.OPEN)


def test_age_of_the_test_is_no_reason_once_on() -> None:
    weeks = domain(*((timedelta(days=day), FOUND) for day in range(0, 100, 5)))
    assert gate(weeks, ON, 95 * D).state is GateState.OPEN


def test_certificate_expires_with_warnings_before() -> None:
    short = replace(ON, versions=(replace(VERSION, certificates=(Certificate("s", T0 - D, T0 + 6 * D),)),))
    assert gate(PROVED, short, timedelta(0)).warnings == ("cert_expires_in_7d",)
    assert gate(PROVED, short, 5 * D).warnings == ("cert_expires_in_1d",)
    assert connections.standing(short, T0 + 5 * D).state is ConnectionState.ON_WARN
    closed = gate(PROVED, short, 6 * D)
    assert (closed.state, closed.reasons) == (GateState.CLOSED, ("cert_expired",))
    assert connections.standing(short, T0 + 6 * D).state is ConnectionState.BROKEN


def test_one_of_two_certificates_is_enough() -> None:
    both = (Certificate("old", T0 - 9 * D, T0 - D), Certificate("new", T0 - D, T0 + 300 * D))
    assert gate(PROVED, replace(ON, versions=(replace(VERSION, certificates=both),)), H).state is GateState.OPEN


def test_warnings_leave_it_open() -> None:
    stale = domain((timedelta(0), FOUND), (H, ABSENT))
    assert gate(stale, ON, 2 * H) == Gate("acme.example", GateState.OPEN, (), ("domain_stale",), 7)
    unreadable = domain((timedelta(0), FOUND), (H, UNREADABLE))
    assert gate(unreadable, ON, 2 * H).warnings == ("dns_unreadable",)


def test_unknown_turns_closed_after_24_hours_and_ends_when_readable() -> None:
    silent = replace(ON, probes=(Probe(T0 + H, False, "kc_unreachable"), Probe(T0 + 1.5 * H, False, "kc_unreachable")))
    for after, state in ((2 * H, "unknown"), (25 * H - timedelta(seconds=1), "unknown"), (25 * H, "closed")):
        found = gate(PROVED, silent, after)
        assert (found.state, found.reasons) == (GateState(state), ("kc_unreachable",))
    back = replace(silent, probes=(*silent.probes, Probe(T0 + 4 * H, True)))
    assert gate(PROVED, back, 30 * H).state is GateState.OPEN


def test_what_is_known_to_be_wrong_wins_over_unknown() -> None:
    both = replace(ON, probes=(Probe(T0, True, "kc_idp_disabled"), Probe(T0 + H, False, "kc_unreachable")))
    assert gate(PROVED, both, 2 * H).reasons == ("kc_idp_disabled",)


def test_a_clock_behind_the_evidence_decides_nothing() -> None:
    seen = domain((timedelta(0), FOUND), (6 * D, FOUND))
    found = gate(seen, ON, 6 * D - timedelta(minutes=6))
    assert (found.state, found.reasons) == (GateState.UNKNOWN, ("clock_behind",))
    assert gate(seen, ON, 6 * D - timedelta(minutes=5)).state is GateState.OPEN


def test_all_reasons_of_domain_and_connection_in_one_order() -> None:
    lost = domain((timedelta(0), FOUND))
    assert gate(lost, replace(ON, switches=(), tests=()), 9 * D).reasons == ("domain_lost", "not_tested", "sso_off")


def test_a_draft_beside_the_live_version_changes_nothing() -> None:
    draft = replace(VERSION, number=2, fingerprint="f2", certificates=())
    assert gate(PROVED, replace(ON, versions=(VERSION, draft)), H).state is GateState.OPEN
    assert connections.missing_for_on(replace(ON, versions=(VERSION, draft)), "acme.example", T0) == (
        "cert_expired",
        "test_outdated",
    )


def test_states_of_a_connection_before_on() -> None:
    assert connections.standing(ConnectionEvidence("main"), T0).state is ConnectionState.DRAFT
    configured = replace(ON, tests=(), switches=())
    assert connections.standing(configured, T0).state is ConnectionState.CONFIGURED
    assert connections.standing(replace(ON, switches=()), T0).state is ConnectionState.TESTED
    off = replace(ON, switches=(*ON.switches, Switch(T0 + H, False, 1, "maintenance")))
    assert connections.standing(off, T0 + H) == connections.ConnectionStanding(
        ConnectionState.DISABLED, ("maintenance",)
    )


def test_every_reason_has_its_words_and_its_command() -> None:
    for reason in {*CLOSED_REASONS, *UNKNOWN_REASONS}:
        (step,) = missing_steps("acme.example", (reason,))
        assert reason in step
        assert "→" in step
