"""What ``rosterd init`` has to know of a customer: the answers, the options that give them, what is wrong with them.

Values only: asks nobody and writes nothing.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connector.directory import dn
from ledger.errors import BadInput
from ledger.identity import Email, a_label
from ledger.team import ORGANIZATION_ID
from rosterd import references
from rosterd.faults import model_faults
from rosterd.first.kinds import OPTIONS, DirectoryKind
from rosterd.settings import OrganizationSettings
from rosterd.toml_places import Path as Place

DIRECTORY_ID = "corp"
"""The id of the first directory of every customer."""
WITHOUT_PASSWORD = ("anonymous", "external")
"""What may stand in place of a bind DN: nobody at all, or who the certificate or the local socket says."""


_TOML_KINDS = {
    DirectoryKind.OPENLDAP: "ldap",
    DirectoryKind.ACTIVE_DIRECTORY: "active_directory",
    DirectoryKind.SCIM_PUSH: "scim_inbox",
    DirectoryKind.SCIM_PULL: "scim",
    DirectoryKind.LDIF: "ldif",
}
_NEEDED = {
    DirectoryKind.OPENLDAP: ("servers", "bind_dn", "people_base"),
    DirectoryKind.ACTIVE_DIRECTORY: ("servers", "bind_dn", "people_base"),
    DirectoryKind.SCIM_PULL: ("servers", "bind_password"),
    DirectoryKind.LDIF: ("servers",),
}
_KEYS = {"url": "servers", "file": "servers", "token": "bind_password", "bind": "bind_dn"}
_FIRST_VALUE = re.compile(r"[^=]+=((?:\\.|[^\\,+])*)", re.DOTALL)
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ChosenGroup:
    """A directory group, the Team that its people join, and what each of them gets a seat of."""

    group: str
    team: str
    offerings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> ChosenGroup:
        """``GROUP=TEAM:OFFERING[,OFFERING]``; raises ``BadInput``. The last ``=`` separates: a DN has more of them."""
        group, _, rest = text.rpartition("=")
        team, colon, codes = rest.rpartition(":")
        if not colon:
            team, codes = rest, ""
        try:
            if not group or ("=" in group and not dn.parse(group)):
                raise ValueError("no group")
        except ValueError as error:
            raise BadInput(
                f"{text!r} is not GROUP=TEAM:OFFERING[,OFFERING]",
                where=OPTIONS["mappings"],
                next_step="for example --map 'cn=design,ou=Groups,dc=acme,dc=example=Design:CAD,RENDER'",
            ) from error
        return cls(group.strip(), team.strip() or group_name(group), codes_of(codes))

    def __str__(self) -> str:
        return f"{self.group}={self.team}:{','.join(self.offerings)}"


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that is asked. ``servers``: addresses; of ``scim-pull`` its one address, of ``ldif`` its file.

    ``bind_dn`` may be one of ``WITHOUT_PASSWORD``; ``bind_password`` is a reference, with ``scim-pull`` to its token.
    Paths are relative to where the command was started. ``primary_admin``: address of who administers the Teams (R6).
    """

    organization: str = "acme"
    name: str = ""
    domain: str = ""
    kind: DirectoryKind = DirectoryKind.LATER
    servers: tuple[str, ...] = ()
    tls_ca: str = ""
    tls_name: str = ""
    plaintext: bool = False
    bind_dn: str = ""
    bind_password: str = ""
    people_base: str = ""
    groups_base: str = ""
    mappings: tuple[ChosenGroup, ...] = ()
    primary_admin: str = ""

    @property
    def mail_domain(self) -> str:
        """The domain; where none was given, one that nobody has."""
        return self.domain or f"{self.organization}.example"

    @property
    def components(self) -> str:
        """The domain as the end of a DN: ``dc=acme,dc=example``."""
        return ",".join(f"dc={label}" for label in self.mail_domain.split("."))

    @property
    def password_reference(self) -> str:
        """Where a password is looked for, unless something else is said: ``env:ACME_LDAP_PASSWORD``."""
        kept = re.sub(r"[^A-Z0-9]", "_", self.organization.upper())
        what = "SCIM_TOKEN" if self.kind is DirectoryKind.SCIM_PULL else "LDAP_PASSWORD"
        return f"env:{kept}_{what}" if kept[:1].isalpha() else f"env:{what}_{kept}"

    def tables(self, file: Path, folder: Path) -> dict[str, Any]:
        """The organization's file, as TOML has it; ``file`` is where it lies, ``folder`` the whole configuration."""
        domain = a_label(self.mail_domain)
        found: dict[str, Any] = {
            "organization": {"id": self.organization, "name": self.name or self.organization, "report_zone": "UTC"},
            "domains": [{"name": domain}],
        }
        if self.kind is DirectoryKind.LATER:
            return {**found, "teams": [{"name": "Design", "primary_admin": self.primary_admin or f"admin@{domain}"}]}
        teams: dict[str, str] = {}
        for chosen in self.mappings:
            teams.setdefault(chosen.team.casefold(), chosen.team)
        found["teams"] = [{"name": team, "primary_admin": self.primary_admin} for team in teams.values()]
        found["directories"] = [self._directory(file, folder)]
        ids: list[str] = []
        for chosen in self.mappings:
            ids.append(_key_of(chosen, ids))
        found["mappings"] = [
            {
                "id": key,
                "directory": DIRECTORY_ID,
                "group": chosen.group,
                "team": teams[chosen.team.casefold()],
                "offerings": list(chosen.offerings),
            }
            for key, chosen in zip(ids, self.mappings, strict=True)
        ]
        return found

    def faults(self, file_of: Callable[[str], Path], folder: Path) -> list[BadInput]:
        """What is wrong with the answers, each at its option. ``file_of``: organization → where its file will lie."""
        wrong = list(self._own_faults())
        said = {fault.where for fault in wrong}
        if {OPTIONS["organization"], OPTIONS["domain"]} & said:
            return wrong
        raw = self.tables(file_of(self.organization), folder)
        found = list(references.faults(raw))
        try:
            OrganizationSettings.model_validate(raw)
        except ValidationError as error:
            found = [*model_faults(OrganizationSettings, raw, error), *found]
        return wrong + [BadInput(text, where=_option(place)) for place, text in found if _option(place) not in said]

    def words(self) -> list[str]:
        """The options that give the same answers without a question."""
        found: list[str] = []
        for item in fields(self):
            value = getattr(self, item.name)
            if value == item.default or (item.name == "name" and value == self.organization):
                continue
            option = OPTIONS[item.name]
            values = value if isinstance(value, tuple) else (value,)
            found += [option] if value is True else [word for one in values for word in (option, str(one))]
        return found

    def _own_faults(self) -> Iterator[BadInput]:
        if not re.fullmatch(ORGANIZATION_ID, self.organization):
            step = f"choose {ORGANIZATION_ID}"
            yield BadInput(f"{self.organization!r} is no id", where=OPTIONS["organization"], next_step=step)
        try:
            a_label(self.mail_domain)
        except ValueError as error:
            yield BadInput(str(error), where=OPTIONS["domain"], next_step="name the domain of the mail addresses")
        try:
            Email.parse(self.primary_admin or "somebody@acme.example")
        except ValueError as error:
            yield BadInput(str(error), where=OPTIONS["primary_admin"], next_step="write local@domain")
        needed = list(_NEEDED.get(self.kind, ()))
        if self.kind.is_server and self.bind_dn not in ("", *WITHOUT_PASSWORD):
            needed.append("bind_password")
        for name in needed:
            if not getattr(self, name):
                yield BadInput(
                    f"{self.kind} needs it", where=OPTIONS[name], next_step="rosterd init --help says what it is"
                )
        if self.kind in {DirectoryKind.SCIM_PULL, DirectoryKind.LDIF} and len(self.servers) > 1:
            yield BadInput(f"{self.kind} has one address", where=OPTIONS["servers"])
        if self.kind is DirectoryKind.LATER:
            for name in ("servers", "bind_dn", "bind_password", "people_base", "groups_base", "mappings"):
                if getattr(self, name):
                    step = f"say which kind of directory it is: --directory {'|'.join(DirectoryKind)}"
                    yield BadInput("it is about a directory, and none is named", where=OPTIONS[name], next_step=step)

    def _directory(self, file: Path, folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = {"id": DIRECTORY_ID, "kind": _TOML_KINDS[self.kind]}
        if self.kind is DirectoryKind.SCIM_PUSH:
            return found
        addresses = list(self.servers) or [""]
        password = _reference(self.bind_password, file, folder)
        if self.kind is DirectoryKind.LDIF:
            found["file"] = _path(addresses[0], file, folder)
        elif self.kind is DirectoryKind.SCIM_PULL:
            found |= {"url": addresses[0], "token": password}
        else:
            found["servers"] = addresses
        if self.kind is not DirectoryKind.LDIF:
            found |= {"plaintext": True} if self.plaintext else {}
            found |= {"tls_ca": _path(self.tls_ca, file, folder)} if self.tls_ca else {}
            found |= {"tls_name": self.tls_name} if self.tls_name and self.kind.is_server else {}
        if self.kind.is_server:
            bound = {"bind_dn": self.bind_dn, "bind_password": password}
            found |= {"bind": self.bind_dn} if self.bind_dn in WITHOUT_PASSWORD else bound
        if self.kind is not DirectoryKind.SCIM_PULL:
            found |= {"people_base": self.people_base} if self.people_base else {}
            found |= {"groups_base": self.groups_base} if self.groups_base else {}
        return found


def codes_of(text: str) -> tuple[str, ...]:
    """Offering codes out of a list with commas."""
    return tuple(dict.fromkeys(code for part in text.split(",") if (code := part.strip())))


def group_name(reference: str) -> str:
    """What a group is called: the first value of its DN, or the reference itself."""
    found = _FIRST_VALUE.match(reference) if dn.looks_like_dn(reference) else None
    if found is None:
        return reference.strip()

    def plain(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode()) if len(match[1]) == 2 else match[1]

    return _ESCAPED.sub(plain, found[1].strip().encode("utf-8")).decode("utf-8", "replace")


def _key_of(chosen: ChosenGroup, taken: Sequence[str]) -> str:
    """An id for a mapping that none has yet, out of the group's name."""
    letters = unicodedata.normalize("NFKD", group_name(chosen.group).replace("ł", "l").replace("Ł", "L"))
    plain = re.sub(r"[^a-z0-9]+", "-", letters.encode("ascii", "ignore").decode().lower()).strip("-")[:50].rstrip("-")
    first = plain or "group"
    return next(key for key in (first, *(f"{first}-{n}" for n in range(2, len(taken) + 3))) if key not in taken)


def _path(text: str, file: Path, folder: Path) -> str:
    """A path as the file says it: relative to the file inside the configuration, whole elsewhere."""
    whole = os.path.normpath(Path(text).absolute())
    if Path(whole).is_relative_to(os.path.normpath(folder.absolute())):
        return os.path.relpath(whole, file.parent.absolute())
    return whole


def _reference(text: str, file: Path, folder: Path) -> str:
    scheme, _, name = text.partition(":")
    return f"file:{_path(name, file, folder)}" if scheme == "file" and name else text


def _option(place: Place) -> str:
    """The option whose answer stands at a place of the file."""
    section, *rest = place or ("",)
    if section in {"teams", "mappings"} and "primary_admin" not in rest:
        return OPTIONS["mappings"]
    if section == "domains":
        return OPTIONS["domain"]
    key = next((str(part) for part in rest if isinstance(part, str)), "kind")
    name = "organization" if (section, key) == ("organization", "id") else _KEYS.get(key, key)
    return OPTIONS.get(name, OPTIONS["kind"])
