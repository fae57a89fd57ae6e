"""The attacks of sso.md §3, cases 1–14, against real pysaml2 and xmlsec1: each refused, by its step, with its reason.

Mutants are signed anew by a real key wherever the attack allows it, so a refusal is about the mutant and not about a
signature that editing broke.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from lxml import etree

from connector.sso.saml.metadata import Wants, fingerprint, parse
from connector.sso.saml.response import Accepted, Expected, SignInRefused, check_verified, read_response
from connector.sso.saml.service_provider import Peer, ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from ledger.secret import SecretRef
from tests.parts.idp import NS, SAML, SAMLP, Forged, Key, encode, metadata
from tests.parts.saml_mutants import WRAPPINGS, Wrapping

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
IDP = "https://idp.acme.example/metadata"
ORG = "acme"
_DATA = ".//saml:SubjectConfirmationData"


@pytest.fixture(scope="module")
def keys() -> dict[str, Key]:
    """Keys of our identity provider, of an attacker, and one whose certificate expired yesterday."""
    return {
        "ours": Key.make(NOW),
        "attacker": Key.make(NOW),
        "expired": Key.make(NOW, life=timedelta(days=-1)),
    }


@dataclass(frozen=True, slots=True)
class Door:
    """Our side and one connection."""

    provider: ServiceProvider
    peer: Peer
    forged: Forged

    def expected(self, now: datetime = NOW) -> Expected:
        return Expected(
            now,
            self.provider.acs(ORG),
            self.provider.entity_id(ORG),
            IDP,
            self.forged.request_id,
            frozenset({"acme.example"}),
            self.peer.wants.mail_attribute,
            self.peer.wants.response_signed_only,
        )

    async def judge(self, posted: str, now: datetime = NOW) -> Accepted:
        return await self.provider.judge(self.peer, read_response(posted), self.expected(now))

    async def refusal(self, posted: str, now: datetime = NOW) -> tuple[int, str]:
        """Step and reason; fails the test when the response is accepted."""
        with pytest.raises(SignInRefused) as refused:
            await self.judge(posted, now)
        return refused.value.step, refused.value.reason

    def wanting(self, wants: Wants) -> Door:
        return Door(self.provider, replace(self.peer, wants=wants, fingerprint=f"{wants}"), self.forged)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SamlSettings:
    """Our own key, made once."""
    folder = tmp_path_factory.mktemp("saml")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    return SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )


@pytest.fixture(scope="module")
def door(keys: dict[str, Key], settings: SamlSettings) -> Iterator[Door]:
    """One for all: it remembers nobody, which these tests in any order rely on."""
    provider = ServiceProvider("https://rosterd.example", settings, workers=1)
    found = parse(metadata(IDP, keys["ours"], keys["expired"]), NOW)
    peer = Peer(ORG, fingerprint(found, Wants()), found, Wants())
    forged = Forged(keys["ours"], NOW, provider.acs(ORG), provider.entity_id(ORG), IDP, "id-request1")
    yield Door(provider, peer, forged)
    with ThreadPoolExecutor(max_workers=1) as pool:  # pytest-asyncio keeps a loop for this thread
        pool.submit(asyncio.run, provider.close()).result()


async def test_a_right_response_is_accepted_and_says_who(door: Door) -> None:
    accepted = await door.judge(door.forged.but(name_id="Anna.Nowak@ACME.example").post())
    assert accepted.mail.key == "anna.nowak@acme.example"
    assert accepted.subject.by_address, "the subject is nothing but the address"
    assert accepted.assertion_id == "_assertion1"
    assert accepted.algorithm == "rsa-sha256"
    assert accepted.valid_until == NOW + timedelta(minutes=6)  # as long as it could be replayed, and the skew


async def test_both_signed_and_a_mail_attribute(door: Door) -> None:
    door = door.wanting(Wants(mail_attribute="mail"))
    forged = door.forged.but(sign_response=True, name_id="opaque-7", attributes={"mail": ("Zoë@acme.example",)})
    accepted = await door.judge(forged.post())
    assert (accepted.mail.text, accepted.subject.by_address) == ("Zoë@acme.example", False)


async def test_response_signed_only_is_a_setting_of_the_connection(door: Door) -> None:
    forged = door.forged.but(sign_response=True, sign_assertion=False)
    assert await door.refusal(forged.post()) == (3, "unsigned")
    assert (await door.wanting(Wants(response_signed_only=True)).judge(forged.post())).mail.domain == "acme.example"
    assert await door.wanting(Wants(response_signed_only=True)).refusal(door.forged.post()) == (3, "unsigned")


# case 1: signature wrapping ---


@pytest.mark.parametrize("attack", WRAPPINGS)
async def test_case_1_signature_wrapping(door: Door, attack: Wrapping) -> None:
    whole = attack in WRAPPINGS[:2]
    tree = attack(door.forged.but(sign_response=whole).tree())
    assert await door.refusal(encode(tree)) == (2, "assertion_count")


async def test_case_1_duplicate_ids(door: Door) -> None:
    forged = door.forged.but(response_id="_same", assertion_id="_same")
    assert await door.refusal(forged.post()) == (2, "ids")


async def test_case_1_ids_under_another_name(door: Door) -> None:
    def second_id(root: etree._Element) -> None:
        root.find("samlp:Status", NS).set("Id", "_assertion1")

    assert await door.refusal(door.forged.but(before_signing=second_id).post()) == (2, "ids")


async def test_case_1_encrypted_assertion_beside_the_signed_one(door: Door) -> None:
    def add(root: etree._Element) -> None:
        etree.SubElement(root, f"{{{SAML}}}EncryptedAssertion")

    assert await door.refusal(door.forged.but(before_signing=add).post()) == (2, "encrypted_assertion")


async def test_case_1_signature_over_something_else(door: Door) -> None:
    tree = door.forged.tree()
    tree.find("saml:Assertion", NS).set("ID", "_other")
    assert await door.refusal(encode(tree)) == (3, "reference")


async def test_case_1_signature_in_a_strange_place(door: Door) -> None:
    tree = door.forged.tree()
    assertion = tree.find("saml:Assertion", NS)
    assertion.find("saml:Subject", NS).append(assertion.find("ds:Signature", NS))
    assert await door.refusal(encode(tree)) == (3, "signature_place")


async def test_case_1_the_signed_assertion_somewhere_else(door: Door) -> None:
    tree = door.forged.tree()
    extensions = etree.SubElement(tree, f"{{{SAMLP}}}Extensions")
    extensions.append(tree.find("saml:Assertion", NS))
    assert await door.refusal(encode(tree)) == (2, "assertion_place")


@pytest.mark.parametrize(
    ("path", "reason"), [(".//ds:CanonicalizationMethod", "canonicalization"), (".//ds:Transform", "transform")]
)
@pytest.mark.parametrize(
    "algorithm", ["http://www.w3.org/2001/10/xml-exc-c14n#WithComments", "http://www.w3.org/TR/1999/REC-xslt-19991116"]
)
async def test_case_1_other_transforms(door: Door, path: str, reason: str, algorithm: str) -> None:
    tree = door.forged.tree()
    tree.find(path, NS).set("Algorithm", algorithm)
    assert await door.refusal(encode(tree)) == (3, reason)


def test_case_1_what_was_verified_is_what_is_read(door: Door) -> None:
    document = read_response(door.forged.post())
    check_verified(document, "_assertion1", True)
    for verified, signed, reason in (("_other", True, "other_assertion"), ("_assertion1", False, "unsigned")):
        with pytest.raises(SignInRefused) as refused:
            check_verified(document, verified, signed)
        assert refused.value.reason == reason


# case 2: keys of the attacker ---


async def test_case_2_the_certificate_inside_the_document_is_never_trusted(door: Door, keys: dict[str, Key]) -> None:
    assert await door.refusal(door.forged.but(key=keys["attacker"]).post()) == (4, "not_verified")


async def test_case_2_hmac_keyed_with_the_public_certificate(door: Door) -> None:
    tree = door.forged.tree()
    method = tree.find(".//ds:SignatureMethod", NS)
    method.set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
    assert await door.refusal(encode(tree)) == (3, "signature_algorithm")


async def test_case_2_changed_after_signing(door: Door) -> None:
    tree = door.forged.tree()
    tree.find(".//saml:NameID", NS).text = "ceo@acme.example"
    assert await door.refusal(encode(tree)) == (4, "not_verified")


# case 3: XML that expands ---

_BOMB = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
_EXTERNAL = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("prolog", [_BOMB, _EXTERNAL, "<!DOCTYPE r>", "<!ENTITY a 'b'>"])
def test_case_3_doctypes_and_entities(prolog: str) -> None:
    assert _unread(f"{prolog}<r>&b;</r>".encode()) == "doctype"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-7"])
def test_case_3_other_encodings(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE r [<!ENTITY a "a">]><r>&a;</r>'
    assert _unread(text.encode(encoding)) in {"not_utf8", "doctype"}


def test_case_3_a_declared_encoding_other_than_utf8() -> None:
    assert _unread(b'<?xml version="1.0" encoding="ibm037"?><r/>') == "not_utf8"


def _unread(data: bytes) -> str:
    with pytest.raises(SignInRefused) as refused:
        read_response(base64.b64encode(data).decode())
    assert refused.value.step == 1
    return refused.value.reason


# cases 4 and 5: text that reads differently twice ---


@pytest.mark.parametrize(
    ("name_id", "reason"),
    [
        ("admin@acme.example<!--x-->.evil.example", "comment"),
        ("admin@acme.example<?x y?>.evil.example", "instruction"),
        ("<![CDATA[admin@acme.example]]>.evil.example", "cdata"),
    ],
)
async def test_case_4_split_text_is_refused(door: Door, name_id: str, reason: str) -> None:
    assert await door.refusal(door.forged.but(name_id=name_id).post()) == (1, reason)


@pytest.mark.parametrize(
    ("name_id", "reason"),
    [
        ("admin@acme.example&#46;evil&#46;example", "mail_domain"),
        ("admin@acme.example&#0000064;evil.example", "mail"),
        ("admin@acme.example&#10;", ""),
        ("admin&#32;x@acme.example", "mail"),
        ("<saml:b>admin@acme.example</saml:b>", "name_id"),
        ("admin@acme.example<saml:b/>.evil.example", "name_id"),
        ("", "mail"),
    ],
)
async def test_case_4_the_whole_text_counts(door: Door, name_id: str, reason: str) -> None:
    posted = door.forged.but(name_id=name_id).post()
    if reason:
        assert (await door.refusal(posted))[1] in {reason, "not_verified"}
    else:
        assert (await door.judge(posted)).mail.key == "admin@acme.example"


async def test_case_5_comment_in_the_digest(door: Door) -> None:
    tree = door.forged.tree()
    digest = tree.find(".//ds:DigestValue", NS)
    digest.insert(0, etree.Comment(digest.text))
    digest.text = base64.b64encode(hashlib.sha256(b"evil").digest()).decode()
    assert await door.refusal(encode(tree)) == (1, "comment")


async def test_case_5_relative_namespace(door: Door) -> None:
    text = base64.b64decode(door.forged.post()).replace(b"<saml:Subject>", b'<saml:Subject xmlns:x="1">')
    assert await door.refusal(base64.b64encode(text).decode()) == (1, "namespace")


# case 6: unsigned ---


async def test_case_6_unsigned_and_stripped(door: Door) -> None:
    assert await door.refusal(door.forged.but(sign_assertion=False).post()) == (3, "unsigned")
    tree = door.forged.but(sign_response=True).tree()
    assertion = tree.find("saml:Assertion", NS)
    assertion.remove(assertion.find("ds:Signature", NS))
    assert await door.refusal(encode(tree)) == (3, "unsigned")


# cases 7 and 8: another issuer, another organization's people ---


async def test_case_7_assertion_of_another_provider(door: Door) -> None:
    forged = door.forged.but(assertion_issuer="https://idp-b.example/metadata")
    assert await door.refusal(forged.post()) in {(6, "assertion_issuer"), (4, "not_verified")}
    assert await door.refusal(door.forged.but(issuer="https://idp-b.example/metadata").post()) == (2, "response_issuer")


@pytest.mark.parametrize("mail", ["ceo@other.example", "ceo@sub.acme.example", "ceo@acme.example.evil.example"])
async def test_case_8_own_provider_asserts_somebody_else_s_domain(door: Door, mail: str) -> None:
    assert await door.refusal(door.forged.but(name_id=mail).post()) == (11, "mail_domain")


@pytest.mark.parametrize("mail", ["ceo", "ceo@", "a@b@acme.example", "@acme.example", "ceo@acme_.example"])
async def test_case_8_what_is_no_mail_address(door: Door, mail: str) -> None:
    assert await door.refusal(door.forged.but(name_id=mail).post()) == (11, "mail")


async def test_case_8_several_addresses_in_the_attribute(door: Door) -> None:
    door = door.wanting(Wants(mail_attribute="mail"))
    both = {"mail": ("anna@acme.example", "ceo@acme.example")}
    assert await door.refusal(door.forged.but(attributes=both).post()) == (11, "mail_count")
    assert await door.refusal(door.forged.post()) == (11, "mail_count")


def _statement(*attributes: tuple[str, str, str]) -> Callable[[etree._Element], None]:
    """Attributes as (Name, FriendlyName, value); an empty name is left out."""

    def change(root: etree._Element) -> None:
        statement = etree.SubElement(root.find("saml:Assertion", NS), f"{{{SAML}}}AttributeStatement")
        for name, friendly, value in attributes:
            names = {"Name": name, "FriendlyName": friendly}
            attribute = etree.SubElement(statement, f"{{{SAML}}}Attribute", {k: v for k, v in names.items() if v})
            etree.SubElement(attribute, f"{{{SAML}}}AttributeValue").text = value

    return change


_OID = "urn:oid:0.9.2342.19200300.100.1.3"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ([("mail", "", "anna@acme.example"), ("mail", "", "anna@acme.example")], ""),
        ([("mail", "", "anna@acme.example"), ("mail", "", "Anna@ACME.example")], ""),
        ([("Mail", "", "anna@acme.example")], ""),
        ([(_OID, "mail", "anna@acme.example"), ("mail", "", " anna@acme.example ")], ""),
        ([(_OID, "MAIL", "anna@acme.example")], ""),
        ([("mail", "mail", "anna@acme.example")], ""),
        ([("mail", "", "anna@acme.example"), ("Mail", "", "ceo@acme.example")], "mail_count"),
        ([("mail", "", "anna@acme.example"), (_OID, "mail", "ceo@acme.example")], "mail_count"),
        ([("mail", "", "anna@acme.example"), ("mail", "", "anna")], "mail_count"),
        ([("mail", "", "anna@acme.example"), ("mail", "", "")], "mail_count"),
        ([("mail", "", "anna"), ("mail", "", "anna")], "mail"),
        ([("mail2", "", "anna@acme.example")], "mail_count"),
    ],
)
async def test_case_8_one_address_however_often_it_is_named(
    door: Door, attributes: list[tuple[str, str, str]], reason: str
) -> None:
    door = door.wanting(Wants(mail_attribute="mail"))
    posted = door.forged.but(name_id="opaque-7", before_signing=_statement(*attributes)).post()
    if reason:
        assert await door.refusal(posted) == (11, reason)
    else:
        assert (await door.judge(posted)).mail.key == "anna@acme.example"


# case 9: not for us ---


def _drop(path: str, attribute: str = "") -> Callable[[etree._Element], None]:
    def change(root: etree._Element) -> None:
        node = root if path == "." else root.find(path, NS)
        if attribute:
            del node.attrib[attribute]
        else:
            node.getparent().remove(node)

    return change


@pytest.mark.parametrize(
    ("dropped", "step", "reason"),
    [
        (_drop(".", "Destination"), 2, "destination"),
        (_drop(".", "InResponseTo"), 2, "unsolicited"),
        (_drop(".", "IssueInstant"), 2, "lifetime"),
        (_drop("saml:Issuer"), 2, "response_issuer"),
        (_drop("samlp:Status"), 2, "status"),
        (_drop("saml:Assertion"), 2, "assertion_count"),
        (_drop(".//saml:Conditions"), 7, "conditions"),
        (_drop(".//saml:Conditions", "NotOnOrAfter"), 7, "lifetime"),
        (_drop(".//saml:AudienceRestriction"), 7, "audience"),
        (_drop(".//saml:Subject"), 8, "confirmation_count"),
        (_drop(".//saml:SubjectConfirmation"), 8, "confirmation_count"),
        (_drop(_DATA), 8, "confirmation_method"),
        (_drop(_DATA, "Recipient"), 8, "recipient"),
        (_drop(_DATA, "NotOnOrAfter"), 8, "lifetime"),
        (_drop(_DATA, "InResponseTo"), 8, "confirmation_request"),
        (_drop(".//saml:AuthnStatement"), 9, "authentication_count"),
        (_drop(".//saml:NameID"), 11, "name_id"),
    ],
)
async def test_case_9_missing_parts(
    door: Door, dropped: Callable[[etree._Element], None], step: int, reason: str
) -> None:
    signed = reason != "assertion_count"
    refusal = await door.refusal(door.forged.but(before_signing=dropped, sign_assertion=signed).post())
    assert refusal == (step, reason)


@pytest.mark.parametrize(
    ("change", "step", "reason"),
    [
        ({"destination": "https://evil.example/acs"}, 2, "destination"),
        ({"recipient": "https://evil.example/acs"}, 8, "recipient"),
        ({"recipient": "https://rosterd.example/sso/acme/metadata"}, 8, "recipient"),
        ({"audience": "https://other.example"}, 7, "audience"),
    ],
)
async def test_case_9_addressed_to_somebody_else(door: Door, change: dict[str, str], step: int, reason: str) -> None:
    assert await door.refusal(door.forged.but(**change).post()) == (step, reason)


@pytest.mark.parametrize("change", [{"audience": "https://other.example"}, {"recipient": "https://evil.example/acs"}])
@pytest.mark.parametrize("whole", [False, True])
async def test_case_9_of_an_unverified_response_nothing_is_told(
    door: Door, keys: dict[str, Key], change: dict[str, str], whole: bool
) -> None:
    """Whatever else is wrong with it: a signature that is not the provider's is the only thing that is said."""
    forged = door.forged.but(key=keys["attacker"], **change)
    door = door.wanting(Wants(response_signed_only=whole))
    refusal = await door.refusal(forged.but(sign_response=whole, sign_assertion=not whole).post())
    assert refusal == (4, "not_verified")
    tree = forged.but(key=keys["ours"], sign_response=True).tree()  # right, and then changed outside the assertion
    tree.find("samlp:Status", NS).set("Extra", "x")
    assert await door.refusal(encode(tree)) == (4, "not_verified")


