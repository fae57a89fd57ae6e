"""Entries to people (D5, D7, D8, D14)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.directory.base import Entry
from connector.directory.mapping import AttributeRules, Person, Unmappable, anchor_text, fingerprint, map_entry
from connector.directory.settings import LdifSettings

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def rules(**settings: object) -> AttributeRules:
    return AttributeRules.from_settings(LdifSettings.model_validate({"id": "corp", "file": "x.ldif", **settings}))


def entry(**attributes: object) -> Entry:
    base = {"mail": b"anna@acme.example", "givenname": b"Anna", "sn": "Łoś".encode(), "employeenumber": b"7"}
    merged = {name.replace("__", ";").replace("_", "-"): value for name, value in {**base, **attributes}.items()}
    lists = {name: value if isinstance(value, list) else [value] for name, value in merged.items() if value is not None}
    return Entry("a-1", "uid=anna,dc=x", lists)  # type: ignore[arg-type]


def person(given: Entry, by: AttributeRules | None = None, now: datetime | None = None) -> Person:
    result = map_entry(given, by or rules(), now=now)
    assert isinstance(result, Person), result
    return result


def reasons(given: Entry, by: AttributeRules | None = None) -> tuple[str, ...]:
    result = map_entry(given, by or rules())
    assert isinstance(result, Unmappable), result
    return result.reasons


def test_a_plain_entry_is_a_person() -> None:
    found = person(entry(departmentnumber=b"42"), rules(attributes={"department": ["departmentNumber"]}))
    assert (found.given_name, found.family_name, found.display_name) == ("Anna", "Łoś", "Anna Łoś")
    assert (found.mail.text, found.employee_number, found.enabled) == ("anna@acme.example", "7", True)
    assert found.attributes == {"department": "42"}
    assert (found.anchor, found.source_id, found.dn) == ("a-1", "corp", "uid=anna,dc=x")


def test_d8_every_reason_is_told_at_once() -> None:
    bad = entry(mail=[b"no-at-sign", b"\xff@x"], sn=b"a\x00b", givenname=b"\xc5", employeenumber=b"9" * 5000)
    assert [reason.split(":")[0] for reason in reasons(bad)] == [
        "mail", "mail", "given_name", "family_name", "employee_number",
    ]  # fmt: skip
    assert any("not UTF-8" in reason for reason in reasons(bad))
    assert any("too long (5000 bytes)" in reason for reason in reasons(bad))


@pytest.mark.parametrize("value", [None, b"", b"   "])
def test_d8_an_empty_mail_is_no_mail(value: bytes | None) -> None:
    assert reasons(entry(mail=value)) == ("mail: no value in mail",)


def test_d8_empty_optional_values_are_only_absent() -> None:
    assert person(entry(givenname=b"", sn=b" ", employeenumber=None)).display_name == "anna@acme.example"


@pytest.mark.parametrize("value", [b"An\x07na", b"A\nB", "A\u202eB".encode()])
def test_d8_control_characters_are_refused(value: bytes) -> None:
    assert reasons(entry(givenname=value)) == ("given_name: givenname holds control characters",)


def test_d8_several_mails_by_stated_order_whatever_the_server_s_order() -> None:
    values = [b"z@acme.example", b"a@other.example", b"b@acme.example"]
    by = rules(mail_domains=["acme.example"])
    for order in (values, values[::-1]):
        assert person(entry(mail=order), by).mail.text == "b@acme.example"
        assert person(entry(mail=order)).mail.text == "a@other.example"
    by = rules(attributes={"mail": ["rfc822Mailbox", "mail"]})
    assert person(entry(rfc822mailbox=b"first@acme.example"), by).mail.text == "first@acme.example"


def test_d8_a_bad_value_is_passed_over_when_a_good_one_is_there() -> None:
    assert person(entry(mail=[b"\xff\xfe", b"ok@acme.example"])).mail.text == "ok@acme.example"


def test_d8_attribute_options() -> None:
    assert person(entry(mail=None, mail__lang_pl=b"pl@acme.example")).mail.text == "pl@acme.example"
    assert person(entry(mail__lang_pl=b"pl@acme.example")).mail.text == "anna@acme.example"
    exact = rules(attributes={"mail": ["mail;lang-pl", "mail"]})
    assert person(entry(mail__lang_pl=b"pl@acme.example"), exact).mail.text == "pl@acme.example"


@pytest.mark.parametrize(
    ("attributes", "enabled"),
    [
        ({"pwdaccountlockedtime": b"000001010000Z"}, False),
        ({"pwdaccountlockedtime": b"20260101000000Z"}, True),
        ({"nsaccountlock": b"TRUE"}, False),
        ({"nsaccountlock": b"false"}, True),
        ({"useraccountcontrol": b"514"}, False),
        ({"useraccountcontrol": b"512"}, True),
        ({"useraccountcontrol": b"what"}, True),
        ({"shadowexpire": b"20512"}, False),
        ({"shadowexpire": b"20514"}, True),
        ({"shadowexpire": b"-1"}, True),
        ({"shadowexpire": b"0"}, True),
        ({"accountexpires": b"0"}, True),
        ({"accountexpires": b"9223372036854775807"}, True),
        ({"accountexpires": b"133500000000000000"}, False),
        ({"accountexpires": b"9223372036854775806"}, True),
    ],
)
def test_d7_dialects_of_disabled(attributes: dict[str, bytes], enabled: bool) -> None:
    assert person(entry(**attributes), now=NOW).enabled is enabled


def test_d7_only_believed_dialects_and_the_configured_attribute_count() -> None:
    assert person(entry(nsaccountlock=b"TRUE"), rules(disabled={"dialects": []})).enabled
    by = rules(disabled={"attribute": "employeeType", "values": ["Disabled", "left"]})
    assert "employeetype" in by.requested
    assert not person(entry(employeetype=b"disabled"), by).enabled
    assert person(entry(employeetype=b"active"), by).enabled


def test_d7_an_expiry_date_is_told_and_counts_with_the_time() -> None:
    shadow = entry(shadowexpire=b"20513")
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=20513)
    assert person(shadow).enabled
    assert person(shadow).expires_at == day
    assert person(shadow, now=day - timedelta(seconds=1)).enabled
    assert not person(shadow, now=day).enabled
    assert fingerprint(shadow, rules(), now=day) != fingerprint(shadow, rules(), now=day - timedelta(seconds=1))


def test_d14_the_fingerprint_follows_mapped_attributes_only() -> None:
    by = rules()
    base = fingerprint(entry(mail=[b"a@x.example", b"b@x.example"]), by)
    assert base == fingerprint(entry(mail=[b"b@x.example", b"a@x.example"]), by)
    assert base == fingerprint(entry(mail=[b"a@x.example", b"b@x.example"], jpegphoto=b"\xff\xd8"), by)
    assert base != fingerprint(entry(mail=[b"a@x.example"]), by)
    assert fingerprint(entry(mail=[b"ab", b"c"]), by) != fingerprint(entry(mail=[b"a", b"bc"]), by)
    assert person(entry()).fingerprint == fingerprint(entry(), by)


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("entryUUID", b"6F1B9C1E-90c1-4a6e-8a55-2d3c0b6e1f00", "6f1b9c1e-90c1-4a6e-8a55-2d3c0b6e1f00"),
        ("objectGUID", bytes(range(16)), "03020100-0504-0706-0809-0a0b0c0d0e0f"),
        ("nsUniqueId", b"\xff\x00", "ff00"),
    ],
)
def test_d5_anchors(attribute: str, value: bytes, expected: str) -> None:
    assert anchor_text(attribute, value) == expected


@given(st.dictionaries(
    st.sampled_from(["mail", "givenname", "sn", "cn", "employeenumber", "shadowexpire", "accountexpires",
                     "useraccountcontrol", "pwdaccountlockedtime", "mail;lang-pl"]),
    st.lists(st.binary(max_size=40), max_size=3),
))  # fmt: skip
def test_d8_no_entry_ever_raises(attributes: dict[str, list[bytes]]) -> None:
    result = map_entry(Entry("a", "cn=x", attributes), rules(), now=NOW)
    assert isinstance(result, Person) or result.reasons


@pytest.mark.parametrize(
    "value",
    [
        "mailto:anna@acme.example", "SMTP:anna@acme.example", "<anna@acme.example>", "Anna <anna@acme.example>",
        ".anna@acme.example", "anna.@acme.example", "an..na@acme.example", "an na@acme.example", "an,na@acme.example",
        "a" * 65 + "@acme.example", "ł" * 33 + "@acme.example", "an(na)@acme.example", '"anna@acme.example',
        "ą" * 30 + "@" + ".".join(["ż" * 20] * 12) + ".example",
    ],
)  # fmt: skip
def test_e7_what_no_relay_accepts_is_no_address(value: str) -> None:
    (reason,) = reasons(entry(mail=value.encode()))
    assert reason.startswith("mail: mail is not usable: ")
    assert repr(value)[1:-1] in reason
    beside = person(entry(mail=[value.encode(), b"anna.k@acme.example"]))
    assert (beside.mail.text, beside.other_mails, beside.unusable) == ("anna.k@acme.example", (), (reason,))


@pytest.mark.parametrize(
    "value",
    ["a@acme.example", "o'neill+cad@acme.example", "łukasz.żak@acme.example", '"an..na"@acme.example',
     "!#$%&*+-/=?^_`{|}~@acme.example", "a" * 64 + "@acme.example", "anna@łódź.example"],
)  # fmt: skip
def test_e7_what_a_relay_accepts_is_an_address(value: str) -> None:
    assert person(entry(mail=value.encode())).mail.text == value
