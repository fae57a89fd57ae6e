"""A directory's answer beside the ledger, as a pure function: standing, groups, differences, outlook (P6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from connector.directory.base import Entry
from connector.directory.finding import Finding, FoundEntry, spellings
from connector.directory.mapping import AttributeRules
from connector.directory.settings import LdifSettings
from connector.reconcile.desired.seen import Domains
from connector.reconcile.explain.directory_side import Context, Known, SourceSide, compare
from connector.reconcile.policy.policy import Policy
from tests.parts.directories import RULES, Somebody, mapping, policy

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OPEN = Domains(frozenset({"acme.example"}))
ANNA = Somebody("anna", number="7", name="Anna", department="D1")
FIELDS = {
    "mail": "anna@acme.example", "given_name": "Anna", "family_name": "Test", "display_name": "Anna",
    "employee_number": "7", "department": "D1",
}  # fmt: skip


@pytest.fixture
def chosen() -> Policy:
    return policy(mapping("design", "Design", "CAD"), mapping("site", "Site", "CAD"))


def known(**values: Any) -> Known:
    usual: dict[str, Any] = {
        "identity": "i", "state": "active", "fields": FIELDS, "links": {("corp", "anchor-anna"): "2026-01-01"},
        "provenances": frozenset({"mapping:design"}),
    }  # fmt: skip
    return Known(**{**usual, **values})


def finding(*people: Somebody, groups: dict[str, tuple[str, ...]] | None = None, **values: Any) -> Finding:
    reached = {"design": ("design",)} if groups is None else groups
    return Finding("corp", tuple(FoundEntry(item.entry(), reached) for item in people), **values)


def side(found: Finding, chosen: Policy, who: Known | None, **values: Any) -> SourceSide:
    return compare(found, RULES, Context(chosen, values.pop("domains", OPEN), NOW, who, **values), fix="mend it")


def test_p6_the_source_side_of_somebody_who_is_as_recorded(chosen: Policy) -> None:
    found = side(finding(ANNA, groups={"design": ("design", "bridges")}), chosen, known())
    assert found.lines == (
        "directory corp:",
        "  entry uid=anna,ou=People (anchor anchor-anna), linked since 2026-01-01",
        "    enabled",
        *(f"    {name}: {value}" for name, value in
          {**{name: FIELDS[name] for name in ("mail", "given_name", "family_name", "display_name", "employee_number")},
           "department": "D1"}.items()),
        "    in design / bridges → mapping design → Team Design",
        "    ledger and directory agree",
    )  # fmt: skip
    document = found.to_json()
    assert document["asked"] is True
    assert document["entries"][0]["groups"] == [
        {"group": "design", "path": ["design", "bridges"], "mapping": "design", "team": "Design"}
    ]


def test_p6_a_directory_that_was_not_asked_says_why_and_what_to_do(chosen: Policy) -> None:
    found = side(Finding("corp", unread="ldaps://dc1: cannot connect"), chosen, known())
    assert found.lines == ("directory corp: NOT ASKED: ldaps://dc1: cannot connect", "  → mend it")
    assert found.to_json()["asked"] is False


@pytest.mark.parametrize(
    ("entry", "who", "groups", "said"),
    [
        (replace(ANNA, disabled=True), known(), None, "the next run pauses their seats"),
        (ANNA, known(state="absent"), None, "the next run reinstates them"),
        (ANNA, known(state="removed"), None, "was removed from the ledger"),
        (replace(ANNA, name="Anne"), known(), None, "display_name: the ledger has Anna, the entry Anne"),
        (replace(ANNA, department=""), known(), None, "department: the ledger has D1, the entry nothing"),
        (ANNA, known(), {}, "member of Team Design through mapping design, and not in group design now"),
        (ANNA, known(), {"design": ("design",), "site": ("site",)}, "in group site, and no member of Team Site"),
        (ANNA, known(links={}), None, "the ledger is not linked to this entry"),
    ],
)
def test_p6_where_ledger_and_directory_differ(
    entry: Somebody, who: Known, groups: dict[str, tuple[str, ...]] | None, said: str, chosen: Policy
) -> None:
    found = side(finding(entry, groups=groups), chosen, who)
    assert any(said in text for text in found.entries[0].differs), found.lines
    assert not any("agree" in line for line in found.lines)


def test_e7_another_address_first_and_a_value_that_is_none_are_told(chosen: Policy) -> None:
    entry = replace(ANNA, also=("a@acme.example", "SMTP:anna@acme.example"))
    (found,) = side(finding(entry), chosen, known()).entries
    assert (found.fields["mail"], found.differs) == ("anna@acme.example", ()), "the present one counts"
    assert any("`rosterd rename anna@acme.example --to a@acme.example`" in t for t in found.standing)
    assert any("'SMTP:anna@acme.example'" in text for text in found.standing)


def test_p6_an_entry_of_somebody_else_is_not_compared(chosen: Policy) -> None:
    holders = {("corp", "anchor-anna"): "bo@acme.example"}
    found = side(finding(ANNA), chosen, known(links={}), holders=holders)
    assert found.entries[0].link == "linked to another person (bo@acme.example)"
    assert found.entries[0].differs == ("the entry belongs to another person of the ledger",)


def test_p6_what_cannot_be_told_is_a_note(chosen: Policy) -> None:
    gone = side(finding(unread_groups={"site": "hidden"}, outside=("uid=x",)), chosen, known())
    assert [note.partition(":")[0].partition(" (")[0] for note in gone.notes] == [
        "group site", "uid=x has the address and is nobody to us", "the linked entry",
    ]  # fmt: skip
    assert "  no entry has this address or is linked to this person" in gone.lines
    twice = side(finding(ANNA, replace(ANNA, uid="other")), chosen, None)
    assert any("several entries" in note for note in twice.notes)


@pytest.mark.parametrize(
    ("entry", "groups", "domains", "outlook"),
    [
        (ANNA, {}, OPEN, "never invited: not in any mapped group"),
        (replace(ANNA, disabled=True), None, OPEN, "never invited: nobody is while their account is disabled"),
        (ANNA, None, Domains(frozenset(), {"acme.example": "domain acme.example is closed: x"}),
         "frozen: domain acme.example is closed: x"),
        (replace(ANNA, mail="a@elsewhere.example"), None, OPEN, "frozen: domain elsewhere.example is not registered"),
        (ANNA, None, OPEN, "the next run would invite them"),
    ],
)  # fmt: skip
def test_p6_why_somebody_was_never_invited(
    entry: Somebody, groups: dict[str, tuple[str, ...]] | None, domains: Domains, outlook: str, chosen: Policy
) -> None:
    found = side(finding(entry, groups=groups), chosen, None, domains=domains)
    assert found.entries[0].outlook.startswith(outlook)


def test_p6_an_entry_that_cannot_be_mapped_says_every_reason(chosen: Policy) -> None:
    found = side(finding(replace(ANNA, broken=True)), chosen, None)
    assert found.entries[0].enabled is None
    assert "mail: mail is not usable" in found.entries[0].standing[0]
    assert found.entries[0].fields["mail"] == "broken"
    assert "    cannot be mapped: mail: mail is not usable" in "\n".join(found.lines)


@pytest.mark.parametrize(
    ("attribute", "value", "said", "enabled"),
    [
        ("useraccountcontrol", b"514", "userAccountControl is 514", False),
        ("pwdaccountlockedtime", b"000001010000Z", "pwdAccountLockedTime is 000001010000Z", False),
        ("nsaccountlock", b"TRUE", "nsAccountLock is TRUE", False),
        ("shadowexpire", b"100", "the account expired at 1970-04-11T00:00:00Z", False),
        ("shadowexpire", b"40000", "the account expires at 2079-07-08T00:00:00Z", True),
        ("employeetype", b"Left", "employeetype is Left", False),
        ("useraccountcontrol", b"512", "", True),
    ],
)
def test_d7_every_sign_of_a_disabled_account_is_named(
    attribute: str, value: bytes, said: str, enabled: bool, chosen: Policy
) -> None:
    signs = {"attribute": "employeeType", "values": ["left"]}
    rules = AttributeRules.from_settings(LdifSettings.model_validate({"id": "corp", "file": "x", "disabled": signs}))
    entry = Entry("a", "uid=a", {"mail": (b"anna@acme.example",), attribute: (value,)})
    found = compare(Finding("corp", (FoundEntry(entry),)), rules, Context(chosen, OPEN, NOW))
    assert found.entries[0].enabled is enabled
    assert found.entries[0].standing == ((said,) if said else ())


def test_p6_an_address_is_asked_for_in_every_spelling() -> None:
    assert spellings([" Anna@Żółw.example ", "no address"]) == (
        "Anna@Żółw.example", "anna@xn--w-uga1v8h.example", "anna@żółw.example", "no address",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "then"), [("active", "has their seats paused by the next run"), ("disabled", "stays off")]
)
def test_e1_what_an_entry_says_of_its_account_counts_though_it_cannot_be_mapped(
    chosen: Policy, state: str, then: str
) -> None:
    spoiled = replace(ANNA, broken=True, disabled=True)
    text = "\n".join(side(finding(spoiled), chosen, known(state=state)).lines)
    assert (
        f"DIFFERS: the entry is disabled, which counts though it cannot be mapped: whoever is linked to it {then}"
        in text
    )
    assert "disabled is yes" in text
