"""Opens the finder for a directory of the organization file; beside ``sources`` the one place that knows every kind.

Only constructs: nothing is connected before ``Finder.find``.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from connector.directory import finding
from connector.directory.base import ReadRequest, Source
from connector.directory.finding import Finder, Finding, FindRequest
from connector.directory.ldap.find import LdapFinder
from connector.directory.ldap.find_active_directory import ActiveDirectoryFinder
from connector.directory.mapping import AttributeRules
from connector.directory.scim_find import ScimFinder
from connector.directory.scim_inbox import Mailbox
from connector.directory.scim_settings import ScimInboxSettings, ScimSettings
from connector.directory.settings import ActiveDirectorySettings, AnyDirectory, LdifSettings
from connector.directory.sources import open_source


class ReadingFinder:
    """Answers from a whole reading: for a file, for an inbox, and for whatever cannot be asked for one person."""

    def __init__(self, source: Source, rules: AttributeRules) -> None:
        self._source = source
        self._rules = rules

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        return self._source.id

    async def find(self, request: FindRequest, *, now: datetime) -> Finding:
        """Read everything, then look."""
        wanted = ReadRequest(request.groups, self._rules.requested, request.deadline)
        return finding.of_reading(await self._source.read(wanted, now=now), request, self._rules)

    async def close(self) -> None:
        """Close the source."""
        await self._source.close()


def open_finder(settings: AnyDirectory, *, folder: Path, mailbox: Mailbox | None = None) -> Finder:
    """The finder of one ``[[directories]]`` table; parameters as of ``open_source``."""
    if isinstance(settings, ScimSettings):
        return ScimFinder(settings, folder=folder)
    if isinstance(settings, ActiveDirectorySettings):
        return ActiveDirectoryFinder(settings, folder=folder)
    if isinstance(settings, LdifSettings | ScimInboxSettings):
        source = open_source(settings, folder=folder, mailbox=mailbox)
        return ReadingFinder(source, AttributeRules.from_settings(settings))
    return LdapFinder(settings, folder=folder)
