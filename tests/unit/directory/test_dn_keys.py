"""DN comparison (D6; RFC 4514, RFC 4518)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.directory import dn
from tests.parts.company import escaped


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cn=Anna,ou=People,dc=x", "CN=ANNA,OU=people,DC=X"),
        ("cn=Anna,ou=People,dc=x", "cn = Anna , ou=People ; dc=x"),
        ("cn=Anna  Maria,dc=x", "cn=anna maria,dc=x"),
        ("cn=Kowalska\\, Anna,dc=x", "cn=Kowalska\\2C Anna,dc=x"),
        ("cn=Kowalska\\, Anna,dc=x", 'cn="Kowalska, Anna",dc=x'),
        ("cn=\\C5\\81\\C3\\B3d\\C5\\BA,dc=x", "cn=łódź,dc=x"),
        ("cn=ŁÓDŹ,dc=x", "cn=Ło\u0301dz\u0301,dc=x"),
        ("cn=anna,dc=x", "2.5.4.3=Anna,0.9.2342.19200300.100.1.25=X"),
        ("cn=anna,dc=x", "cn=#0c04416e6e61,dc=x"),
        ("cn=anna,dc=x", "commonName=anna,domainComponent=x"),
        ("uid=7+cn=anna,dc=x", "CN=Anna+UID=7,dc=x"),
        ("cn=a\\+b\\=c,dc=x", "cn=a\\2bb=c,dc=x"),
        ("cn=anna\\20,dc=x", "cn=anna,dc=x"),
    ],
)
def test_d6_two_writings_of_one_name_have_one_key(one: str, other: str) -> None:
    assert dn.key(one) == dn.key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cn=a\\,dc=b,dc=x", "cn=a,dc=b,dc=x"),
        ("cn=a\\+uid=b,dc=x", "cn=a+uid=b,dc=x"),
        ("cn=a\\\\,dc=x", "cn=a,dc=x"),
        ("cn=anna,dc=x", "uid=anna,dc=x"),
        ("cn=anna,ou=a,dc=x", "cn=anna,dc=x"),
    ],
)
def test_d6_different_names_have_different_keys(one: str, other: str) -> None:
    assert dn.key(one) != dn.key(other)


@pytest.mark.parametrize("text", ["anna", "cn=a,b", "=a", 'cn="a', "cn=a\\", "cn=#zz", 'cn="a"b,dc=x', "cn=a,,dc=x"])
def test_what_is_no_dn_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is not a DN"):
        dn.key(text)


@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=20))
def test_d6_any_value_survives_escaping_by_character_and_by_hex(value: str) -> None:
    by_hex = "".join(f"\\{byte:02X}" for byte in value.encode())
    assert dn.key(f"cn=x{escaped(value)}x,dc=y") == dn.key(f"CN=x{by_hex}x, DC=Y")


@given(st.from_regex(r"(cn|OU|uid)=[a-zA-Z0-9 ._@-]{1,12}(,(dc|O)=[a-z A-Z]{1,8}){0,3}", fullmatch=True))
def test_d6_the_short_way_and_the_long_way_agree(text: str) -> None:
    assert dn.key(text) == dn._slow_key(text)


def test_is_under_compares_whole_names() -> None:
    base = dn.key("ou=People,dc=x")
    assert dn.is_under(dn.key("cn=a,ou=people,dc=x"), base)
    assert dn.is_under(base, base)
    assert not dn.is_under(dn.key("cn=a\\,ou=people\\,dc=x"), base)
    assert not dn.is_under(dn.key("cn=a,ou=morepeople,dc=x"), base)


@pytest.mark.parametrize(
    ("value", "expected"), [(b"cn=a#'0101'B", b"cn=a"), (b"cn=a", b"cn=a"), (b"cn=a'B", b"cn=a'B")]
)
def test_d6_unique_member_suffix(value: bytes, expected: bytes) -> None:
    assert dn.without_uid_suffix(value) == expected
