"""What one look at a domain proves, which way decides it, and when the next one is due (sso.md §1; N13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connector.sso.gate import domains
from connector.sso.gate.decision import GateState, decide
from connector.sso.gate.domains import Answer, Check, DomainEvidence, DomainState, Finding, Way
from connector.sso.gate.explain_gate import missing_steps
from connector.sso.proof.dns import Outcome, ResolverAnswer, judge, misplaced, why_not_web, wrong_places
from connector.sso.settings import parse_resolver

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
H, D = timedelta(hours=1), timedelta(days=1)
FOUND, ABSENT, UNREADABLE = Answer.FOUND, Answer.ABSENT, Answer.UNREADABLE
DOMAIN = "acme.example"
TOKEN = domains.make_token(bytes(range(32)))
OTHER = domains.make_token(bytes(32))
EXPECTED = domains.token_hash(TOKEN)


def says(what: str, resolver: str = "r", *, ad: bool = False, trusted: bool = False) -> ResolverAnswer:
    """One resolver's answer: ``token``, ``other`` (a token of somebody else), ``none`` or ``silent``."""
    texts = {"token": (domains.record_value(TOKEN),), "other": (domains.record_value(OTHER),)}.get(what, ())
    outcome = {"none": Outcome.NONE, "silent": Outcome.UNREADABLE}.get(what, Outcome.RECORDS)
    return ResolverAnswer(resolver, outcome, texts, ad=ad, trusted=trusted, why=what)


@pytest.mark.parametrize(
    ("first", "ad", "trusted", "second", "answer"),
    [
        ("token", True, True, "silent", FOUND),  # loopback or TLS: nobody else can have set the bit
        ("token", True, False, "silent", UNREADABLE),  # over plain UDP anybody on the way can
        ("token", False, True, "silent", UNREADABLE),  # not validated: the domain is not signed
        ("token", True, True, "none", FOUND),
        ("token", True, False, "none", UNREADABLE),
        ("token", False, False, "token", FOUND),
        ("none", True, True, "silent", ABSENT),  # the denial is signed too
        ("none", True, False, "silent", UNREADABLE),
        ("none", False, True, "silent", UNREADABLE),
        ("none", True, True, "token", UNREADABLE),  # who shows it still may be behind
        ("silent", True, True, "silent", UNREADABLE),
        ("silent", True, True, "none", UNREADABLE),
    ],
)
def test_n13_the_ad_bit_replaces_the_second_resolver_only_where_nobody_can_have_set_it(
    first: str, ad: bool, trusted: bool, second: str, answer: Answer
) -> None:
    assert judge([says(first, ad=ad, trusted=trusted), says(second, "s")], EXPECTED).answer is answer


@pytest.mark.parametrize(
    ("resolver", "trusted"),
    [
        ("127.0.0.1:53", True),
        ("127.9.9.9", True),
        ("[::1]:53", True),
        ("tls://9.9.9.9:853#dns.quad9.net", True),
        ("9.9.9.9:53", False),
        ("10.0.0.1:53", False),  # the own network is not this host
        ("[::ffff:9.9.9.9]:53", False),
    ],
)
def test_n13_which_resolvers_are_trusted(resolver: str, trusted: bool) -> None:
    assert parse_resolver(resolver).trusted is trusted


D_FOUND, D_GONE, D_SILENT = Finding(FOUND), Finding(ABSENT, "no record"), Finding(UNREADABLE, "no answer")
D_OTHER = Finding(ABSENT, "another token", otherwise=True)
W_FOUND, W_404, W_BROKEN = Finding(FOUND), Finding(ABSENT, "answers 404"), Finding(UNREADABLE, "answers 500")


