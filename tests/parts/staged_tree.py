"""An LDAP tree on which situations are played (``Stage``): in a file that is written anew, or on a real slapd."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from connector.directory.settings import LdapSettings, LdifSettings
from tests.parts import slapd
from tests.parts.situations import GROUPS, PEOPLE, SITUATIONS

Attributes = dict[str, list[str]]
ROOT = "dc=firma,dc=example"
EVERY = frozenset(situation.name for situation in SITUATIONS)
BLIND = f"cn=blind,{ROOT}"
"""Lists who is hidden from readers by an access rule alone: no entry changes that a follower would be told of."""
SERVER = (
    f"dn: {ROOT}\nobjectClass: dcObject\nobjectClass: organization\ndc: firma\no: F\n\n"
    f"dn: {BLIND}\nobjectClass: team\ncn: blind\n"
)
SCHEMA = "objectclass ( 1.3.6.1.4.1.55555.1 NAME 'team' SUP top STRUCTURAL MUST cn MAY ( member $ description ) )"
"""A group that may be empty."""
WAYS: dict[str, Sequence[str]] = {
    "read whole": (),
    "syncrepl": (*slapd.SYNCPROV, "syncprov-sessionlog 1000"),
    "present list": slapd.SYNCPROV,
    "modifyTimestamp": (),
}
"""How a server is read, and its lines for that."""
ACCESS = ('filter="(description=secret)" by * none', f'* by set="[{BLIND}]/member & this" none by * read')


class Tree(ABC):
    """What happens to people and groups under ``ou=NAME``, over four operations on entries; who ``tells`` the groups
    writes their members anew."""

    def __init__(self, name: str) -> None:
        self.base = f"ou={name.replace(',', '')},{ROOT}"
        self._at = {person: f"uid={person},ou=People,{self.base}" for person in PEOPLE}
        self._at |= {group: f"cn={group},ou=Groups,{self.base}" for group in GROUPS}
        self._members = {group: [self._at[item] for item in listed] for group, listed in GROUPS.items()}
        self._mails = {person: [f"{person}@acme.example"] for person in PEOPLE}

    def begin(self) -> None:
        """Put everybody there."""
        self._add(self.base, {"objectClass": ["organizationalUnit"], "ou": [self.base.partition(",")[0][3:]]})
        for unit in ("People", "Groups", "Elsewhere"):
            self._add(f"ou={unit},{self.base}", {"objectClass": ["organizationalUnit"], "ou": [unit]})
        self._add(f"uid=zed,ou=Elsewhere,{self.base}", _person("zed", "zed@acme.example"))  # so that it is no new unit
        for name in PEOPLE:
            self._add(self._at[name], _person(name, *self._mails[name]))
        for name, members in self._members.items():
            self._add(self._at[name], {"objectClass": ["team"], "cn": [name], "member": _spelled(members)})

    @property
    def group(self) -> str:
        """What the mapping names: the group ``design``."""
        return f"cn=design,ou=Groups,{self.base}"

    def is_free(self, name: str) -> bool:
        """Whether nobody is where this one was at first."""
        return f"uid={name},ou=People,{self.base}" not in self._at.values()

    async def rename(self, name: str, *, told: bool) -> None:
        self._move_to(name, f"{self._at[name].partition(',')[0]}.b,ou=People,{self.base}", told)

    async def move_out(self, name: str, *, told: bool) -> None:
        self._move_to(name, f"{self._at[name].partition(',')[0]},ou=Elsewhere,{self.base}", told)

    async def leave_filter(self, name: str) -> None:
        self._set(self._at[name], "departmentNumber", ["elsewhere"])

    async def hide(self, *names: str) -> None:
        for name in names:
            self._set(self._at[name], "description", ["secret"])

    async def show(self, *names: str) -> None:
        for name in names:
            self._set(self._at[name], "description", [])

    async def delete(self, name: str, *, told: bool) -> None:
        self._remove(self._at[name])
        if told:
            self._tell(self._at[name], "")
        del self._at[name]
        self._members.pop(name, None)

    async def disable(self, name: str) -> None:
        self._set(self._at[name], "employeeType", ["disabled"])

    async def take(self, name: str, group: str) -> None:
        self._list(group, [value for value in self._members[group] if value != self._at[name]])

    async def rename_group(self, name: str, *, told: bool) -> None:
        self._move_to(name, f"{self._at[name].partition(',')[0]}.b,ou=Groups,{self.base}", told)

    async def spoil_mail(self, name: str) -> None:
        self._set(self._at[name], "mail", ["none"])

    async def add(self, name: str, *, mail: str = "", place: str = "") -> None:
        self._at[name] = f"uid={place or name},ou=People,{self.base}"
        self._mails[name] = [f"{mail or name}@acme.example"]
        self._add(self._at[name], _person(place or name, *self._mails[name]))

    async def alias(self, name: str, mail: str) -> None:
        self._mails[name] = [mail, *self._mails[name]]
        self._set(self._at[name], "mail", self._mails[name])

    def _move_to(self, name: str, place: str, told: bool) -> None:
        before, self._at[name] = self._at[name], place
        self._move(before, place)
        if told:
            self._tell(before, place)

    def _tell(self, before: str, now: str) -> None:
        for group, members in self._members.items():
            if before in members and group in self._at:
                kept = [now if value == before else value for value in members]
                self._list(group, [value for value in kept if value])

    def _list(self, group: str, members: list[str]) -> None:
        self._members[group] = members
        self._set(self._at[group], "member", _spelled(members))

    @abstractmethod
    def _add(self, dn: str, attributes: Attributes) -> None: ...
    @abstractmethod
    def _set(self, dn: str, attribute: str, values: Sequence[str]) -> None: ...
    @abstractmethod
    def _move(self, dn: str, to: str) -> None: ...
    @abstractmethod
    def _remove(self, dn: str) -> None: ...


class Export(Tree):
    """An LDIF export made with a base and a filter: who is hidden, or left them, is not in the file. So whoever the
    filter leaves out is hidden for its reader, who can ask nobody for them."""

    # nobody can be asked after: a value that came with the move may be theirs, so that they are kept by doubt (E3)
    can = EVERY - {"left the filter", "disabled and left the filter", "moved out, group told"}

    def __init__(self, name: str, file: Path) -> None:
        super().__init__(name)
        self._file = file
        self._entries: dict[str, Attributes] = {}
        self.settings = LdifSettings.model_validate({
            "id": "corp", "file": str(file), "people_base": f"ou=People,{self.base}",
            "groups_base": f"ou=Groups,{self.base}", "group_classes": ["team"],
            "disabled": {"attribute": "employeeType", "values": ["disabled"]},
        })  # fmt: skip

    def _add(self, dn: str, attributes: Attributes) -> None:
        self._entries[dn] = {**attributes, "entryUUID": [str(uuid.uuid4())]}
        self._write()

    def _set(self, dn: str, attribute: str, values: Sequence[str]) -> None:
        self._entries[dn][attribute] = list(values)
        self._write()

    def _move(self, dn: str, to: str) -> None:
        self._entries[to] = self._entries.pop(dn)
        kind, _, value = to.partition(",")[0].partition("=")
        self._set(to, kind, [value])

    def _remove(self, dn: str) -> None:
        del self._entries[dn]
        self._write()

    def _write(self) -> None:
        shown = [(dn, values) for dn, values in self._entries.items() if not _out_of_sight(dn, values)]
        text = "\n".join(record(dn, values) for dn, values in shown)
        self._file.write_text(f"version: 1\n\n{text}", encoding="utf-8")


class Server(Tree):
    """A part of a running slapd (``SERVER``, ``SCHEMA``, ``ACCESS``), read by nobody in particular. ``silently``: who
    is hidden is so by an access rule alone, and nobody is told."""

    can = EVERY

    def __init__(self, name: str, server: slapd.Slapd, *, silently: bool = False) -> None:
        super().__init__(name)
        self._server = server
        self.silently = silently
        self.settings = LdapSettings.model_validate({
            "id": "corp", "servers": [server.url], "plaintext": True, "bind": "anonymous",
            "people_base": f"ou=People,{self.base}", "groups_base": f"ou=Groups,{self.base}",
            "people_filter": "(&(objectClass=inetOrgPerson)(!(departmentNumber=elsewhere)))",
            "groups_filter": "(objectClass=team)", "attempts": 1, "retry_wait": "0", "page_timeout": "10s",
            "disabled": {"attribute": "employeeType", "values": ["disabled"]},
        })  # fmt: skip
        self._together: list[str] | None = None

    def begin(self) -> None:
        self._together = []
        super().begin()
        changes, self._together = self._together, None
        self._server.modify("\n".join(changes))

    async def hide(self, *names: str) -> None:
        if self.silently:
            self._blind("add", names)
        else:
            await super().hide(*names)

    async def show(self, *names: str) -> None:
        if self.silently:
            self._blind("delete", names)
        else:
            await super().show(*names)

    def _blind(self, how: str, names: Sequence[str]) -> None:
        values = "".join(f"member: {self._at[name]}\n" for name in names)
        self._do(f"dn: {BLIND}\nchangetype: modify\n{how}: member\n{values}")

    def _add(self, dn: str, attributes: Attributes) -> None:
        self._do(record(dn, {"changetype": ["add"], **attributes}))

    def _set(self, dn: str, attribute: str, values: Sequence[str]) -> None:
        self._do(record(dn, {"changetype": ["modify"], "replace": [attribute], attribute: values}))

    def _move(self, dn: str, to: str) -> None:
        rdn, _, parent = to.partition(",")
        self._do(f"dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\nnewsuperior: {parent}\n")

    def _remove(self, dn: str) -> None:
        self._do(f"dn: {dn}\nchangetype: delete\n")

    def _do(self, change: str) -> None:
        if self._together is None:
            self._server.modify(change)
        else:
            self._together.append(change)


def _spelled(names: Sequence[str]) -> list[str]:
    """As groups list these DNs: otherwise than the entries write them, and yet the same names."""
    return [name.upper() for name in names]


def _person(uid: str, *mails: str) -> Attributes:
    return {
        "objectClass": ["inetOrgPerson"], "uid": [uid], "cn": [uid], "sn": ["Test"], "givenName": ["Given"],
        "displayName": ["Somebody"], "mail": list(mails), "departmentNumber": ["here"],
    }  # fmt: skip


def record(dn: str, attributes: Mapping[str, Sequence[str]]) -> str:
    """LDIF; all here is plain text."""
    return f"dn: {dn}\n" + "".join(f"{name}: {value}\n" for name, values in attributes.items() for value in values)


def _out_of_sight(dn: str, attributes: Attributes) -> bool:
    hidden = attributes.get("description") == ["secret"] or attributes.get("departmentNumber") == ["elsewhere"]
    return hidden or ",ou=Elsewhere," in dn