async def test_case_9_two_keys_and_the_wrong_audience(door: Door, keys: dict[str, Key]) -> None:
    found = parse(metadata(IDP, keys["attacker"], keys["ours"]), NOW)
    both = Door(door.provider, replace(door.peer, metadata=found, fingerprint="both"), door.forged)
    assert await both.refusal(both.forged.but(audience="https://other.example").post()) == (7, "audience")


async def test_case_9_one_of_two_audience_restrictions_is_not_ours(door: Door) -> None:
    def add(root: etree._Element) -> None:
        conditions = root.find(".//saml:Conditions", NS)
        restriction = etree.SubElement(conditions, f"{{{SAML}}}AudienceRestriction")
        etree.SubElement(restriction, f"{{{SAML}}}Audience").text = "https://other.example"

    assert await door.refusal(door.forged.but(before_signing=add).post()) == (7, "audience")


# case 10: another request (replay and second use: test_sign_in_once.py) ---


async def test_case_10_answers_another_request(door: Door) -> None:
    posted = door.forged.but(request_id="id-other").post()
    assert await door.refusal(posted) == (2, "wrong_request")


# case 11: times ---


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conditions_life": timedelta(seconds=-60)}, "conditions_expired"),
        ({"conditions_life": timedelta(seconds=-59)}, ""),
        ({"not_before": timedelta(seconds=61)}, "conditions_not_yet"),
        ({"not_before": timedelta(seconds=60)}, ""),
        ({"conditions_life": timedelta(hours=24)}, ""),
        ({"conditions_life": timedelta(hours=24, seconds=1)}, "conditions_too_long"),
        ({"conditions_life": timedelta(days=25567)}, "conditions_too_long"),
        ({"confirmation_life": timedelta(seconds=-60)}, "confirmation_expired"),
        ({"confirmation_life": timedelta(seconds=-59)}, ""),
        ({"confirmation_life": timedelta(hours=1)}, ""),
        ({"confirmation_life": timedelta(hours=1, seconds=1)}, "confirmation_too_long"),
        ({"authenticated": timedelta(seconds=60)}, ""),
        ({"authenticated": timedelta(seconds=61)}, "authentication_future"),
    ],
)
async def test_case_11_times_to_the_second(door: Door, change: dict[str, timedelta], reason: str) -> None:
    posted = door.forged.but(**change).post()
    if reason:
        assert (await door.refusal(posted))[1] == reason
    else:
        assert (await door.judge(posted)).mail.domain == "acme.example"


