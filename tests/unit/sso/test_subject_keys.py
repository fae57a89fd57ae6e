"""N3: two assertions are about the same subject exactly when the rule says so; a table of pairs."""

from __future__ import annotations

import hashlib

import pytest

from connector.sso.saml.subject import (
    ON_MAIL_FOR_TRANSIENT,
    PERSISTENT,
    TRANSIENT,
    NameId,
    NoSubject,
    Subject,
    SubjectKind,
    SubjectPolicy,
    decide,
)
from ledger.identity import Email

IDP, OURS = "https://idp.acme.example/metadata", "https://rosterd.example/sso/acme/metadata"
MAIL = "Zoë.Nowak@acme.example"
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
ADDRESS = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
SUBJECT_ID = "urn:oasis:names:tc:SAML:attribute:subject-id"
ENTRA = "http://schemas.microsoft.com/identity/claims/objectidentifier"
ANY, FOLDED = SubjectPolicy(), SubjectPolicy(fold_case=True)
ATTRIBUTE, OASIS = SubjectPolicy(ENTRA), SubjectPolicy(SUBJECT_ID)


def subject(
    name: NameId, given: tuple[str, ...] = (), mail: str = MAIL, policy: SubjectPolicy = ANY, issuer: str = IDP
) -> Subject:
    return decide(issuer, OURS, name, given, Email.parse(mail), policy)


@pytest.mark.parametrize(
    ("name", "given", "policy", "kind"),
    [
        (NameId(MAIL, ADDRESS), ("7",), ATTRIBUTE, SubjectKind.ATTRIBUTE),
        (NameId("_r", TRANSIENT), ("7",), ATTRIBUTE, SubjectKind.ATTRIBUTE),
        (NameId("g7f", PERSISTENT), (), ANY, SubjectKind.PERSISTENT),
        (NameId("zoë.NOWAK@ACME.example", PERSISTENT), (), ANY, SubjectKind.MAIL),
        (NameId(MAIL, ADDRESS), (), ANY, SubjectKind.MAIL),
        (NameId(MAIL), (), ANY, SubjectKind.MAIL),
        (NameId("_r1", TRANSIENT), (), ANY, SubjectKind.MAIL),
        (NameId("ACME\\zoe", UNSPECIFIED), (), ANY, SubjectKind.OTHER),
        (NameId("zoe@acme.onmicrosoft.example", ADDRESS), (), ANY, SubjectKind.OTHER),
        (NameId("zoe"), (), FOLDED, SubjectKind.OTHER),
    ],
)
def test_n3_the_first_that_applies(
    name: NameId, given: tuple[str, ...], policy: SubjectPolicy, kind: SubjectKind
) -> None:
    found = subject(name, given, policy=policy)
    assert (found.kind, found.by_address) == (kind, kind is SubjectKind.MAIL)
    assert found.warning == (ON_MAIL_FOR_TRANSIENT if name.format == TRANSIENT and not policy.attribute else "")


SAME = [
    (subject(NameId(MAIL, ADDRESS)), subject(NameId(MAIL.upper(), UNSPECIFIED))),
    (subject(NameId(MAIL, ADDRESS)), subject(NameId("_r2", TRANSIENT))),
    (subject(NameId("Zoe\u0308.Nowak@acme.example")), subject(NameId(MAIL, PERSISTENT))),
    (subject(NameId("zoe@faß.example"), mail="zoe@faß.example"),
     subject(NameId("zoe@xn--fa-hia.example"), mail="zoe@xn--fa-hia.example")),
    (subject(NameId("g7", PERSISTENT)), subject(NameId("g7", PERSISTENT, IDP, OURS))),
    (subject(NameId("zoe", UNSPECIFIED)), subject(NameId(" zoe\n"))),
    (subject(NameId("zoe"), policy=FOLDED), subject(NameId("ZOE"), policy=FOLDED)),
    (subject(NameId("zo\u00eb"), policy=FOLDED), subject(NameId("ZOE\u0308"), policy=FOLDED)),
    (subject(NameId("a"), ("7", "7 "), policy=ATTRIBUTE), subject(NameId("b"), ("7",), policy=ATTRIBUTE)),
    (subject(NameId("a"), ("Q@x",), policy=OASIS), subject(NameId("a"), ("q@X", "Q@X"), policy=OASIS)),
]  # fmt: skip

