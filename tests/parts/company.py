"""A small company for directory tests: awkward names, awkward DNs, nested groups and a cycle.

Pure: the same arguments give the same bytes.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SUFFIX = "dc=firma,dc=example"
PEOPLE = f"ou=People,{SUFFIX}"
GROUPS = f"ou=Groups,{SUFFIX}"
READER = f"cn=reader,{SUFFIX}"
PASSWORD = "reader-secret"
_SPACE = uuid.UUID("6f1b9c1e-90c1-4a6e-8a55-2d3c0b6e1f00")

GIVEN = ("Zażółć", "Łukasz", "Święta", "Anna", "Ömer", "José", "Nguyễn", "Mária")
FAMILY = ("Gęślą", "Łódź-Kowalska", "Dąbrowski", "O'Brien", "Müller", "Çelik", "Trần", "Kovács")


@dataclass(frozen=True, slots=True)
class Human:
    """One person of the test company; ``extra`` are further attributes."""

    uid: str
    dn: str
    given: str
    family: str
    mail: str
    number: str
    extra: tuple[tuple[str, str | bytes], ...] = ()

    @property
    def anchor(self) -> str:
        """The entryUUID."""
        return anchor(self.dn)


@dataclass(frozen=True, slots=True)
class Firm:
    """People in order; groups: name → member values as written."""

    people: tuple[Human, ...]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    posix: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unique: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def entries(self) -> list[list[tuple[str, str | bytes]]]:
        """All entries in an order ``slapadd`` takes, DN first."""
        yields: list[list[tuple[str, str | bytes]]] = [
            [("dn", SUFFIX), ("objectClass", "dcObject"), ("objectClass", "organization"), ("dc", "firma"), ("o", "F")],
            *([("dn", f"ou={ou},{SUFFIX}"), ("objectClass", "organizationalUnit"), ("ou", ou)]
              for ou in ("People", "Groups")),
            [
                ("dn", READER),
                ("objectClass", "organizationalRole"),
                ("objectClass", "simpleSecurityObject"),
                ("cn", "reader"),
                ("userPassword", PASSWORD),
            ],
        ]  # fmt: skip
        yields += [_person(human) for human in self.people]
        for name, members in self.groups.items():
            yields.append(_group(name, "groupOfNames", "member", members))
        for name, members in self.unique.items():
            yields.append(_group(name, "groupOfUniqueNames", "uniqueMember", members))
        for position, (name, uids) in enumerate(self.posix.items()):
            yields.append([*_group(name, "posixGroup", "memberUid", uids), ("gidNumber", str(5000 + position))])
        return yields

    def ldif(self, *, count: bool = False) -> str:
        """RFC 2849 text; ``count`` adds the declaration of the number of entries at the end."""
        entries = self.entries()
        text = "version: 1\n\n" + "\n".join(record(entry) for entry in entries) + "\n"
        return text + f"# numEntries: {len(entries)}\n" if count else text


def firm(people: int = 40) -> Firm:
    """People with names from six languages; groups: plain, nested three deep, a cycle, uniqueMember, memberUid."""
    humans = tuple(_human(number) for number in range(people))
    first, second, third = humans[: people // 4], humans[people // 4 : people // 2], humans[people // 2 :]
    return Firm(
        humans,
        {
            "design": tuple(human.dn for human in first),
            "build": (
                group_dn("site"),
                *(human.dn.upper().replace("OU=PEOPLE", "ou = people") for human in second[:3]),
            ),
            "site": (group_dn("crane"), *(human.dn for human in second[3:])),
            "crane": (group_dn("build"), *(human.dn for human in third[:5])),
            "partners": (first[0].dn, "cn=Stranger,dc=elsewhere,dc=example"),
            "Żuraw, dźwig": tuple(human.dn for human in third[-4:]),
        },
        posix={"unix": tuple(human.uid for human in third[:6])},
        unique={"signers": tuple(f"{human.dn}#'0101'B" for human in first[:3])},
    )


def group_dn(name: str) -> str:
    """DN of a group; commas in the name are escaped."""
    return f"cn={escaped(name)},{GROUPS}"


def anchor(dn: str) -> str:
    """The entryUUID given to the entry first written with this DN."""
    return str(uuid.uuid5(_SPACE, dn))


def escaped(value: str) -> str:
    """RFC 4514 escapes with a backslash before the character."""
    return "".join(f"\\{character}" if character in ',+"\\<>;' else character for character in value)


def record(lines: Iterable[tuple[str, str | bytes]]) -> str:
    """One LDIF record: base64 where needed, folded at 76."""
    return "".join(_line(name, value) for name, value in lines)


def _human(number: int) -> Human:
    given, family = GIVEN[number % len(GIVEN)], FAMILY[number // len(GIVEN) % len(FAMILY)]
    uid = f"u{number:05d}"
    awkward = {0: f"{family}, {given} {number}", 1: f'Team "{number}" <x>;+'}.get(number % 5)
    rdn = f"cn={escaped(awkward)}" if awkward else ""
    return Human(uid, f"{rdn or f'uid={uid}'},{PEOPLE}", given, family, f"{uid}@firma.example", f"{1000 + number}")


def _person(human: Human) -> list[tuple[str, str | bytes]]:
    rdn = human.dn.removesuffix("," + PEOPLE)
    named = rdn.partition("=")[2].replace("\\", "")
    common = [named] if rdn.startswith("cn=") else [f"{human.given} {human.family}"]
    return [
        ("dn", human.dn),
        ("objectClass", "inetOrgPerson"),
        ("entryUUID", anchor(human.dn)),
        ("uid", human.uid),
        *(("cn", value) for value in common),
        ("displayName", f"{human.given} {human.family}"),
        ("givenName", human.given),
        ("sn", human.family),
        ("mail", human.mail),
        ("employeeNumber", human.number),
        ("departmentNumber", "D1"),
        *human.extra,
    ]


def _group(name: str, kind: str, attribute: str, members: Sequence[str]) -> list[tuple[str, str | bytes]]:
    lines: list[tuple[str, str | bytes]] = [("dn", group_dn(name)), ("objectClass", kind), ("cn", name)]
    return [*lines, ("entryUUID", anchor(group_dn(name))), *((attribute, member) for member in members)]


def _line(name: str, value: str | bytes) -> str:
    raw = value.encode() if isinstance(value, str) else value
    plain = raw.isascii() and raw.decode("latin-1").isprintable() and not raw.startswith((b" ", b":", b"<"))
    if plain and not raw.endswith(b" "):
        text = f"{name}: {raw.decode()}"
    else:
        text = f"{name}:: {base64.b64encode(raw).decode()}"
    return "\n".join([text[:76], *(f" {text[at : at + 75]}" for at in range(76, len(text), 75))]) + "\n"