async def test_case_11_issued_in_the_future_and_ended_sessions(door: Door) -> None:
    def set_(path: str, name: str, at: datetime) -> Callable[[etree._Element], None]:
        def change(root: etree._Element) -> None:
            (root if path == "." else root.find(path, NS)).set(name, at.strftime("%Y-%m-%dT%H:%M:%SZ"))

        return change

    soon = NOW + timedelta(minutes=2)
    for path, name, at, reason in (
        (".", "IssueInstant", soon, "issued_in_future"),
        ("saml:Assertion", "IssueInstant", soon, "issued_in_future"),
        (".//saml:AuthnStatement", "SessionNotOnOrAfter", NOW - timedelta(minutes=1), "session_ended"),
        (_DATA, "NotBefore", NOW, "confirmation_not_before"),
    ):
        assert (await door.refusal(door.forged.but(before_signing=set_(path, name, at)).post()))[1] == reason


@pytest.mark.parametrize("text", ["2026-03-02T09:00:00", "yesterday", "2026-W10-1T09:00:00Z", ""])
async def test_case_11_instants_without_a_zone_or_sense(door: Door, text: str) -> None:
    def change(root: etree._Element) -> None:
        root.set("IssueInstant", text)

    assert await door.refusal(door.forged.but(before_signing=change).post()) == (2, "instant")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00Z"])
