"""The attributes this provider keeps (RFC 7643 §4): the one list behind reading, PATCH, filters and ``/Schemas``.

Pure: no I/O here. An attribute that is not in it is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

USER_URN = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_URN = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
URNS = (ENTERPRISE_URN, USER_URN, GROUP_URN)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute as RFC 7643 §7 describes it; ``exact``: its case matters."""

    name: str
    about: str
    type: str = "string"
    multi: bool = False
    required: bool = False
    exact: bool = False
    mutability: str = "readWrite"
    returned: str = "default"
    uniqueness: str = "none"
    canonical: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    subs: tuple[Attribute, ...] = ()
    key: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.name.lower())

    def sub(self, name: str) -> Attribute | None:
        """The sub-attribute of this name in any case."""
        key = name.lower()
        return next((one for one in self.subs if one.key == key), None)


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema by its URN."""

    urn: str
    name: str
    about: str
    attributes: tuple[Attribute, ...]

    def find(self, name: str) -> Attribute | None:
        """The attribute of this name in any case."""
        key = name.lower()
        return next((one for one in self.attributes if one.key == key), None)


@dataclass(frozen=True, slots=True)
class Place:
    """An attribute where it stands: ``urn`` of the extension, empty in the core; ``sub`` when one is meant."""

    urn: str
    attribute: Attribute
    sub: Attribute | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource (RFC 7643 §6). ``named``: its attribute whose folded value is the stored ``key``."""

    name: str
    path: str
    named: str
    schema: Schema
    extensions: tuple[Schema, ...] = ()

    def place(self, urn: str, name: str, sub: str = "") -> Place | None:
        """The attribute so named, in any case; None when it is not ours. ``urn`` empty: the core schema."""
        schema: Schema | None = self.schema
        if urn and urn.lower() != self.schema.urn.lower():
            schema = next((one for one in self.extensions if one.urn.lower() == urn.lower()), None)
        if schema is None:
            return None
        found = schema.find(name)
        if found is None and schema is self.schema:
            found = next((one for one in COMMON if one.key == name.lower()), None)
        if found is None:
            return None
        inner = found.sub(sub) if sub else None
        if sub and inner is None:
            return None
        return Place("" if schema is self.schema else schema.urn, found, inner)


def _simple(name: str, about: str, kind: str = "string", *, exact: bool = False) -> Attribute:
    return Attribute(name, about, type=kind, exact=exact)


def _many(
    name: str, about: str, kinds: tuple[str, ...] = (), *, kind: str = "string", exact: bool = False
) -> Attribute:
    subs = (
        Attribute("value", "The value.", type=kind, exact=exact, references=("external",) * (kind == "reference")),
        _simple("display", "A name to show."),
        Attribute("type", "What it is for.", canonical=kinds),
        _simple("primary", "Whether it is the preferred one; at most one is.", "boolean"),
    )
    return Attribute(name, about, type="complex", multi=True, subs=subs)


def _said(name: str, about: str, kind: str = "string", *, references: tuple[str, ...] = ()) -> Attribute:
    return Attribute(name, about, type=kind, exact=True, mutability="readOnly", references=references)


_NAME = Attribute(
    "name",
    "The parts of the person's name.",
    type="complex",
    subs=tuple(
        _simple(name, about)
        for name, about in (
            ("formatted", "The whole name."),
            ("familyName", "The family name."),
            ("givenName", "The given name."),
            ("middleName", "The middle name."),
            ("honorificPrefix", "A title before the name."),
            ("honorificSuffix", "A suffix behind the name."),
        )
    ),
)
_ADDRESSES = Attribute(
    "addresses",
    "Postal addresses.",
    type="complex",
    multi=True,
    subs=(
        _simple("formatted", "The whole address; may have line breaks."),
        _simple("streetAddress", "Street and number."),
        _simple("locality", "The city."),
        _simple("region", "The state or region."),
        _simple("postalCode", "The postal code."),
        _simple("country", "The country, ISO 3166-1 alpha 2."),
        Attribute("type", "What it is for.", canonical=("work", "home", "other")),
        _simple("primary", "Whether it is the preferred one; at most one is.", "boolean"),
    ),
)
_GROUPS = Attribute(
    "groups",
    "The groups whose member the person is; changed through the groups.",
    type="complex",
    multi=True,
    mutability="readOnly",
    subs=(
        _said("value", "The id of the group."),
        _said("$ref", "The address of the group.", "reference", references=("Group",)),
        _said("display", "The name of the group."),
        Attribute("type", "How.", mutability="readOnly", canonical=("direct",)),
    ),
)
_PASSWORD = Attribute(
    "password", "Taken and thrown away: no password is ever kept.", exact=True, mutability="writeOnly", returned="never"
)

