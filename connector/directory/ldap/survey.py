"""A first look at a directory server: its root entry, one page of its people, its groups with their sizes.

Asks the first server that lets us in. Reads one page of people at most, follows no referral, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from connector.directory.base import CheckLine, Entry, Reading
from connector.directory.blocking import Bench
from connector.directory.groups import MEMBER_ATTRIBUTES, group_entry
from connector.directory.ldap.active_directory import domain
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Clock, Failed, Session
from connector.directory.ldap.whole import membership
from connector.directory.ldap.wire import decode
from connector.directory.mapping import AttributeRules, anchor_text
from connector.directory.report import fix_for, reading_lines
from connector.directory.settings import ActiveDirectorySettings, LdapSettings
from connector.directory.survey import MOST_GROUPS, Places, Survey, SurveyedGroup, by_name
from ledger.counted import counted
from ledger.errors import Unavailable

T = TypeVar("T")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = 60.0
_PEOPLE = ("people", "users", "employees", "accounts", "staff")
_GROUPS = ("groups", "group", "roles")
_UNITS = "(|(objectClass=organizationalUnit)(objectClass=container))"


async def places(settings: LdapSettings, *, folder: Path) -> Places:
    """Where this server has its people and groups, as far as it says. Raises ``Unavailable`` when none lets us in."""
    return await _asked(settings, folder, _Asker.places)


async def survey(settings: LdapSettings, *, folder: Path) -> Survey:
    """What the account sees of people and groups. Raises ``Unavailable`` when no server lets us in."""
    return await _asked(settings, folder, _Asker.survey)


async def _asked(settings: LdapSettings, folder: Path, work: Callable[[_Asker], T]) -> T:
    asker = _Asker(settings, folder)
    bench = Bench(f"survey-{settings.id}", asker.interrupt)
    try:
        return await bench.run(lambda: asker.on_a_server(work), deadline=_SECONDS)
    finally:
        await bench.close()


class _Asker:
    """The questions, on one connection."""

    def __init__(self, settings: LdapSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = Clock(_SECONDS)
        self._names = decode.Names()
        self._opened: Session | None = None
        self._passed: list[CheckLine] = []

    def interrupt(self) -> None:
        """End what runs."""
        self._clock.stop("it took too long, or it was stopped")
        if self._opened is not None:
            self._opened.interrupt()

    def on_a_server(self, work: Callable[[_Asker], T]) -> T:
        """Do the work on the first server that lets us in."""
        for url in self._settings.servers:
            session = self._opened = Session(url, self._settings, self._folder, self._clock)
            try:
                session.open()
                return work(self)
            except Failed as failure:
                self._passed.append(CheckLine(False, f"{url}: {failure.reason}", fix_for(failure.reason)))
                if failure.final:
                    break
            finally:
                session.close()
        said = "; ".join(line.what for line in self._passed)
        raise Unavailable(said, next_step=self._passed[-1].fix)

    def places(self) -> Places:
        """Contexts of the root entry, and containers of a telling name under the first."""
        root, _ = self._ask(search.Query("", "(objectClass=*)", ["defaultNamingContext", "namingContexts"]))
        shown = [
            raw.decode("utf-8", "replace")
            for entry in root
            for name in ("defaultnamingcontext", "namingcontexts")
            for raw in entry.attributes.get(name, ())
        ]
        contexts = tuple(name for name in dict.fromkeys(shown) if name)
        if not contexts or isinstance(self._settings, ActiveDirectorySettings):  # people are anywhere in a domain
            return Places(contexts[:1], *contexts[:1], *contexts[:1])
        named = "".join(f"({kind}={name})" for name in (*_PEOPLE, *_GROUPS) for kind in ("ou", "cn"))
        query = search.Query(contexts[0], f"(&{_UNITS}(|{named}))", ["ou", "cn"], page_size=100, most=100)
        units = [(entry.dn, _named(entry)) for entry in self._ask(query)[0]]
        return Places(contexts, _first(units, _PEOPLE), _first(units, _GROUPS))

    def survey(self) -> Survey:
        """People of one page, base by base; groups with how many they list."""
        session = self._session
        lines = [*self._passed, CheckLine(True, f"{session.url}: connected, {session.encryption}")]
        if doubt := self._doubt():
            lines.append(CheckLine(False, f"{session.url}: {doubt}", fix_for(doubt)))
        rules = AttributeRules.from_settings(self._settings)
        people: dict[str, Entry] = {}
        for base in self._settings.people_bases:
            found, proof = self._ask(self._first_page(base, self._settings.people_filter, rules.requested))
            lines.append(self._people_line(base, found, proof))
            people |= {entry.dn: entry for entry in found}
        page = Reading(self._settings.id, _NEVER, _NEVER, people=people, groups={}, scopes={})
        lines += reading_lines(page, rules)
        if not self._settings.groups_base:
            return Survey(tuple(lines))
        groups, proof = self._ask(self._groups_query())
        if proof.reason and not proof.cut:
            scope = membership.base_scope(proof, self._settings.groups_base)
            lines.append(CheckLine(False, f"{self._settings.groups_base}: {scope.reason}", fix_for(scope.reason)))
        else:
            shown = f"{counted(len(groups), 'group')}{' on the first pages' if proof.cut else ''}"
            lines.append(CheckLine(True, f"{self._settings.groups_base}: {shown}"))
        return Survey(tuple(lines), by_name([self._group(entry) for entry in groups]), proof.cut)

    def _doubt(self) -> str:
        """Why this is no domain controller to read from, where it should be one."""
        if not isinstance(self._settings, ActiveDirectorySettings):
            return ""
        return domain.root_entry(self._session, self._settings.page_timeout.total_seconds()).doubt

    def _people_line(self, base: str, found: Sequence[Entry], proof: search.Proof) -> CheckLine:
        if proof.reason and not proof.cut:
            reason = membership.base_scope(proof, base).reason
        elif not found:
            reason = "no entry is a person: the base is empty, the filter is wrong, or people are hidden"
        elif not all(entry.anchor for entry in found):
            nameless = next(entry for entry in found if not entry.anchor)
            reason = f"{nameless.dn} has no {self._settings.anchor_attribute}"
        else:
            more = ", and there are more" if proof.cut else ", and no more"
            return CheckLine(True, f"{base}: the first page shows {len(found)} people{more}")
        return CheckLine(False, f"{base}: {reason}", fix_for(reason))

    def _first_page(self, base: str, condition: str, attributes: Sequence[str]) -> search.Query:
        wanted = tuple(dict.fromkeys((*attributes, self._settings.anchor_attribute)))
        return search.Query(base, condition, wanted, self._settings.page_size, most=1)

    def _groups_query(self) -> search.Query:
        settings = self._settings
        wanted = membership.attributes(settings)
        size = min(settings.page_size, MOST_GROUPS)
        return search.Query(settings.groups_base, settings.groups_filter, wanted, size, most=MOST_GROUPS)

    def _group(self, entry: Entry) -> SurveyedGroup:
        listed = {
            name: values for name, values in entry.attributes.items() if name.partition(";")[0] in MEMBER_ATTRIBUTES
        }
        name = group_entry(entry, self._settings.group_name_attribute).name
        more = any(";range=" in key for key in listed)
        return SurveyedGroup(entry.dn, name, sum(map(len, listed.values())), more)

    @property
    def _session(self) -> Session:
        assert self._opened is not None  # noqa: S101
        return self._opened

    def _ask(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        """Run one query. Raises ``Failed`` when it broke the connection."""
        if isinstance(self._settings, ActiveDirectorySettings):
            query = replace(query, elsewhere=domain.is_partition)
        entries: list[Entry] = []
        anchor, key = self._settings.anchor_attribute, self._settings.anchor_attribute.lower()

        def take(data: bytes, spans: Sequence[search.Span]) -> None:
            for start, end in spans:
                name, attributes = decode.entry(data, start, end, self._names)
                values = attributes.pop(key, None)
                entries.append(Entry(anchor_text(anchor, values[0]) if values else "", name, attributes))

        proof = search.run(self._session, query, take, page_timeout=self._settings.page_timeout.total_seconds())
        if not proof.usable:
            raise Failed(proof.reason, transient=proof.transient)
        return entries, proof


def _named(entry: Entry) -> frozenset[str]:
    return frozenset(
        raw.decode("utf-8", "replace").lower() for name in ("ou", "cn") for raw in entry.attributes.get(name, ())
    )


def _first(units: Sequence[tuple[str, frozenset[str]]], names: Sequence[str]) -> str:
    """The container with the likeliest name; of several the one nearest to the root."""
    for name in names:
        if found := [where for where, said in units if name in said]:
            return min(found, key=lambda where: (where.count(","), where))
    return ""