@pytest.mark.parametrize(
    ("path", "name", "reason"),
    [
        (".", "IssueInstant", "instant"),
        ("saml:Assertion", "IssueInstant", "instant"),
        (".//saml:Conditions", "NotBefore", "instant"),
        (".//saml:Conditions", "NotOnOrAfter", "instant"),
        (_DATA, "NotOnOrAfter", "instant"),
        (".//saml:AuthnStatement", "AuthnInstant", "instant"),
        (".//saml:AuthnStatement", "SessionNotOnOrAfter", "instant"),
    ],
)
async def test_case_11_instants_over_the_edge_of_time(door: Door, path: str, name: str, reason: str, text: str) -> None:
    def change(root: etree._Element) -> None:
        (root if path == "." else root.find(path, NS)).set(name, text)

    assert (await door.refusal(door.forged.but(before_signing=change).post()))[1] in {reason, "not_verified"}


@pytest.mark.parametrize(
    ("path", "name", "text", "reason"),
    [
        (".", "IssueInstant", "9999-12-31T23:59:59Z", "issued_in_future"),
        (".", "IssueInstant", "0001-01-01T00:00:00Z", "content"),
        (".//saml:Conditions", "NotOnOrAfter", "9999-12-31T23:59:59Z", "conditions_too_long"),
        (".//saml:Conditions", "NotBefore", "0001-01-01T00:00:00Z", ""),
        (_DATA, "NotOnOrAfter", "9999-12-31T23:59:59Z", "confirmation_too_long"),
        (".//saml:AuthnStatement", "AuthnInstant", "9999-12-31T23:59:59Z", "authentication_future"),
        (".//saml:AuthnStatement", "SessionNotOnOrAfter", "9999-12-31T23:59:59Z", ""),
    ],
)
async def test_case_11_the_first_and_last_instants_of_time(
    door: Door, path: str, name: str, text: str, reason: str
) -> None:
    def change(root: etree._Element) -> None:
        (root if path == "." else root.find(path, NS)).set(name, text)

    posted = door.forged.but(before_signing=change).post()
    if reason:
        assert (await door.refusal(posted))[1] in {reason, "not_verified"}
    else:
        assert (await door.judge(posted)).mail.key == "anna@acme.example"


