"""How each kind of directory calls the same things: scopes, attributes, sentinels, references to groups.

Only words; the directory contract asks here instead of knowing the kinds itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connector.directory.base import Reading
from connector.directory.mapping import AttributeRules
from connector.directory.scim.settings import ScimSettings
from connector.directory.settings import LdifSettings
from tests.parts import company

_LDIF = {"id": "corp", "file": "x", "disabled": {"attribute": "employeeType", "values": ["left"]}}


@dataclass(frozen=True)
class Words:
    """``attributes``: what the LDAP name is called there; ``standing``: what a check says of the company's people."""

    rules: AttributeRules
    people_scope: str = f"people:{company.PEOPLE}"
    standing: str = "38 people mapped, 2 disabled, 1 with an expiry date"
    good_code: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)

    def attribute(self, name: str) -> str:
        """The name of an attribute there."""
        return self.attributes.get(name, name)

    def sentinel(self, dn: str) -> str:
        """How the entry with this DN is named as a sentinel."""
        return dn

    def visible(self, firm: company.Firm) -> list[str]:
        """Sentinels that are there, in another writing."""
        return [company.READER, firm.people[0].dn.upper(), company.group_dn("design")]

    def reference(self, reference: str) -> str:
        """How a mapping names this group."""
        return reference


class ScimWords(Words):
    """SCIM has no DNs: resources are named by kind and name."""

    def sentinel(self, dn: str) -> str:
        """Users/<userName> or Groups/<displayName>; people of the company by id."""
        name = dn.split(",")[0].partition("=")[2]
        people = dn.casefold().endswith(company.PEOPLE.casefold())
        return f"{'Users' if people else 'Groups'}/{name}"

    def visible(self, firm: company.Firm) -> list[str]:
        """By userName, id and displayName, in any case."""
        return [f"Users/{firm.people[0].uid.upper()}", f"Users/{firm.people[1].anchor}", "Groups/Design"]

    def reference(self, reference: str) -> str:
        """By name or anchor."""
        return reference.split(",")[0].partition("=")[2].strip() if "," in reference else reference


TREE = Words(AttributeRules.from_settings(LdifSettings.model_validate(_LDIF)))
SCIM = ScimWords(
    AttributeRules.from_settings(ScimSettings.model_validate({"id": "corp", "url": "https://idp.example/scim"})),
    people_scope="people:Users",
    standing="38 people mapped, 3 disabled, 0 with an expiry date",
    good_code=200,
    attributes={"mail": "emails.work", "givenname": "name.givenname"},
)


def of(subject: object) -> Words:
    """The words of a reading, or of what opens a source (``words`` on it)."""
    if isinstance(subject, Reading):
        return SCIM if SCIM.people_scope in subject.scopes else TREE
    found = getattr(subject, "words", TREE)
    assert isinstance(found, Words)
    return found
