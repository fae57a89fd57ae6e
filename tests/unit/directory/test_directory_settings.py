"""``[[directories]]`` in an organization file (D12)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from connector.directory.scim.settings import ScimSettings
from connector.directory.settings import DirectorySettings, LdapSettings, LdifSettings

ADAPTER: TypeAdapter[LdapSettings | LdifSettings] = TypeAdapter(DirectorySettings)
LDAP = {
    "id": "corp",
    "kind": "ldap",
    "servers": ["ldaps://ldap1.acme.example"],
    "bind_dn": "cn=reader,dc=acme,dc=example",
    "bind_password": "env:X",
    "people_base": "ou=People,dc=acme,dc=example",
}


def settings(**overrides: Any) -> LdapSettings | LdifSettings:
    return ADAPTER.validate_python({key: value for key, value in {**LDAP, **overrides}.items() if value is not None})


def test_the_example_file_is_understood() -> None:
    example = Path(__file__).parents[3] / "config" / "organizations" / "acme.example.toml"
    table = tomllib.loads(example.read_text(encoding="utf-8"))["directories"][0]
    found = ADAPTER.validate_python(table)
    assert isinstance(found, LdapSettings)
    assert found.field_attributes()["department"] == ("departmentNumber",)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"kind": "nis"}, "nis"),
        ({"servers": []}, "at least 1"),
        ({"servers": ["ldap1.acme.example"]}, "is not a server"),
        ({"servers": ["http://ldap1"]}, "is not a server"),
        ({"servers": ["ldaps://ldap1/dc=x"]}, "is not a server"),
        ({"bind_password": None}, "needs bind_dn and bind_password"),
        ({"bind_password": "hunter2"}, "by reference"),
        ({"bind": "anonymous"}, "takes no bind_dn"),
        ({"bind": "external"}, "takes no bind_dn"),
        ({"people_base": ""}, "at least one DN"),
        ({"people_base": "People"}, "is not a DN"),
        ({"sentinels": ["People"]}, "is not a DN"),
        ({"attributes": {"mail": []}}, "at least one attribute"),
        ({"attributes": {"Mail": ["mail"]}}, "is not a field name"),
        ({"attributes": {"mail": ["e mail"]}}, "is not an attribute name"),
        ({"disabled": {"attribute": "employeeType"}}, "belong together"),
        ({"disabled": {"dialects": ["guess"]}}, "dialects"),
        ({"tls_certificate": "a.pem"}, "belong together"),
        ({"page_size": 0}, "greater than or equal to 1"),
        ({"tls_verfy": False}, "tls_verfy"),
        ({"id": "Corp Directory"}, "pattern"),
    ],
)
def test_what_is_wrong_is_said(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**overrides)
    assert words in str(caught.value)


def test_d12_a_password_in_place_of_its_reference_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        LdapSettings.model_validate({**LDAP, "bind_password": "hunter2"})
    assert "by reference" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_d12_verification_is_on_unless_switched_off_by_name() -> None:
    found = settings()
    assert isinstance(found, LdapSettings)
    assert found.tls_verify
    assert not found.plaintext
    assert found.bind == "simple"


def test_every_setting_is_documented() -> None:
    for model in (LdapSettings, LdifSettings, ScimSettings):
        undocumented = [name for name, field in model.model_fields.items() if not field.description]
        assert undocumented == []