@pytest.mark.parametrize("version", ["1.1", "2.1", "", "2.0 "])
async def test_case_14_an_assertion_of_another_version(door: Door, version: str) -> None:
    def change(root: etree._Element) -> None:
        root.find("saml:Assertion", NS).set("Version", version)

    refusal = await door.refusal(door.forged.but(before_signing=change).post())
    assert refusal in {(6, "assertion_version"), (4, "not_verified")}


# case 12: weak algorithms, expired certificates ---


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"signature": "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}, "signature_algorithm"),
        ({"digest": "http://www.w3.org/2000/09/xmldsig#sha1"}, "digest_algorithm"),
    ],
)
async def test_case_12_sha1(door: Door, change: dict[str, str], reason: str) -> None:
    assert await door.refusal(door.forged.but(**change).post()) == (3, reason)


@pytest.mark.parametrize("size", ["384", "512"])
async def test_case_12_stronger_algorithms_are_fine(door: Door, size: str) -> None:
    more = "http://www.w3.org/2001/04/xmldsig-more#"
    digest = f"{more}sha384" if size == "384" else "http://www.w3.org/2001/04/xmlenc#sha512"
    forged = door.forged.but(signature=f"{more}rsa-sha{size}", digest=digest)
    assert (await door.judge(forged.post())).algorithm == f"rsa-sha{size}"