@pytest.mark.parametrize(
    ("dns", "web", "proved_by", "way", "answer"),
    [
        (D_FOUND, None, None, Way.DNS, FOUND),
        (D_FOUND, W_404, Way.WEB, Way.DNS, FOUND),
        (D_GONE, W_FOUND, None, Way.WEB, FOUND),
        (D_GONE, W_FOUND, Way.DNS, Way.WEB, FOUND),
        (D_SILENT, W_FOUND, Way.WEB, Way.WEB, FOUND),
        (D_OTHER, W_FOUND, Way.WEB, Way.DNS, ABSENT),  # TXT wins
        (D_OTHER, W_FOUND, None, Way.DNS, ABSENT),
        (D_GONE, W_404, Way.DNS, Way.DNS, ABSENT),
        (D_GONE, W_BROKEN, Way.DNS, Way.DNS, ABSENT),  # what a web server says is no news of a TXT record
        (D_SILENT, W_404, Way.DNS, Way.DNS, UNREADABLE),
        (D_GONE, None, Way.DNS, Way.DNS, ABSENT),
        (D_GONE, W_404, Way.WEB, Way.WEB, ABSENT),
        (D_GONE, W_BROKEN, Way.WEB, Way.WEB, UNREADABLE),  # and a missing record none of a file
        (D_SILENT, W_404, Way.WEB, Way.WEB, UNREADABLE),  # the record may have come instead
        (D_GONE, None, Way.WEB, Way.WEB, UNREADABLE),
        (D_GONE, W_404, None, Way.DNS, ABSENT),
        (D_GONE, W_BROKEN, None, Way.DNS, ABSENT),
        (D_SILENT, W_BROKEN, None, Way.DNS, UNREADABLE),
    ],
)
def test_n13_either_way_proves_and_only_its_own_takes_a_proof_away(
    dns: Finding, web: Finding | None, proved_by: Way | None, way: Way, answer: Answer
) -> None:
    decided, found = domains.settled(dns, web, proved_by)
    assert (decided, found.answer) == (way, answer)
    assert found.why or answer is FOUND


def seen(*looks: tuple[timedelta, Finding, Finding | None]) -> DomainEvidence:
    """A domain whose looks were settled one after another, each by the way that it stood by then."""
    evidence = DomainEvidence(DOMAIN, T0, D, T0, T0 + 30 * D)
    for after, dns, web in looks:
        way, found = domains.settled(dns, web, evidence.proved_by)
        evidence = replace(evidence, checks=(*evidence.checks, Check(T0 + after, found.answer, found.why, way)))
    return evidence


@pytest.mark.parametrize(
    ("looks", "after", "state", "way"),
    [
        # by a file: 404 twice, a day, as with a record
        (((0 * H, D_GONE, W_FOUND), (H, D_GONE, W_404)), H, DomainState.STALE, Way.WEB),
        (((0 * H, D_GONE, W_FOUND), (H, D_GONE, W_404), (2 * H, D_GONE, W_404)), 25 * H, DomainState.LOST, Way.WEB),
        (((0 * H, D_GONE, W_FOUND), (H, D_GONE, W_BROKEN), (30 * H, D_GONE, W_BROKEN)), 6 * D,
         DomainState.VERIFIED, Way.WEB),
        (((0 * H, D_GONE, W_FOUND), (H, D_GONE, W_BROKEN), (30 * H, D_GONE, W_BROKEN)), 7 * D,
         DomainState.LOST, Way.WEB),
        # from a file to a record: then the file may go
        (((0 * H, D_GONE, W_FOUND), (H, D_FOUND, None), (2 * H, D_FOUND, None)), 30 * H, DomainState.VERIFIED, Way.DNS),
        (((0 * H, D_GONE, W_FOUND), (H, D_FOUND, None), (2 * H, D_GONE, W_404), (3 * H, D_GONE, W_BROKEN)), 26 * H,
         DomainState.LOST, Way.DNS),
        # from a record to a file: then the record may go
        (((0 * H, D_FOUND, None), (H, D_GONE, W_FOUND), (2 * H, D_GONE, W_FOUND)), 30 * H, DomainState.VERIFIED,
         Way.WEB),
        (((0 * H, D_FOUND, None), (H, D_GONE, W_404), (2 * H, D_GONE, W_FOUND), (30 * H, D_GONE, W_FOUND)), 30 * H,
         DomainState.VERIFIED, Way.WEB),
        # somebody else's token in TXT ends a file's word
        (((0 * H, D_GONE, W_FOUND), (H, D_OTHER, None), (2 * H, D_OTHER, None)), 25 * H, DomainState.LOST, Way.DNS),
        # neither silence nor a broken server counts between two negatives
        (((0 * H, D_GONE, W_FOUND), (H, D_GONE, W_404), (2 * H, D_SILENT, W_404), (30 * H, D_GONE, W_404)), 30 * H,
         DomainState.LOST, Way.WEB),
    ],
)  # fmt: skip
def test_n13_stale_and_lost_over_a_mixed_history(
    looks: Sequence[tuple[timedelta, Finding, Finding | None]], after: timedelta, state: DomainState, way: Way
) -> None:
    found = domains.standing(seen(*looks), T0 + after)
    assert (found.state, found.way) == (state, way)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (("none", "none"), ""),
        (("none", "silent"), ""),
        (("silent", "silent"), "nobody could say"),
        (("other", "none"), "another token"),
        (("silent", "other"), "another token"),
    ],
)
def test_n13_txt_has_the_last_word(answers: Sequence[str], why: str) -> None:
    said = why_not_web(DOMAIN, [says(what, f"r{number}") for number, what in enumerate(answers)])
    assert (why in said) if why else said == ""
    assert judge([says("other"), says("other", "s")], EXPECTED).otherwise
    assert not judge([says("other"), says("none", "s")], EXPECTED).otherwise