DIFFERENT = [
    (subject(NameId("g7", PERSISTENT)), subject(NameId("G7", PERSISTENT))),
    (subject(NameId("g7", PERSISTENT)), subject(NameId("g7", PERSISTENT, "https://another"))),
    (subject(NameId("g7", PERSISTENT)), subject(NameId("g7", PERSISTENT, "", "https://another"))),
    (subject(NameId("g7", PERSISTENT, "https://another")), subject(NameId("g7", PERSISTENT, "", "https://another"))),
    (subject(NameId("g7", PERSISTENT)), subject(NameId("g7"))),
    (subject(NameId("zoe")), subject(NameId("ZOE"))),
    (subject(NameId("wei\u00df"), policy=FOLDED), subject(NameId("weiss"), policy=FOLDED)),
    (subject(NameId("\u212aate"), policy=FOLDED), subject(NameId("kate"), policy=FOLDED)),
    (subject(NameId("a"), ("\u017fam@x",), policy=OASIS), subject(NameId("a"), ("sam@x",), policy=OASIS)),
    (subject(NameId("zoe")), subject(NameId("zoe"), issuer="https://idp.other.example")),
    (subject(NameId("a"), ("QQ==",), policy=ATTRIBUTE), subject(NameId("a"), ("qq==",), policy=ATTRIBUTE)),
    (subject(NameId("a"), ("7",), policy=ATTRIBUTE), subject(NameId("a"), ("7",), policy=SubjectPolicy("number"))),
    (subject(NameId(MAIL)), subject(NameId("bo@acme.example"), mail="bo@acme.example")),
    (
        subject(NameId("wei\u00df@x.example"), mail="weiss@x.example"),
        subject(NameId("weiss@x.example"), mail="weiss@x.example"),
    ),
    (
        subject(NameId("\u212aate@x.example"), mail="kate@x.example"),
        subject(NameId("kate@x.example"), mail="kate@x.example"),
    ),
    (subject(NameId("x"), ("zoë.nowak@acme.example",), policy=ATTRIBUTE), subject(NameId(MAIL))),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_n3_the_same_subject(one: Subject, other: Subject) -> None:
    assert one.key == other.key


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_n3_another_subject(one: Subject, other: Subject) -> None:
    assert one.key != other.key


@pytest.mark.parametrize(
    ("given", "reason"),
    [((), "subject_attribute_missing"), (("", " "), "subject_attribute_missing"),
     (("7", "8"), "subject_attribute_several"), (("7", ""), "subject_attribute_several")],
)  # fmt: skip
def test_n3_an_attribute_that_does_not_say_who_is_refused_in_words(given: tuple[str, ...], reason: str) -> None:
    with pytest.raises(NoSubject, match="subject_attribute") as refused:
        subject(NameId(MAIL), given, policy=ATTRIBUTE)
    assert refused.value.reason == reason
    assert not {"7", "8"} & set(str(refused.value).split())


def test_n3_the_key_of_before_is_over_the_name_as_it_came() -> None:
    def before(text: str) -> str:
        return hashlib.sha256(f"{IDP}\n{text}".encode()).hexdigest()

    shouted = subject(NameId(MAIL.upper()))
    assert set(shouted.earlier) == {before(MAIL.upper()), before(MAIL), before(Email.parse(MAIL).key)}
    assert shouted.earlier_by_address
    opaque = subject(NameId("g7", PERSISTENT))
    assert (opaque.earlier, opaque.earlier_by_address) == ((before("g7"),), False)