async def test_case_12_certificate_that_expired_yesterday(door: Door, keys: dict[str, Key]) -> None:
    assert await door.refusal(door.forged.but(key=keys["expired"]).post()) == (4, "not_verified")


async def test_case_12_certificate_that_expires_while_the_client_is_cached(door: Door, keys: dict[str, Key]) -> None:
    assert (await door.judge(door.forged.post())).mail.domain == "acme.example"
    after = NOW + timedelta(days=366)
    assert await door.refusal(door.forged.but(now=after).post(), after) == (4, "not_verified")


async def test_case_16_old_and_new_certificate_both_work(keys: dict[str, Key], door: Door) -> None:
    found = parse(metadata(IDP, keys["attacker"], keys["ours"]), NOW)
    both = Door(door.provider, replace(door.peer, metadata=found, fingerprint="both"), door.forged)
    for key in (keys["ours"], keys["attacker"]):
        assert (await both.judge(both.forged.but(key=key).post())).mail.domain == "acme.example"


# case 13: confirmation methods ---


@pytest.mark.parametrize("method", ["sender-vouches", "holder-of-key"])
async def test_case_13_other_confirmation_methods(door: Door, method: str) -> None:
    posted = door.forged.but(method=f"urn:oasis:names:tc:SAML:2.0:cm:{method}").post()
    assert await door.refusal(posted) == (8, "confirmation_method")


