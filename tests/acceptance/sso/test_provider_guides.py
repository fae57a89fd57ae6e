"""The guides to identity providers, and ``rosterd sso guide``, which prints them with an organization's own values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connector.sso.gate.explain_refusal import WORDS
from connector.sso.settings import SsoSettings
from rosterd.verbs.sso.guide import known
from tests.parts.installation import Installation
from tests.parts.installed import ROOT

OURS = ROOT / "rosterd" / "guides"
ASKED_FOR = ["ad-fs", "entra-id", "google-workspace", "keycloak", "okta", "onelogin", "pingone"]
RUN = {"keycloak"}
"""Guides whose commands a test runs; every other says that nobody did."""
KNOWN = {name: (OURS / file).read_text(encoding="utf-8") for name, file in known().items()}
ENTITY_ID, ACS = "https://id.globex.test/sso/globex/metadata", "https://id.globex.test/sso/globex/acs"


@pytest.fixture
def globex(tmp_path: Path) -> Installation:
    """An organization of which no example speaks; the ledger is not there."""
    made = Installation.make(tmp_path / "etc")
    made.edit("rosterd.toml", 'public_url = "http://127.0.0.1:8080"', 'public_url = "https://id.globex.test"')
    made.organization.write_text(
        '[organization]\nid = "globex"\nname = "Globex"\n\n[[domains]]\nname = "globex.test"\n', encoding="utf-8"
    )
    (made.folder / "var" / "ledger.db").unlink()
    return made


def test_there_is_a_guide_for_each_provider() -> None:
    assert list(KNOWN) == ASKED_FOR


@pytest.mark.parametrize("name", ASKED_FOR)
def test_a_guide_has_no_example_left_in_it(globex: Installation, name: str) -> None:
    printed = globex.rosterd("sso", "guide", name)
    assert printed.code == 0, printed.err
    assert "acme" not in printed.out.replace(str(globex.organization), "").lower()
    for own in (ENTITY_ID, ACS, "globex.test"):
        assert own in printed.out.partition("\n\n")[2], own
    document = globex.rosterd("sso", "guide", name, "--json").document
    assert (document["entity_id"], document["acs"]) == (ENTITY_ID, ACS)
    assert document["domains"] == ["globex.test"]
    assert document["text"].strip() in printed.out


@pytest.mark.parametrize("name", ASKED_FOR)
def test_a_guide_says_whether_it_was_run_and_is_one_page(name: str) -> None:
    assert ("**Not run by us.**" in KNOWN[name]) is (name not in RUN)
    assert f"rosterd sso guide {name}`" in KNOWN[name]
    assert name in RUN or len(KNOWN[name].splitlines()) <= 60
    assert (ROOT / "docs" / "guides" / known()[name]).read_text(encoding="utf-8") == KNOWN[name], "the docs are these"


@pytest.mark.parametrize("name", ASKED_FOR)
def test_what_a_guide_sets_can_be_set(globex: Installation, name: str) -> None:
    [block] = re.findall(r"```toml\n(\[sso\]\n.*?)```", globex.rosterd("sso", "guide", name).out, re.DOTALL)
    before = globex.rosterd("sso", "guide", name).out.partition("\n\n")[0]
    assert "nothing yet" in before
    assert "→ this guide says: metadata = " in before
    globex.append(f"\n{block}")
    after = globex.rosterd("sso", "guide", name)
    assert after.code == 0, after.err
    assert "this guide says" not in after.out.partition("\n\n")[0]
    assert set(SsoSettings.model_fields) >= set(re.findall(r"^(\w+) =", block, re.MULTILINE))


@pytest.mark.parametrize("name", [name for name in ASKED_FOR if name not in RUN])
def test_the_reasons_that_a_guide_explains_exist(name: str) -> None:
    table = KNOWN[name].partition("## When a sign-in is refused")[2]
    reasons = [reason for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for reason in row.split(", ")]
    assert len(reasons) >= 6
    assert {reason.strip("`") for reason in reasons} <= set(WORDS)


def test_an_address_in_a_pattern_is_ours_too(globex: Installation) -> None:
    assert "`^https://id\\.globex\\.test/sso/globex/acs$`" in globex.rosterd("sso", "guide", "onelogin").out


def test_the_realm_is_that_of_the_organizations_file(globex: Installation) -> None:
    globex.append('\n[sso]\nmetadata = "https://kc.globex.test/realms/staff/protocol/saml/descriptor"\n')
    printed = globex.rosterd("sso", "guide", "keycloak").out
    assert "--server https://kc.globex.test " in printed
    assert "kcadm.sh create clients -r staff -f" in printed
    assert "REALM" not in printed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("Entra", "entra-id"), ("adfs", "ad-fs"), ("google", "google-workspace"), ("keycloak-as-provider", "keycloak")],
)
def test_a_name_may_be_written_as_people_do(globex: Installation, typed: str, meant: str) -> None:
    assert globex.rosterd("sso", "guide", typed, "--json").document["name"] == meant


@pytest.mark.parametrize("typed", ["shibboleth", "o", "-"])
def test_an_unknown_name_lists_the_known_ones(globex: Installation, typed: str) -> None:
    refused = globex.rosterd("sso", "guide", "--", typed)
    assert refused.code == 2
    assert f"(known: {', '.join(ASKED_FOR)})" in refused.err


def test_without_a_name_they_are_listed(globex: Installation) -> None:
    listed = globex.rosterd("sso", "guide")
    assert (listed.code, listed.out.splitlines()[:-1]) == (0, ASKED_FOR)


def test_several_organizations_are_told_apart(globex: Installation) -> None:
    other = globex.organization.with_name("initech.toml")
    other.write_text('[organization]\nid = "initech"\nname = "Initech"\n', encoding="utf-8")
    assert globex.rosterd("sso", "guide", "okta").code == 2
    printed = globex.rosterd("sso", "guide", "okta", "-o", "initech")
    assert "add --organization initech to each command" in printed.out
    assert "https://id.globex.test/sso/initech/acs" in printed.out
    assert "rosterd sso add YOUR-DOMAIN" in printed.out
