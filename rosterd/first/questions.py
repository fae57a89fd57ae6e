"""The questions of ``rosterd init`` at a terminal: one at a time, each with a line that explains it and a default.

The connection is tried with what the product reads with. Writes no file; an answer that was given as an option is not
asked for.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
from pydantic import TypeAdapter, ValidationError

from connector.directory import sources
from connector.directory.base import CheckLine
from connector.directory.settings import AnyDirectory, DirectorySettings, LdapSettings
from connector.directory.survey import Places, Survey, SurveyedGroup
from ledger.errors import BadInput, RosterdError
from ledger.secret import SecretRef
from rosterd.checks.addresses import is_loopback
from rosterd.first.answers import WITHOUT_PASSWORD, Answers, ChosenGroup, codes_of
from rosterd.first.kinds import MEANINGS, OPTIONS, DirectoryKind
from rosterd.first.steps import ask_for

SHOWN_GROUPS = 40
_NOBODY, _AS_ADDRESSED = "nobody yet", "as in the address"
_TLS = ("tls_ca", "tls_name", "plaintext")
_ABOUT_THE_DIRECTORY = ("servers", *_TLS, "bind_dn", "bind_password", "people_base", "groups_base")


class Questions:
    """One talk. ``given``: answers that options gave; ``folder``: of the configuration; ``file_of``: organization →
    where its file will lie."""

    def __init__(
        self, answers: Answers, given: frozenset[str], *, folder: Path, file_of: Callable[[str], Path]
    ) -> None:
        self.answers = answers
        self._given = given
        self._folder = folder
        self._file_of = file_of
        self._again = False

    def organization(self, known: Sequence[str]) -> str:
        """Which customer it is about; ``known`` have a file already."""
        there = f" There are: {', '.join(known)}; one of them, to see what it lacks." if known else ""
        why = f"Key of the customer everywhere; small letters, digits and -; it never changes.{there}"
        self._ask("organization", "Organization id", why, known[0] if known else self.answers.organization)
        return self.answers.organization

    def customer(self) -> Answers:
        """Everything else about it."""
        self._ask("name", "Name", "How people are shown the customer, in mails and reports.", self.answers.organization)
        self._ask("domain", "Mail domain", "The domain of its people's mail addresses.", self.answers.mail_domain)
        self._kind()
        if self.answers.kind not in {DirectoryKind.LATER, DirectoryKind.SCIM_PUSH}:
            self._directory()
        return self.answers

    def _kind(self) -> None:
        kinds = list(DirectoryKind)
        if "kind" not in self._given:
            _say("Where do its people come from? Answer a number or a word.")
            for number, kind in enumerate(kinds, 1):
                _say(f"  {number}  {kind:<17} {MEANINGS[kind]}")
        by_number = {str(number): kind for number, kind in enumerate(kinds, 1)}

        def read(typed: str) -> DirectoryKind:
            try:
                return by_number.get(typed.strip()) or DirectoryKind(typed.strip().lower())
            except ValueError:
                raise typer.BadParameter(f"{typed!r} is none of: {', '.join(kinds)}") from None

        self._ask("kind", "Directory", "", DirectoryKind.LATER.value, read)

    def _directory(self) -> None:
        """Ask, try, and ask again with the same answers as defaults while that is wanted."""
        while True:
            self._details()
            found = self._tried()
            if found is None or found.ok:
                break
            self._given -= {*_ABOUT_THE_DIRECTORY}
            if not typer.confirm("Change an answer and try again?", default=True):
                _say(
                    "No group was chosen: [[teams]] and [[mappings]] are yours to write (docs/guides/who-gets-what.md)."
                )
                break
            self._again = True
        if found is not None and found.groups:
            self._mappings(found)

    def _details(self) -> None:
        if self.answers.kind is DirectoryKind.LDIF:
            self._ask("servers", "File", "Path of the export (LDIF).", "people.ldif", lambda typed: (typed.strip(),))
            return
        if self.answers.kind is DirectoryKind.SCIM_PULL:
            url = f"https://idp.{self.answers.mail_domain}/scim/v2"
            why = "Address of the provider; /Users and /Groups are right below it."
            self._ask("servers", "Address", why, url, lambda typed: (typed.strip(),))
            self._password(
                "Token", "Where its token with read rights is: env:NAME or file:PATH, never the token itself."
            )
            return
        where = f"ldaps://ldap.{self.answers.mail_domain}"
        why = "Servers in order of preference, with spaces between: ldaps://HOST, or ldap://HOST with StartTLS."
        self._ask("servers", "Addresses", why, where, lambda typed: tuple(typed.replace(",", " ").split()))
        self._encryption()
        why = f"The account that reads; it needs no other rights. Or: {' or '.join(WITHOUT_PASSWORD)}."
        local = all(urlsplit(url).scheme == "ldapi" for url in self.answers.servers)
        bound = "external" if local else f"cn=reader,{self.answers.components}"
        self._ask("bind_dn", "Bind DN", why, bound)
        if self.answers.bind_dn in WITHOUT_PASSWORD:
            self.answers = replace(self.answers, bind_password="")
        else:
            self._password("Password", "Where its password is: env:NAME or file:PATH, never the password itself.")
        places = self._places()
        people = places.people or (places.contexts or (f"ou=People,{self.answers.components}",))[0]
        groups = places.groups or (places.contexts or (f"ou=Groups,{self.answers.components}",))[0]
        self._ask("people_base", "People base", "The part of the tree that holds the people.", people)
        self._ask("groups_base", "Groups base", "The part of the tree that holds the groups.", groups)

    def _encryption(self) -> None:
        parts = [urlsplit(url) for url in self.answers.servers]
        if all(part.scheme == "ldap" and is_loopback(part.hostname or "") for part in parts):
            why = "A server on this machine may be asked without TLS; yes sends the password unencrypted to it."
            self._ask("plaintext", "Without TLS (yes or no)", why, "yes" if self.answers.plaintext else "no", _yes)
        if not self.answers.plaintext and any(part.scheme != "ldapi" for part in parts):
            why = "PEM file of the authority that signed the server's certificate, or: system."
            self._ask("tls_ca", "Authority", why, "system", _unless("system"))
            if self._again or self.answers.tls_name:
                why = "The name that the certificate is for, where it is another than in the address."
                self._ask(
                    "tls_name",
                    "Certificate name",
                    why,
                    _AS_ADDRESSED,
                    _unless(_AS_ADDRESSED),
                )

    def _password(self, text: str, why: str) -> None:
        self._ask("bind_password", text, why, self.answers.password_reference)

    def _places(self) -> Places:
        """What the server says of itself, when it can be asked."""
        settings = self._settings({"people_base": self.answers.components})
        if not isinstance(settings, LdapSettings) or self._secret_lacks(settings.bind_password):
            return Places()
        if {"people_base", "groups_base"} <= self._given:
            return Places()
        try:
            found = asyncio.run(sources.places(settings, folder=self._folder))
        except RosterdError:
            return Places()  # trying says why
        if found.contexts:
            _say(f"The server holds {', '.join(found.contexts)}.")
        return found

    def _tried(self) -> Survey | None:
        """What the directory shows; None where it cannot be tried yet."""
        settings = self._settings({})
        if settings is None:
            return None
        secret = getattr(settings, "bind_password", None) or getattr(settings, "token", None)
        if lack := self._secret_lacks(secret):
            _say(f"Not tried: {lack}")
            return None
        _say("Trying the connection …")
        try:
            found = asyncio.run(sources.survey(settings, folder=self._folder))
        except RosterdError as error:
            found = Survey((CheckLine(False, error.what, error.next_step),))
        for line in found.lines:
            _say(f"  {'ok  ' if line.ok else 'FAIL'}  {line.what}")
            if not line.ok:
                _say(f"        → {line.fix}")
        return found

    def _secret_lacks(self, reference: SecretRef | None) -> str:
        """Why a secret cannot be used now, and how to set it; empty when it can."""
        if reference is None:
            return ""
        anchored = reference.anchored(self._folder)
        try:
            anchored.reveal()
        except BadInput as error:
            return f"{error.what}; to set it: {ask_for(anchored)}"
        return ""

    def _settings(self, more: Mapping[str, Any]) -> AnyDirectory | None:
        """The directory as answered so far; None while it is not a whole one."""
        [table] = self.answers.tables(self._folder / "any.toml", self._folder)["directories"]
        try:
            return TypeAdapter[AnyDirectory](DirectorySettings).validate_python({**more, **table})
        except ValidationError:
            return None

    def _mappings(self, found: Survey) -> None:
        if "mappings" in self._given:
            return
        _say("Which groups give a Team? Answer numbers or names with commas between, /TEXT to search, or none.")
        _show(found.groups, found.cut)

        def read(typed: str) -> list[SurveyedGroup] | None:
            if typed.startswith("/"):
                text = typed[1:].strip().casefold()
                _show([group for group in found.groups if text in group.name.casefold()], False, found.groups)
                return None
            return _meant(typed, found.groups)

        chosen: list[SurveyedGroup] | None = None
        while chosen is None:
            chosen = typer.prompt("Groups", default="none", value_proc=read)
        self.answers = replace(self.answers, mappings=tuple(self._mapping(group) for group in chosen))
        if chosen:
            why = "Who administers these Teams, by mail address: who is told of their seats, and reads their reports."
            self._ask("primary_admin", "Primary Admin", why, _NOBODY, _unless(_NOBODY))

    def _mapping(self, group: SurveyedGroup) -> ChosenGroup:
        _say(f"{group.name} ({group.size}):")
        team = typer.prompt("  Team", default=group.name).strip()
        codes = typer.prompt("  Offering codes, with commas between", default="none")
        return ChosenGroup(group.reference, team, () if codes == "none" else codes_of(codes))

    def _ask(self, name: str, text: str, why: str, default: str, read: Callable[[str], Any] = str.strip) -> None:
        """Ask until the answer is good; what was answered before is the default."""
        if name in self._given:
            return
        if why:
            _say(why)
        before = getattr(self.answers, name)
        if before and not isinstance(before, bool) and name != "organization":
            default = " ".join(before) if isinstance(before, tuple) else str(before)

        def taken(typed: str) -> Any:
            changed = replace(self.answers, **{name: read(typed)})
            for fault in changed.faults(self._file_of, self._folder):
                if fault.where == OPTIONS[name]:
                    raise typer.BadParameter(fault.what)
            self.answers = changed
            return typed

        typer.prompt(text, default=default, value_proc=taken)


def _unless(default: str) -> Callable[[str], str]:
    """What was typed; nothing where it is the default."""
    return lambda typed: "" if typed.strip() == default else typed.strip()


def _yes(typed: str) -> bool:
    if typed.strip().lower() not in {"y", "yes", "n", "no"}:
        raise typer.BadParameter("answer yes or no")
    return typed.strip().lower().startswith("y")


def _show(groups: Sequence[SurveyedGroup], cut: bool, among: Sequence[SurveyedGroup] = ()) -> None:
    """Groups with their numbers; names that several have are told apart by their place."""
    places = {group.reference: number for number, group in enumerate(among or groups, 1)}
    names = [group.name.casefold() for group in groups]
    width = max((len(group.name) for group in groups[:SHOWN_GROUPS]), default=0)
    for group in groups[:SHOWN_GROUPS]:
        place = f"  {group.reference}" if names.count(group.name.casefold()) > 1 else ""
        _say(f"  {places[group.reference]:>3}  {group.name:<{min(width, 40)}}  {group.size}{place}")
    left = len(groups) - SHOWN_GROUPS
    if left > 0 or cut:
        more = (
            f"{left} more{', and others that were not read' if cut else ''}" if left > 0 else "more that were not read"
        )
        _say(f"  … and {more}; /TEXT shows those whose name holds TEXT")


def _meant(typed: str, groups: Sequence[SurveyedGroup]) -> list[SurveyedGroup]:
    """The groups that an answer means. Raises ``typer.BadParameter``."""
    if typed.strip().lower() in {"", "none"}:
        return []
    found: list[SurveyedGroup] = []
    names = [typed.strip()] if any(typed.strip() == group.name for group in groups) else typed.split(",")
    for name in map(str.strip, names):
        if name.isdigit() and 0 < int(name) <= len(groups):
            found.append(groups[int(name) - 1])
            continue
        named = [group for group in groups if name.casefold() in {group.name.casefold(), group.reference.casefold()}]
        if len(named) != 1:
            said = "no group of these" if not named else f"the name of {len(named)} groups: answer its number"
            raise typer.BadParameter(f"{name!r} is {said}")
        found += named
    return list(dict.fromkeys(found))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