async def test_case_13_two_confirmations(door: Door) -> None:
    def twice(root: etree._Element) -> None:
        confirmation = root.find(".//saml:SubjectConfirmation", NS)
        confirmation.addnext(copy.deepcopy(confirmation))

    assert await door.refusal(door.forged.but(before_signing=twice).post()) == (8, "confirmation_count")


# case 14: junk ---


async def test_case_14_status_is_not_success(door: Door) -> None:
    forged = door.forged.but(status="urn:oasis:names:tc:SAML:2.0:status:Responder")
    assert await door.refusal(forged.post()) == (2, "status")


@pytest.mark.parametrize(
    ("posted", "reason"),
    [
        ("", "malformed"),
        ("%%%", "not_base64"),
        ("YWJj", "malformed"),
        ("żółw", "not_base64"),
        ("A" * 350_001, "too_large"),
        (base64.b64encode(b"<a>" * 20_000).decode(), "too_deep"),
        (base64.b64encode(b"<a>" + b"<b/>" * 60_000 + b"</a>").decode(), "too_many_elements"),
        (base64.b64encode(b"<a").decode(), "malformed"),
        (base64.b64encode(b"\xff\xff").decode(), "not_utf8"),
        (base64.b64encode(b"<a>\x00</a>").decode(), "not_utf8"),
    ],
)
def test_case_14_junk(posted: str, reason: str) -> None:
    with pytest.raises(SignInRefused) as refused:
        read_response(posted)
    assert (refused.value.step, refused.value.reason) == (1, reason)


@pytest.mark.parametrize("text", ["<Response/>", f'<x:Response xmlns:x="{SAMLP}" Version="1.1"/>', "<a><b/></a>"])
async def test_case_14_other_documents(door: Door, text: str) -> None:
    assert await door.refusal(base64.b64encode(text.encode()).decode()) == (2, "not_a_response")


async def test_case_14_signature_without_contents(door: Door) -> None:
    tree = door.forged.tree()
    signature = tree.find(".//ds:Signature", NS)
    for child in list(signature):
        signature.remove(child)
    assert await door.refusal(encode(tree)) == (3, "signature_shape")