USER_SCHEMA = Schema(
    USER_URN,
    "User",
    "A person's account at the identity provider",
    (
        Attribute("userName", "The name to sign in with.", required=True, uniqueness="server"),
        _NAME,
        _simple("displayName", "The name to show."),
        _simple("nickName", "The casual name."),
        Attribute("profileUrl", "A page about the person.", type="reference", exact=True, references=("external",)),
        _simple("title", "The job title."),
        _simple("userType", "Employee, contractor and the like."),
        _simple("preferredLanguage", "The preferred language, as in Accept-Language."),
        _simple("locale", "Where currency, dates and numbers are those of."),
        _simple("timezone", "The time zone, IANA name."),
        _simple("active", "Whether the account may be used; false is evidence that it is disabled.", "boolean"),
        _PASSWORD,
        _many("emails", "Mail addresses.", ("work", "home", "other")),
        _many("phoneNumbers", "Telephone numbers, as written.", ("work", "home", "mobile", "fax", "pager", "other")),
        _many("ims", "Addresses for instant messages."),
        _many("photos", "Addresses of pictures.", ("photo", "thumbnail"), kind="reference", exact=True),
        _ADDRESSES,
        _GROUPS,
        _many("entitlements", "What the person is entitled to."),
        _many("roles", "Roles of the person."),
        _many("x509Certificates", "Certificates.", kind="binary", exact=True),
    ),
)
ENTERPRISE_SCHEMA = Schema(
    ENTERPRISE_URN,
    "EnterpriseUser",
    "What an employer knows of a person",
    (
        _simple("employeeNumber", "The number of the employee."),
        _simple("costCenter", "The cost centre."),
        _simple("organization", "The organization."),
        _simple("division", "The division."),
        _simple("department", "The department."),
        Attribute(
            "manager",
            "The person's manager.",
            type="complex",
            subs=(
                _simple("value", "The id of the manager.", exact=True),
                Attribute("$ref", "Their address.", type="reference", exact=True, references=("User",)),
                _simple("displayName", "Their name."),
            ),
        ),
    ),
)
_MEMBERS = Attribute(
    "members",
    "Who is in the group.",
    type="complex",
    multi=True,
    subs=(
        Attribute("value", "The id of the member.", exact=True, mutability="immutable"),
        Attribute(
            "$ref", "Its address.", type="reference", exact=True, mutability="immutable", references=("User", "Group")
        ),
        Attribute("type", "What it is.", mutability="immutable", canonical=("User", "Group")),
    ),
)
GROUP_SCHEMA = Schema(
    GROUP_URN,
    "Group",
    "A group of the identity provider",
    (Attribute("displayName", "The name of the group.", required=True), _MEMBERS),
)
COMMON = (
    Attribute("id", "Given by this provider.", exact=True, mutability="readOnly", returned="always"),
    Attribute("externalId", "Given by the client.", exact=True),
    Attribute("schemas", "The URNs in use.", type="reference", multi=True, exact=True, mutability="readOnly"),
    Attribute(
        "meta",
        "About the resource.",
        type="complex",
        mutability="readOnly",
        subs=(
            _said("resourceType", "Its kind."),
            _said("created", "Since when it is here.", "dateTime"),
            _said("lastModified", "When it last changed.", "dateTime"),
            _said("location", "Its address.", "reference"),
            _said("version", "Its ETag."),
        ),
    ),
)
"""Every resource has them (RFC 7643 §3.1); no schema lists them."""

USER = Kind("User", "/Users", "userName", USER_SCHEMA, (ENTERPRISE_SCHEMA,))
GROUP = Kind("Group", "/Groups", "displayName", GROUP_SCHEMA)
KINDS = (USER, GROUP)
SCHEMAS = (USER_SCHEMA, GROUP_SCHEMA, ENTERPRISE_SCHEMA)