def test_tokens_are_52_letters_and_found_whatever_a_console_left_around_them() -> None:
    assert len(TOKEN) == 52
    for text in (
        domains.record_value(TOKEN),
        f"token={TOKEN.upper()}",
        TOKEN,
        f'"{domains.record_value(TOKEN)}"',
        f'token="{TOKEN}"',
        f'\\"token={TOKEN}\\" expiry=never',
        f"token={TOKEN}; expiry=never",
        f"“{TOKEN}”",
    ):
        assert domains.tokens_of(["v=spf1 -all", text]) == [EXPECTED], text
    for text in (f"xtoken={TOKEN}", f"token={TOKEN}x", f"token={TOKEN[:-1]}", f"x{TOKEN}", f"site={TOKEN}"):
        assert domains.tokens_of([text]) == [], text
    assert EXPECTED not in domains.tokens_of([domains.record_value(OTHER)])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (TOKEN, True),
        (TOKEN.upper(), True),
        (f"{TOKEN}\n", True),
        (f"\r\n  {TOKEN}\t\r\n", True),
        (f"token={TOKEN}", False),
        (f'"{TOKEN}"', False),
        (f"<html>{TOKEN}</html>", False),
        (f"{TOKEN} {TOKEN}", False),
        (f"{TOKEN}\n{OTHER}", False),
        (f"\ufeff{TOKEN}", False),
        (f"{TOKEN[:-1]}1", False),
        ("", False),
    ],
)
def test_n13_the_whole_body_of_a_file_is_the_token(body: str, expected: bool) -> None:
    assert (domains.token_of_file(body.encode()) == EXPECTED) is expected


def test_looks_are_daily_and_hourly_while_stale_or_unreadable_each_give_or_take_a_tenth() -> None:
    daily = seen((0 * H, D_FOUND, None))
    spread = set()
    for number in range(400):
        at = domains.next_look(replace(daily, domain=f"d{number}.example"), T0, D)
        assert at is not None
        assert T0 + 0.9 * D <= at <= T0 + 1.1 * D
        spread.add(at)
    assert len(spread) > 390, "not everybody is asked in one second"
    assert max(spread) - min(spread) > 0.15 * D
    for second in (D_GONE, D_SILENT):
        missed = seen((0 * H, D_FOUND, None), (D, second, None))
        for number in range(50):
            hourly = domains.next_look(replace(missed, domain=f"d{number}.example"), T0 + D, D)
            assert hourly is not None
            assert T0 + D + H <= hourly <= T0 + D + 1.1 * H, "two negatives are an hour apart"
    lost = seen((0 * H, D_FOUND, None), (H, D_GONE, None), (30 * H, D_GONE, None))
    at = domains.next_look(lost, T0 + 30 * H, D)
    assert at is not None
    assert at > T0 + 50 * H
    assert domains.next_look(seen((0 * H, D_GONE, None)), T0, D) is None, "its admin looks"


WHERE = f"_rosterd-challenge.{DOMAIN}"


def test_a_record_in_the_wrong_place_is_named_with_what_to_do() -> None:
    assert wrong_places("eu.acme.example") == (
        "eu.acme.example",
        "_rosterd-challenge.eu.acme.example.eu.acme.example",
        "_rosterd-challenge.eu.acme.example.acme.example",
    )
    nothing = [says("none"), says("none", "s")]
    apex = misplaced(DOMAIN, nothing, {DOMAIN: [says("token")]}, EXPECTED, ())
    assert apex == f"the token stands at {DOMAIN} itself, where it does not count: publish it at {WHERE}"
    twice = misplaced(DOMAIN, nothing, {f"{WHERE}.{DOMAIN}": [says("token")]}, EXPECTED, ())
    assert twice.endswith(f"the zone {DOMAIN} was added twice, enter only _rosterd-challenge as its name")
    below = "_rosterd-challenge.eu.acme.example.acme.example"
    child = misplaced("eu.acme.example", nothing, {below: [says("token")]}, EXPECTED, ())
    assert child.endswith("enter only _rosterd-challenge.eu as its name")
    old = misplaced(DOMAIN, [says("other")], {}, EXPECTED, [domains.token_hash(OTHER)])
    assert "an earlier token" in old
    assert "was not made for this" in misplaced(DOMAIN, [says("other")], {}, EXPECTED, ())
    assert misplaced(DOMAIN, nothing, {DOMAIN: [says("other")]}, EXPECTED, ()) == ""


