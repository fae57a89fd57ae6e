"""The demo's company: people and groups made from a seed, changed by small events, written as LDIF.

Pure: the same seed and events give the same bytes. No clock, no network here.
"""

from __future__ import annotations

import base64
import random
import unicodedata
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

SUFFIX = "dc=acme,dc=example"
DOMAIN = "acme.example"
PEOPLE_BASE = f"ou=People,{SUFFIX}"
GROUPS_BASE = f"ou=Groups,{SUFFIX}"
_NAMESPACE = uuid.UUID("5f0c2a52-6f0e-4d6c-9d55-0d2f1b7d9a01")

DEPARTMENTS: dict[str, float] = {"design": 0.30, "engineering": 0.36, "site": 0.24, "visual": 0.10}
"""Group name → share of the company."""

GIVEN = (
    "Anna Łukasz Zofia Michał Małgorzata Grzegorz Elżbieta Paweł Agnieszka Tomasz Katarzyna Krzysztof Świętosława "
    "Jędrzej Bożena Żaneta Wojciech Stanisław Ćwieczka Ewa Jürgen Zoë Søren Đorđe Renée Siân Ólafur Ngọc İrem Αλέξης"
).split()

FAMILY = (
    "Nowak Wójcik Zając Król Wieczorek Wróbel Michalczyk Śliwa Brzęczyszczykiewicz Kaźmierczak Piątek Łuczak Dąbek "
    "Gołąb Gżegżółka Szewczyk Żak Ćwik Jóźwiak Kędzior Pająk Müller O'Brien Šimić Nguyễn Çelik Ibáñez Weiß Grøn Kowal"
).split()

WITHOUT_LATIN_LETTERS = {"Αλέξης": "alexis"}
"""Logins of names that no Latin letter is left of."""


@dataclass(frozen=True, slots=True)
class Employee:
    """One person as the directory holds them; ``anchor`` is the entryUUID."""

    uid: str
    anchor: str
    given_name: str
    family_name: str
    mail: str
    number: str
    department: str
    country: str
    disabled: bool = False

    @property
    def dn(self) -> str:
        """RFC 4514 form; uids are plain ASCII."""
        return f"uid={self.uid},{PEOPLE_BASE}"

    @property
    def display_name(self) -> str:
        """Given and family name."""
        return f"{self.given_name} {self.family_name}"


@dataclass(frozen=True, slots=True)
class Company:
    """People by uid and groups by name; a group's members are uids or ``group:<name>`` (nested)."""

    people: dict[str, Employee]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def without(self, *uids: str) -> Company:
        """The directory after these people left it: entries and memberships gone."""
        gone = set(uids)
        return Company(
            {uid: person for uid, person in self.people.items() if uid not in gone},
            {name: tuple(member for member in members if member not in gone) for name, members in self.groups.items()},
        )

    def changed(self, uid: str, **values: object) -> Company:
        """The directory after one entry's attributes changed."""
        people = dict(self.people)
        people[uid] = replace(people[uid], **values)  # type: ignore[arg-type]
        return Company(people, self.groups)

    def moved(self, uid: str, source: str, target: str) -> Company:
        """The directory after a person changed department."""
        groups = dict(self.groups)
        groups[source] = tuple(member for member in groups[source] if member != uid)
        groups[target] = (*groups[target], uid)
        return Company(dict(self.people), groups).changed(uid, department=target)

    def joined(self, person: Employee, group: str) -> Company:
        """The directory after a new entry appeared in a group."""
        groups = dict(self.groups)
        groups[group] = (*groups[group], person.uid)
        return Company({**self.people, person.uid: person}, groups)

    def in_group(self, name: str) -> list[Employee]:
        """Direct members of a group that are people, in order."""
        return [self.people[member] for member in self.groups[name] if member in self.people]

    def to_ldif(self) -> str:
        """RFC 2849 text of the whole directory, people before groups; values outside ASCII in base64."""
        blocks = [
            _block(
                [
                    ("dn", SUFFIX),
                    ("objectClass", "dcObject"),
                    ("objectClass", "organization"),
                    ("dc", "acme"),
                    ("o", "Acme"),
                ]
            )
        ]
        blocks += [
            _block([("dn", f"ou={name},{SUFFIX}"), ("objectClass", "organizationalUnit"), ("ou", name)])
            for name in ("People", "Groups")
        ]
        blocks += [_block(_person(person)) for person in self.people.values()]
        blocks += [_block(self._group(name, members)) for name, members in self.groups.items()]
        return f"version: 1\n# entries: {len(blocks)}\n\n" + "\n".join(blocks)

    def _group(self, name: str, members: Iterable[str]) -> list[tuple[str, str]]:
        lines = [
            ("dn", group_dn(name)),
            ("objectClass", "groupOfNames"),
            ("cn", name),
            ("entryUUID", _anchor(f"group:{name}")),
        ]
        for member in members:
            nested = member.removeprefix("group:")
            lines.append(("member", group_dn(nested) if member.startswith("group:") else self.people[member].dn))
        return lines


