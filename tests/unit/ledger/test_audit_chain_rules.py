"""The pure part of the witness: digests, heads, their text form."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ledger.audit import (
    GENESIS,
    AuditEvent,
    Head,
    event_digest,
    event_digests,
    next_head,
    payload_digest,
    payload_of,
    payloads_of,
    seal_rows,
)


def test_the_payload_is_canonical_and_leaves_out_what_is_not_said() -> None:
    one = AuditEvent("operator:jan", "seat.release", "i1", reason="left", before={"b": 1, "a": "Łódź"})
    assert payload_of(one).decode() == '{"before":{"a":"Łódź","b":1},"reason":"left"}'
    assert payload_of(AuditEvent("operator:jan", "seat.release", "i1")) == b"{}"


def test_digests_are_plain_sha256_that_anybody_can_recompute() -> None:
    assert payload_digest("5a", b"{}") == sha256(b"5a{}").hexdigest()
    assert event_digest(("acme", 1, 0, "a")) == sha256(b'["acme",1,0,"a"]').hexdigest()
    assert next_head(GENESIS, ["d1", "d2"]) == sha256(GENESIS.encode() + b"d1d2").hexdigest()


def test_the_same_payload_has_another_digest_under_another_salt() -> None:
    assert payload_digest("1", b"{}") != payload_digest("2", b"{}")


def test_seals_are_chained() -> None:
    seals = seal_rows([(1, "a"), (2, "b"), (3, "c")], GENESIS, 2)
    assert [(seal["from_seq"], seal["to_seq"]) for seal in seals] == [(1, 2), (3, 3)]
    assert seals[1]["previous_head"] == seals[0]["head"] == next_head(GENESIS, ["a", "b"])


def test_a_head_survives_its_text_form() -> None:
    head = Head("acme:eu", 12, "ab" * 32)
    assert Head.parse(str(head)) == head


@pytest.mark.parametrize("text", ["", "acme", "acme:1", "acme:1:ab", f"acme:x:{'ab' * 32}", f":1:{'ab' * 32}"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="audit head"):
        Head.parse(text)


def test_a1_a_batch_is_encoded_as_its_events_are() -> None:
    events = [AuditEvent("a", "v", f"i{n}", "two\nlines", changes=[("Invite", "", "Łódź")]) for n in range(3)]
    assert payloads_of(events) == [payload_of(event) for event in events]
    rows = [("acme", n, 0, "two\nlines") for n in range(3)]
    assert event_digests(rows) == [event_digest(row) for row in rows]
    assert payloads_of([]) == [] == event_digests([])
