"""Metadata of identity providers: understood strictly, every fault at once, fingerprinted (sso.md §1, §2, §5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connector.sso.saml.metadata import REDIRECT, Wants, clean_copy, fingerprint, parse
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
def test_addresses_that_are_refused(key: Key, sso: str) -> None:
    with pytest.raises(ManyErrors, match="SingleSignOnService"):
        parse(metadata(IDP, key, sso=sso), NOW)


def test_http_only_on_loopback_and_only_when_allowed(key: Key) -> None:
    assert parse(metadata(IDP, key, sso="http://127.0.0.1:9/sso"), NOW, allow_http_on_loopback=True)
    with pytest.raises(ManyErrors):
        parse(metadata(IDP, key, sso="http://idp.acme.example/sso"), NOW, allow_http_on_loopback=True)


def test_certificates_that_cannot_be_used(key: Key, expired: Key) -> None:
    with pytest.raises(ManyErrors, match="every signing certificate has expired"):
        parse(metadata(IDP, expired), NOW)
    with pytest.raises(ManyErrors, match="there is no signing certificate"):
        parse(metadata(IDP), NOW)
    with pytest.raises(ManyErrors, match="cannot be read"):
        parse(metadata(IDP, key).replace(key.base64.encode(), b"AAAA"), NOW)


def test_an_expired_certificate_is_stripped_and_told(key: Key, expired: Key) -> None:
    found = parse(metadata(IDP, expired, key), NOW)
    assert found.warnings == ("1 signing certificate(s) have expired and are not trusted",)
    copy = clean_copy(found, NOW)
    assert key.base64 in copy
    assert expired.base64 not in copy


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


def test_the_fingerprint_covers_what_a_test_proves(key: Key, expired: Key) -> None:
    found = parse(metadata(IDP, key), NOW)
    mark = fingerprint(found, Wants())
    assert fingerprint(parse(metadata(IDP, key) + b"<!-- note -->", NOW), Wants()) == mark
    others = [
        fingerprint(found, Wants(mail_attribute="mail")),
        fingerprint(found, Wants(response_signed_only=True)),
        fingerprint(parse(metadata(IDP, key, expired), NOW), Wants()),
        fingerprint(parse(metadata(IDP, key, sso="https://other.example/sso"), NOW), Wants()),
        fingerprint(replace(found, entity_id="https://other"), Wants()),
    ]
    assert len({mark, *others}) == 6
