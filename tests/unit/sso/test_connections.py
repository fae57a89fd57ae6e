"""A connection's standing, row by row: what is tested, proved, held, handed on, and what closes it (N1, N2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connector.sso.gate import connections
from connector.sso.gate.connections import (
    Asked,
    Certificate,
    ConnectionEvidence,
    ConnectionState,
    KeyFact,
    Look,
    Switch,
    Test,
    Version,
)
from connector.sso.gate.explain_gate import warning_in_words

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
H = timedelta(hours=1)
D = timedelta(days=1)
DOMAIN = "acme.example"


def certificate(name: str, *, ends: timedelta = 365 * D, begins: timedelta = -D) -> Certificate:
    """A certificate whose key is called ``name``."""
    return Certificate(name, T0 + begins, T0 + ends, f"thumb-{name}")


def version(number: int, keys: str, *, after: timedelta = 0 * H, mark: str = "f", **more: object) -> Version:
    """A version with one certificate per letter."""
    found = tuple(certificate(key) for key in keys)
    return replace(Version(number, mark, "https://idp", found, T0 + after), **more)


def known(*versions: Version, on: int = 1, **more: object) -> ConnectionEvidence:
    """Version 1 was tested with the key ``a`` and turned on; then each version up to ``on`` went on with it."""
    switches = tuple(Switch(T0 + number * H, True, number, by_hand=number == 1) for number in range(1, on + 1))
    tests = (Test(T0, "f", DOMAIN, 1, ("a",)),)
    return replace(ConnectionEvidence("main", versions, tests, switches), **more)


@pytest.mark.parametrize(
    ("versions", "on", "proofs", "tested"),
    [
        (("a",), 1, "", True),
        (("a", "ab"), 2, "", True),  # added: a proved key stands in both
        (("a", "b"), 2, "", False),  # no key in both
        (("ab", "b"), 2, "", False),  # the key in both has proved nothing
        (("ab", "b"), 2, "b", True),  # … until somebody who was bound signed in by it
        (("a", "ab", "b"), 3, "b", True),  # handed on twice
        (("a", "ab", "b"), 3, "", False),
        (("a", "ab", "bc", "c"), 4, "bc", True),
        (("a", "ab", "bc", "c"), 4, "b", False),
    ],
)
def test_n1_a_version_is_tested_when_proved_keys_hand_the_test_on(
    versions: tuple[str, ...], on: int, proofs: str, tested: bool
) -> None:
    rows = [version(number, keys, after=number * H) for number, keys in enumerate(versions, 1)]
    found = known(*rows, on=on, proofs=tuple(KeyFact(T0 + 5 * H, key) for key in proofs))
    live = found.live(T0 + D)
    assert live is not None
    assert (found.tested(live, DOMAIN, T0 + D) is not None) is tested
    assert found.tested(live, "other.example", T0 + D) is None


def test_n1_another_fingerprint_is_another_test_whatever_the_keys() -> None:
    found = known(version(1, "a"), version(2, "a", mark="g"))
    assert found.tested(found.versions[1], DOMAIN, T0 + D) is None
    assert not found.continues(found.versions[0], found.versions[1], T0 + D)


def test_n1_an_expired_key_hands_nothing_on() -> None:
    old = replace(version(1, ""), certificates=(certificate("a", ends=2 * D),))
    after = replace(version(2, "b", after=3 * D), certificates=(certificate("a", ends=2 * D), certificate("b")))
    assert not known(old).continues(old, after, T0 + 3 * D)
    renewed = replace(after, certificates=(certificate("a", ends=400 * D),))  # another certificate of the same key
    assert known(old).continues(old, renewed, T0 + 3 * D)


def test_n1_what_is_handed_on_stays_when_the_old_certificate_ends_later() -> None:
    old = replace(version(1, ""), certificates=(certificate("a", ends=2 * D),))
    both = replace(version(2, ""), certificates=(certificate("a", ends=2 * D), certificate("b")))
    found = known(old, both, on=2)
    assert found.tested(both, DOMAIN, T0 + 100 * D) == T0


@pytest.mark.parametrize(
    ("test", "proved"),
    [
        (Test(T0, "f", DOMAIN, 1, ("b",)), "b"),
        (Test(T0, "f", DOMAIN, 1, ("a", "b")), "ab"),  # older evidence: all that were valid count
        (Test(T0, "f", DOMAIN), "abc"),  # evidence that names none
        (Test(T0 + 2 * D, "f", DOMAIN, 1, ("b",)), ""),  # not yet
    ],
)
def test_n1_which_keys_a_test_proves(test: Test, proved: str) -> None:
    found = replace(known(version(1, "abc")), tests=(test,))
    assert found.proved(T0 + D) == frozenset(proved)


@pytest.mark.parametrize(
    ("after", "confirmed", "held"),
    [
        (timedelta(0), None, True),
        (24 * H - timedelta(seconds=1), None, True),
        (24 * H, None, False),
        (3 * H, 2 * H, False),
        (3 * H, 4 * H, True),  # confirmed later
        (3 * H, -1 * H, True),  # what was confirmed before it was added is another time
    ],
)
def test_n1_an_added_certificate_is_held_for_a_day_unless_confirmed(
    after: timedelta, confirmed: timedelta | None, held: bool
) -> None:
    facts = () if confirmed is None else (KeyFact(T0 + confirmed, "b"),)
    found = known(version(1, "a"), additions=(KeyFact(T0, "b"),), confirmations=facts)
    assert found.held_until("b", T0 + after) == (T0 + D if held else None)
    assert found.held_until("a", T0 + after) is None


def looks(*found: tuple[float, str], live: int = 1) -> tuple[Look, ...]:
    """Looks at T0 + hours."""
    return tuple(Look(T0 + hours * H, live, shown) for hours, shown in found)


@pytest.mark.parametrize(
    ("seen", "at", "closed", "warned"),
    [
        (looks(), 9, False, False),
        (looks((1, "host")), 9, False, True),  # one look closes nothing
        (looks((1, "host"), (1.9, "host")), 9, False, True),  # nor do two within an hour
        (looks((1, "host"), (2, "entity_id")), 9, True, False),
        (looks((1, "host"), (2, "host")), 1.5, False, True),  # before the second
        (looks((1, "host"), (2, "host"), (3, "")), 9, False, False),  # the right one again
        (looks((1, "host"), (2, ""), (3, "host")), 9, False, True),
        (looks((1, "certificates"), (2, "certificates"), live=7), 9, False, False),  # said of a version before
    ],
)
def test_n2_two_looks_an_hour_apart_close(seen: tuple[Look, ...], at: float, closed: bool, warned: bool) -> None:
    found = connections.standing(known(version(1, "a"), looks=seen), T0 + at * H)
    assert ("idp_changed" in found.reasons) is closed
    assert ("idp_change_seen" in found.warnings) is warned
    assert "new_certificates_seen" not in found.warnings
    assert found.state is (
        ConnectionState.BROKEN if closed else ConnectionState.ON_WARN if warned else ConnectionState.ON
    )


def test_n2_an_unreachable_address_warns_for_weeks_and_closes_nothing() -> None:
    found = connections.standing(known(version(1, "a"), unreadable_since=T0), T0 + 90 * D)
    assert (found.state, found.reasons) == (ConnectionState.ON_WARN, ())
    assert found.warnings == ("metadata_unreachable",)


@pytest.mark.parametrize(
    ("certificate_ends", "valid_until", "warnings"),
    [
        (61 * D, None, ()),
        (60 * D, None, ("cert_expires_in_60d",)),
        (30 * D, None, ("cert_expires_in_30d",)),
        (14 * D, None, ("cert_expires_in_14d",)),
        (7 * D, None, ("cert_expires_in_7d",)),
        (D, None, ("cert_expires_in_1d",)),
        (400 * D, 61 * D, ()),
        (400 * D, 3 * D, ("metadata_expires_in_7d",)),  # not a certificate's
        (13 * D, 3 * D, ("cert_expires_in_14d", "metadata_expires_in_7d")),
    ],
)
def test_what_ends_is_called_by_its_name(
    certificate_ends: timedelta, valid_until: timedelta | None, warnings: tuple[str, ...]
) -> None:
    ends = T0 + valid_until if valid_until else None
    one = replace(version(1, ""), certificates=(certificate("a", ends=certificate_ends),), valid_until=ends)
    assert connections.expiry_warnings(one, T0) == warnings
    for warning in warnings:
        assert ("validUntil" in warning_in_words(warning)) is warning.startswith("metadata")


@pytest.mark.parametrize(
    ("found", "newest", "drafts"),
    [
        (ConnectionEvidence("main"), None, ()),
        (known(version(1, "a"), switches=()), 1, (1,)),
        (known(version(1, "a")), 1, ()),
        (known(version(1, "a"), version(2, "b")), 2, (2,)),
        (known(version(1, "a"), version(2, "ab"), on=2), 2, ()),
        (known(version(1, "a"), version(2, "b"), dropped=frozenset({2})), 1, ()),
        # a refresh goes on with the live version beside an admin's draft: the draft still waits
        (known(version(1, "a"), version(2, "x"), version(3, "ab"), switches=(
            Switch(T0, True, 1), Switch(T0 + H, True, 3, by_hand=False))), 2, (2,)),
        # the admin gave other metadata afterwards, which went live at once: the draft is overtaken
        (known(version(1, "a"), version(2, "x"), version(3, "ab"), switches=(
            Switch(T0, True, 1), Switch(T0 + H, True, 3))), 3, ()),
        (known(version(1, "a"), version(2, "ab"), switches=(
            Switch(T0, True, 1), Switch(T0 + H, True, 2), Switch(T0 + 2 * H, False, 2))), 2, ()),
    ],
)  # fmt: skip
def test_which_version_waits(found: ConnectionEvidence, newest: int | None, drafts: tuple[int, ...]) -> None:
    assert (found.newest.number if found.newest else None) == newest
    assert tuple(one.number for one in found.drafts) == drafts


@pytest.mark.parametrize(
    ("after", "switched", "waits"),
    [(0 * H, None, True), (24 * H - timedelta(seconds=1), None, True), (24 * H, None, False), (3 * H, 2 * H, False)],
)
def test_a_second_person_has_a_day(after: timedelta, switched: timedelta | None, waits: bool) -> None:
    asked = (Asked(T0, 2, "ada"),)
    switches = (Switch(T0 + switched, False, 1),) if switched else ()
    found = ConnectionEvidence("main", (version(2, "a"),), switches=switches, asked=asked)
    assert (found.asked_for(2, T0 + after) is not None) is waits
    assert found.asked_for(3, T0 + after) is None


def test_n1_a_setting_of_tomorrow_with_its_default_leaves_fingerprints_as_they_are() -> None:
    facts = {"services": {"b": "https://idp"}, "name_id_formats": ["x"], "wants": {"mail_attribute": "mail"}}
    mark = connections.fingerprint("https://idp", facts)
    later = {**facts, "wants": {"mail_attribute": "mail", "subject_attribute": "", "another": False}}
    assert connections.fingerprint("https://idp", later) == mark
    assert connections.fingerprint("https://idp", {**facts, "certificates": ["any"], "valid_until": "any"}) == mark
    assert connections.fingerprint("https://idp", {**later, "wants": {"subject_attribute": "id"}}) != mark
