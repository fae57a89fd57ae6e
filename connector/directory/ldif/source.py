"""An LDIF export as a directory (D15; RFC 2849): people and groups from one file.

Reads one file and nothing else. A file that was cut off is unknown, never an exception and never "empty".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from connector.directory import assembly, dn, groups
from connector.directory.base import Checked, Entry, Reading, ReadRequest, Scope, ScopeState
from connector.directory.blocking import Bench
from connector.directory.ldif.text import Contents, parse
from connector.directory.mapping import AttributeRules, anchor_text
from connector.directory.report import reading_lines
from connector.directory.settings import LdifSettings
from connector.directory.stand import CONTEXT_CSN, EXPORTED, Stand, csn_marks
from connector.directory.survey import Survey, SurveyedGroup, by_name

MAX_BYTES = 2 * 1024**3


class LdifSource:
    """Reads people and groups of one LDIF file. ``folder``: what a relative path is relative to."""

    def __init__(self, settings: LdifSettings, *, folder: Path) -> None:
        self._settings = settings
        self._path = folder / settings.file
        self._bench = Bench(f"ldif-{settings.id}", lambda: None)

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        return self._settings.id

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        """Read the whole file; whatever is wrong with it makes all its scopes unknown."""
        return await self._bench.run(lambda: self._read(request, now))

    async def check(self, request: ReadRequest) -> Checked:
        """Read the file and say what it gives, with the fix for what it does not."""
        from_epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        reading = await self.read(request, now=from_epoch)
        rules = AttributeRules.from_settings(self._settings)
        return Checked(reading_lines(reading, rules, self._settings.sentinels), reading)

    async def survey(self, request: ReadRequest) -> Survey:
        """``check``, and the groups of the file."""
        lines = (await self.check(request)).lines
        return Survey(tuple(lines), by_name(await self._bench.run(self._groups)))

    async def close(self) -> None:
        """End the reading thread."""
        await self._bench.close()

    def _read(self, request: ReadRequest, now: datetime) -> Reading:
        started = time.monotonic()
        contents = _load(self._path)
        faults = list(contents.faults)
        if not contents.faults and self._settings.require_count and contents.declared is None:
            faults.append('the number of entries is not declared (a line "# entries: N"): the file may be cut off')
        found = _Sorted.of(contents, self._settings)
        reasons = "; ".join([*faults, *found.faults][:5])
        seconds = time.monotonic() - started
        state = ScopeState.UNKNOWN if reasons else ScopeState.COMPLETE
        rules = self._rules()
        bases = rules.people_bases
        scopes = {}
        for name, base in bases.items():
            count = found.count_under(base)
            said = reasons or ("" if count else "no entry is a person: look at people_base and people_classes")
            scopes[name] = Scope(
                name, ScopeState.UNKNOWN if said else state, said, self._path.name, 1, (), count, seconds
            )
        findings = assembly.Findings(
            people=found.people,
            people_scopes=scopes,
            groups=found.groups,
            group_proof=Scope("", state, reasons, self._path.name, 1, (), 0, seconds),
            group_proofs={},
            missing_sentinels=frozenset(s for s in self._settings.sentinels if dn.key(s) not in found.keys),
        )
        span = (now, now + timedelta(seconds=seconds))
        if request.progress is not None:
            request.progress(len(contents.entries), 1, len(scopes) + len(request.groups))
        reading = assembly.assemble(findings, request, source_id=self.id, span=span, rules=rules)
        return replace(reading, stand=_stand(contents, self._settings.file)) if contents.entries else reading

    def _groups(self) -> list[SurveyedGroup]:
        found = _Sorted.of(_load(self._path), self._settings).groups
        return [SurveyedGroup(group.dn, group.name, len(group.members) + len(group.uids)) for group in found]

    def _rules(self) -> assembly.Rules:
        bases = self._settings.people_bases
        named = {assembly.PEOPLE + base: base for base in bases} or {assembly.PEOPLE + self._path.name: ""}
        return assembly.Rules(named, self._settings.groups_base, self._settings.member_uid_attribute)


def _load(path: Path) -> Contents:
    try:
        before = path.stat()
        if before.st_size > MAX_BYTES:
            return Contents(faults=[f"{path.name} is larger than {MAX_BYTES} bytes"])
        content = path.read_bytes()
        after = path.stat()
    except OSError as error:
        return Contents(faults=[f"{path.name} cannot be read: {error.strerror}"])
    contents = parse(content)
    if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
        contents.faults.append(f"{path.name} changed while it was read")
    return contents


def _stand(contents: Contents, name: str) -> Stand:
    """How new the file is: as it declares it, else by the contextCSN of a copy of OpenLDAP's database (slapcat)."""
    kind, marks = "", dict[str, Mapping[str, str]]()
    if contents.exported is not None:
        kind, marks = EXPORTED, {"": {"time": contents.exported.isoformat(timespec="microseconds")}}
    else:
        for entry_dn, attributes in contents.entries:
            if found := attributes.get("contextcsn"):
                identity = b"".join(attributes.get("entryuuid", ())).decode("ascii", "replace")
                csns = [raw.decode("ascii", "replace") for raw in found]
                kind, marks[entry_dn] = CONTEXT_CSN, csn_marks(identity, csns)
    return Stand(name, kind, marks, marks, (name,))


@dataclass(slots=True)
class _Sorted:
    """The entries of a file, told apart: people by anchor, groups, and the keys of all DNs."""

    people: dict[str, Entry] = field(default_factory=dict)
    groups: list[groups.GroupEntry] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    people_keys: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, contents: Contents, settings: LdifSettings) -> _Sorted:
        found = cls()
        person_classes = {name.lower().encode() for name in settings.people_classes}
        group_classes = {name.lower().encode() for name in settings.group_classes}
        bases = [dn.key(base) for base in settings.people_bases] or [""]
        groups_base = dn.key(settings.groups_base)
        for name, attributes in contents.entries:
            try:
                key = dn.key(name)
            except ValueError as error:
                found.faults.append(str(error))
                continue
            if key in found.keys:
                found.faults.append(f"{name} is there twice")
                continue
            found.keys.add(key)
            classes = {value.lower() for value in attributes.get("objectclass", ())}
            values = attributes.get(settings.anchor_attribute.lower(), ())
            entry = Entry(anchor_text(settings.anchor_attribute, values[0]) if values else "", name, attributes)
            if classes & person_classes and any(dn.is_under(key, base) for base in bases):
                found.add_person(entry, key, settings.anchor_attribute)
            elif classes & group_classes and dn.is_under(key, groups_base):
                found.groups.append(groups.group_entry(entry, settings.group_name_attribute))
        return found

    def add_person(self, entry: Entry, key: str, attribute: str) -> None:
        if not entry.anchor:
            self.faults.append(f"{entry.dn} has no {attribute}: export it too (ldapsearch … '*' {attribute})")
        elif entry.anchor in self.people:
            self.faults.append(f"{entry.dn} and {self.people[entry.anchor].dn} have the same {attribute}")
        else:
            self.people[entry.anchor] = entry
            self.people_keys.append(key)

    def count_under(self, base: str) -> int:
        base_key = dn.key(base)
        return sum(dn.is_under(key, base_key) for key in self.people_keys)
