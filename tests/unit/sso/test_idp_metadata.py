"""Metadata of identity providers: understood strictly, every fault at once, fingerprinted (sso.md §1, §2, §5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape

import pytest

from connector.sso.saml.metadata import (
    MOST_CERTIFICATES,
    REDIRECT,
    Wants,
    clean_copy,
    fingerprint,
    parse,
    parse_instant,
)
from ledger.errors import BadInput, ManyErrors
from tests.parts.idp import Key, metadata

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
IDP = "https://idp.acme.example/metadata"


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.make(NOW)


@pytest.fixture(scope="module")
def expired() -> Key:
    return Key.make(NOW, life=timedelta(days=-1))


def test_what_is_understood(key: Key) -> None:
    found = parse(metadata(IDP, key), NOW)
    assert (found.entity_id, found.binding, found.services[REDIRECT]) == (IDP, REDIRECT, "https://idp.acme.example/sso")
    assert found.certificates[0].value.not_after == NOW + timedelta(days=365)
    assert found.warnings == ()


def test_every_fault_at_once(expired: Key) -> None:
    weak = Key.make(NOW, bits=1024)
    text = metadata(IDP, expired, weak, sso="http://idp.acme.example/sso", extra='validUntil="2026-03-02T08:00:00Z"')
    with pytest.raises(ManyErrors) as errors:
        parse(text, NOW, entity_id="https://other")
    said = str(errors.value)
    for part in ("must be https", "RSA 1024", "validUntil has passed", "names 'https://other'"):
        assert part in said


@pytest.mark.parametrize("sso", ["ftp://x/", "https://u:p@x/", "javascript:alert(1)", "https://", "http://127.0.0.1/"])
@pytest.mark.parametrize("binding", ["HTTP-Redirect", "HTTP-POST"])
def test_addresses_that_are_refused(key: Key, binding: str, sso: str) -> None:
    with pytest.raises(ManyErrors, match="SingleSignOnService"):
        parse(metadata(IDP, key, sso=sso).replace(b"HTTP-Redirect", binding.encode()), NOW)


@pytest.mark.parametrize(
    "more",
    ['"><script>alert(1)</script>', "<", "\\@evil.example/", " x", "\u00e4", "\u202e", "%", "%zz", "`", "{x}"],
)
def test_an_address_holds_nothing_but_characters_of_addresses(key: Key, more: str) -> None:
    """What one program reads as markup, or drops, another follows (RFC 3986)."""
    with pytest.raises(ManyErrors, match="RFC 3986"):
        parse(metadata(IDP, key, sso=escape(f"https://idp.acme.example/sso{more}")), NOW)


def test_every_character_of_an_address_is_taken(key: Key) -> None:
    sso = "https://idp.acme.example:8443/a-._~!$&'()*+,;=:@%2F[1]/?b=c&d=/?"
    assert parse(metadata(IDP, key, sso=escape(sso)), NOW).services[REDIRECT] == sso


@pytest.mark.parametrize(
    ("entity_id", "said"),
    [
        ("https://x\u009b31m", "cannot be shown"),
        ("https://x\u202eevil", "cannot be shown"),
        ("urn:" + "x" * 1021, "longer than 1024"),
        ("urn:" + "\u4e00" * 400, "longer than 1024"),  # by bytes: it is part of keys in the database
    ],
)
def test_an_entity_id_can_be_shown_and_kept(key: Key, entity_id: str, said: str) -> None:
    with pytest.raises(ManyErrors, match=said) as errors:
        parse(metadata(entity_id, key), NOW)
    assert str(errors.value).replace("\n", "").isprintable()
    assert parse(metadata("urn:" + "x" * 1020, key), NOW).entity_id


def test_http_only_on_loopback_and_only_when_allowed(key: Key) -> None:
    assert parse(metadata(IDP, key, sso="http://127.0.0.1:9/sso"), NOW, allow_http_on_loopback=True)
    with pytest.raises(ManyErrors):
        parse(metadata(IDP, key, sso="http://idp.acme.example/sso"), NOW, allow_http_on_loopback=True)


def test_certificates_that_cannot_be_used(key: Key, expired: Key) -> None:
    with pytest.raises(ManyErrors, match="it has expired"):
        parse(metadata(IDP, expired), NOW)
    with pytest.raises(ManyErrors, match="there is no signing certificate"):
        parse(metadata(IDP), NOW)
    with pytest.raises(ManyErrors, match="cannot be read"):
        parse(metadata(IDP, key).replace(key.base64.encode(), b"AAAA"), NOW)


def test_an_expired_certificate_is_stripped_and_told(key: Key, expired: Key) -> None:
    found = parse(metadata(IDP, expired, key), NOW)
    assert found.warnings == (
        "signing certificate 1 of 2 (CN=forger, until 2026-03-01): it has expired; it is left out",
    )
    copy = clean_copy(found, NOW)
    assert key.base64 in copy
    assert expired.base64 not in copy


def test_more_certificates_than_any_provider_has_are_refused(key: Key) -> None:
    """Each costs xmlsec1 once, for whatever an anonymous posts."""
    more = [Key.make(NOW) for _ in range(MOST_CERTIFICATES)]
    assert len(parse(metadata(IDP, *more), NOW).certificates) == MOST_CERTIFICATES
    with pytest.raises(ManyErrors, match="11 signing certificates can be used, at most 10"):
        parse(metadata(IDP, key, *more), NOW)


def test_encryption_certificates_do_not_count_and_unnamed_use_does(key: Key) -> None:
    with pytest.raises(ManyErrors, match="there is no signing certificate"):
        parse(metadata(IDP, key).replace(b'use="signing"', b'use="encryption"'), NOW)
    assert len(parse(metadata(IDP, key).replace(b' use="signing"', b""), NOW).certificates) == 1


@pytest.mark.parametrize(
    "text",
    [b"", b"<a/>", b"not xml", b"<!DOCTYPE a><a/>", b'<?xml version="1.0" encoding="utf-16"?><a/>', b"\xff\xfe<\x00"],
)
def test_what_is_no_metadata(text: bytes) -> None:
    with pytest.raises(BadInput):
        parse(text, NOW)


def test_exactly_one_identity_provider(key: Key) -> None:
    one = metadata(IDP, key).decode()
    name = 'xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"'
    assert parse(f"<md:EntitiesDescriptor {name}>{one}</md:EntitiesDescriptor>".encode(), NOW).entity_id == IDP
    with pytest.raises(BadInput, match="2 identity providers"):
        parse(f"<md:EntitiesDescriptor {name}>{one}{one}</md:EntitiesDescriptor>".encode(), NOW)
    with pytest.raises(BadInput, match="0 identity providers"):
        parse(f"<md:EntitiesDescriptor {name}/>".encode(), NOW)


def test_n1_the_fingerprint_covers_what_a_test_proves_and_no_certificate(key: Key, expired: Key) -> None:
    found = parse(metadata(IDP, key), NOW)
    mark = fingerprint(found, Wants())
    ends = metadata(IDP, key, Key.make(NOW), extra='validUntil="2026-04-01T00:00:00Z"')
    for text in (
        metadata(IDP, key) + b"<!-- note -->",
        metadata(IDP, key, expired),
        metadata(IDP, Key.make(NOW)),
        ends,
    ):
        assert fingerprint(parse(text, NOW), Wants()) == mark
    others = [
        fingerprint(found, Wants(mail_attribute="mail")),
        fingerprint(found, Wants(response_signed_only=True)),
        fingerprint(parse(metadata(IDP, key, sso="https://other.example/sso"), NOW), Wants()),
        fingerprint(replace(found, entity_id="https://other"), Wants()),
        fingerprint(replace(found, name_id_formats=("urn:x",)), Wants()),
        fingerprint(replace(found, wants_signed_requests=True), Wants()),
    ]
    assert len({mark, *others}) == 7


def test_one_bad_certificate_does_not_refuse_a_good_one(key: Key, expired: Key) -> None:
    weak = Key.make(NOW, bits=1024)
    text = metadata(IDP, weak, expired, key).replace(
        b"<md:SingleSignOnService",
        b"<md:KeyDescriptor><ds:KeyInfo><ds:X509Data><ds:X509Certificate>AAAA</ds:X509Certificate></ds:X509Data>"
        b"</ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService",
    )
    found = parse(text, NOW)
    assert [one.base64 for one in found.certificates] == [key.base64]
    assert clean_copy(found, NOW).count("X509Certificate>") == 2
    said = "\n".join(found.warnings)
    for part in ("1 of 4 (CN=forger", "RSA 1024", "2 of 4 (CN=forger, until 2026-03-01): it has", "4 of 4 cannot be"):
        assert part in said, said


def test_with_no_good_certificate_every_reason_is_told(expired: Key) -> None:
    with pytest.raises(ManyErrors) as errors:
        parse(metadata(IDP, Key.make(NOW, bits=1024), expired), NOW)
    assert "RSA 1024" in str(errors.value)
    assert "it has expired" in str(errors.value)


def test_a_certificate_of_tomorrow_alone_is_refused_and_beside_another_kept(key: Key) -> None:
    tomorrow = Key.make(NOW + timedelta(days=401))
    with pytest.raises(ManyErrors, match="not valid yet"):
        parse(metadata(IDP, tomorrow), NOW)
    assert len(parse(metadata(IDP, key, tomorrow), NOW).certificates) == 2


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2026-03-02T09:00:00Z", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("2026-03-02T09:00:00.123456789+02:00", datetime(2026, 3, 2, 7, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-02T24:00:00Z", datetime(2026, 3, 3, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59+14:00", datetime(9999, 12, 31, 9, 59, 59, tzinfo=UTC)),
        ("9999-12-31T23:59:59-14:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("9999-12-31T24:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("0000-01-01T00:00:00Z", None),
        ("2026-03-02T23:59:60Z", None),  # a leap second
        ("2026-03-02T24:00:01Z", None),
        ("2026-03-02T24:00:00.5Z", None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-03-02T09:00:00", None),
        ("2026-03-02T09:00:00+99:00", None),
        ("٢٠٢٦-03-02T09:00:00Z", None),
        ("12026-03-02T09:00:00Z", None),
        ("", None),
    ],
)
def test_instants_at_the_edges_of_time(text: str, right: datetime | None) -> None:
    if right is None:
        with pytest.raises(ValueError, match="is not an instant"):
            parse_instant(text)
    else:
        assert parse_instant(text) == right


def test_a_valid_until_beyond_the_calendar_is_a_fault_of_the_metadata(key: Key) -> None:
    with pytest.raises(ManyErrors, match="is not an instant"):
        parse(metadata(IDP, key, extra='validUntil="9999-12-31T23:59:59-01:00"'), NOW)