def group_dn(name: str) -> str:
    """DN of a group of the demo directory."""
    return f"cn={name},{GROUPS_BASE}"


def _anchor(text: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, text))


def _ascii(text: str) -> str:
    if text in WITHOUT_LATIN_LETTERS:
        return WITHOUT_LATIN_LETTERS[text]
    plain = (
        text.replace("ł", "l")
        .replace("Ł", "L")
        .replace("ß", "ss")
        .replace("ø", "o")
        .replace("đ", "d")
        .replace("Đ", "D")
    )
    kept = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode("ascii").lower()
    return "".join(character for character in kept if character.isalnum() or character == "-")


def employee(given: str, family: str, number: int, department: str, *, hired: str = "") -> Employee:
    """A person with derived uid, mail and anchor; ``hired`` distinguishes a second hire (a new anchor)."""
    login = f"{_ascii(given)}.{_ascii(family)}"
    return Employee(
        uid=login,
        anchor=_anchor(f"{login}:{number}:{hired}"),
        given_name=given,
        family_name=family,
        mail=f"{login}@{DOMAIN}",
        number=f"{number:05d}",
        department=department,
        country="PL",
    )


def found(people: int = 300, seed: int = 2026) -> Company:
    """A company of ``people`` employees; engineering's group holds one nested group (``bridges``)."""
    chance = random.Random(seed)
    staff: dict[str, Employee] = {}
    pairs = [(given, family) for given in GIVEN for family in FAMILY]
    chance.shuffle(pairs)
    departments = [name for name, share in DEPARTMENTS.items() for _ in range(round(share * people))]
    departments = (departments + ["engineering"] * people)[:people]
    for given, family in pairs:
        if len(staff) == people:
            break
        person = employee(given, family, 1000 + len(staff), departments[len(staff)])
        staff.setdefault(person.uid, person)
    position = 0
    while len(staff) < people:  # larger companies than the names make: numbered namesakes
        given, family = pairs[position % len(pairs)]
        position += 1
        number = 1000 + len(staff)
        person = employee(given, family, number, departments[len(staff)])
        person = replace(person, uid=f"{person.uid}{number}", mail=f"{person.uid}{number}@{DOMAIN}")
        staff.setdefault(person.uid, person)
    groups = {name: tuple(uid for uid, person in staff.items() if person.department == name) for name in DEPARTMENTS}
    bridges = groups["engineering"][: max(1, len(groups["engineering"]) // 4)]
    groups["bridges"] = bridges
    groups["engineering"] = ("group:bridges", *(uid for uid in groups["engineering"] if uid not in set(bridges)))
    return Company(staff, groups)


def _person(person: Employee) -> list[tuple[str, str]]:
    return [
        ("dn", person.dn),
        ("objectClass", "inetOrgPerson"),
        ("uid", person.uid),
        ("entryUUID", person.anchor),
        ("cn", person.display_name),
        ("displayName", person.display_name),
        ("givenName", person.given_name),
        ("sn", person.family_name),
        ("mail", person.mail),
        ("employeeNumber", person.number),
        ("departmentNumber", person.department),
        ("employeeType", "disabled" if person.disabled else "active"),
    ]


def _block(lines: Iterable[tuple[str, str]]) -> str:
    return "".join(_line(name, value) for name, value in lines)


def _line(name: str, value: str) -> str:
    safe = value.isascii() and value.isprintable() and not value.startswith((" ", ":", "<")) and not value.endswith(" ")
    text = f"{name}: {value}" if safe else f"{name}:: {base64.b64encode(value.encode()).decode('ascii')}"
    folded = [text[:76]] + [" " + text[start : start + 75] for start in range(76, len(text), 75)]
    return "\n".join(folded) + "\n"