def test_the_words_of_a_lost_domain_follow_from_how_it_was_lost() -> None:
    gone = seen((0 * H, D_FOUND, None), (H, D_GONE, None), (2 * H, D_GONE, None))
    split = Finding(UNREADABLE, "the resolvers disagree: 9.9.9.9:53 shows the record, 1.1.1.1:53 does not (yet)")
    lied = seen((0 * H, D_FOUND, None), *((day * D, split, None) for day in range(1, 8)))
    file = seen((0 * H, D_GONE, W_FOUND), (H, D_GONE, W_404), (2 * H, D_GONE, W_404))
    words = []
    for evidence in (gone, lied, seen((0 * H, D_FOUND, None)), file):
        gate = decide(evidence, None, T0 + 8 * D)
        assert gate.reasons[0] == "domain_lost"
        words += missing_steps(DOMAIN, gate.reasons[:1], gate.standing)
    assert words == [
        f"{DOMAIN}: its proof is gone: no record (domain_lost) → publish the TXT record {WHERE} again "
        f"(another value: rosterd sso add {DOMAIN}), then: "
        f"rosterd sso verify {DOMAIN}",
        f"{DOMAIN}: its proof could not be seen for 7 days: {split.why} (domain_lost) → see that every resolver can "
        f"read the TXT record {WHERE}, then: rosterd sso verify {DOMAIN}",
        f"{DOMAIN}: its proof could not be seen for 7 days: nobody looked (domain_lost) → see that every resolver can "
        f"read the TXT record {WHERE}, then: rosterd sso verify {DOMAIN}",
        f"{DOMAIN}: its proof is gone: no record; answers 404 (domain_lost) → publish "
        f"https://{DOMAIN}/.well-known/rosterd-challenge again (another value: rosterd sso add {DOMAIN}), "
        f"then: rosterd sso verify {DOMAIN}",
    ]
    failed = decide(DomainEvidence(DOMAIN, T0, D, T0, T0 + 30 * D), None, T0 + 31 * D)
    [said] = missing_steps(DOMAIN, failed.reasons[:1], failed.standing)
    assert said.endswith(f"its token ran out on 2026-04-01T09:00:00Z (domain_unverified) → rosterd sso add {DOMAIN}")


def test_n13_below_a_registered_domain_the_words_name_the_record_though_a_file_proved_it() -> None:
    below = f"www.{DOMAIN}"
    nobody = [says("none"), says("none", "s")]
    why = why_not_web(below, nobody)
    assert why.endswith(f"a file proves no name below {DOMAIN}: publish the same token as the TXT record "
                        f"_rosterd-challenge.{below}")  # fmt: skip
    assert why_not_web("acme.co.uk", nobody) == why_not_web("xn--fa-hia.de", nobody) == ""
    for rented in ("mail.acme.co.uk", "acme.github.io", "a.s3.amazonaws.com"):  # of amazonaws.com, which is Amazon's
        assert why_not_web(rented, nobody)
    before = replace(seen((0 * H, D_GONE, W_FOUND), (H, D_GONE, Finding(UNREADABLE, why))), domain=below)
    assert domains.standing(before, T0 + H).proved, "nothing is taken away at once"
    gate = decide(before, None, T0 + 8 * D)
    [said] = missing_steps(below, gate.reasons[:1], gate.standing)
    assert f"can read the TXT record _rosterd-challenge.{below}, then: rosterd sso verify {below}" in said


def test_n13_a_domain_that_left_the_file_is_frozen_and_stays_proved() -> None:
    gone = replace(seen((0 * H, D_FOUND, None)), undeclared_at=T0 + H)
    gate = decide(gone, None, T0 + 2 * H)
    assert (gate.state, gate.reasons) == (GateState.CLOSED, ("domain_undeclared", "no_connection"))
    assert domains.standing(gone, T0 + 2 * H).proved
    [said] = missing_steps(DOMAIN, ["domain_undeclared"], gate.standing)
    assert f"rosterd sso release {DOMAIN}" in said
