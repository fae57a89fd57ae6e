"""Opens the source, or the finder, that an organization file describes; the one place that knows every kind.

Only constructs: nothing is connected or read before ``Source.read``, ``Source.check`` or ``Finder.find``. Each kind's
module is imported when a directory of that kind is opened: who reads a file loads no LDAP library.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from connector.directory import finding
from connector.directory.base import ReadRequest, Source
from connector.directory.finding import Finder, Finding, FindRequest
from connector.directory.mapping import AttributeRules
from connector.directory.scim.settings import ScimInboxSettings, ScimSettings
from connector.directory.settings import ActiveDirectorySettings, AnyDirectory, LdapSettings, LdifSettings
from connector.directory.survey import Places, Survey

if TYPE_CHECKING:
    from connector.directory.scim.inbox import Mailbox

_SURVEY_DEADLINE = timedelta(minutes=2)


def open_source(settings: AnyDirectory, *, folder: Path, mailbox: Mailbox | None = None) -> Source:
    """The source of one ``[[directories]]`` table; relative paths in it are relative to ``folder``.

    ``mailbox``: the organization's inbox; a ``scim_inbox`` table cannot be opened without it (``ValueError``).
    """
    if isinstance(settings, ScimInboxSettings):
        if mailbox is None:
            raise ValueError(f"directory {settings.id} is an inbox, and no inbox is open")
        from connector.directory.scim.inbox import ScimInboxSource

        return ScimInboxSource(settings, mailbox)
    if isinstance(settings, LdifSettings):
        from connector.directory.ldif.source import LdifSource

        return LdifSource(settings, folder=folder)
    if isinstance(settings, ScimSettings):
        from connector.directory.scim.pull import ScimSource

        return ScimSource(settings, folder=folder)
    if isinstance(settings, ActiveDirectorySettings):
        from connector.directory.ldap.active_directory.source import ActiveDirectorySource

        return ActiveDirectorySource(settings, folder=folder)
    from connector.directory.ldap.source import LdapSource

    return LdapSource(settings, folder=folder)


async def survey(settings: AnyDirectory, *, folder: Path) -> Survey:
    """What a directory that is being set up shows. Raises ``Unavailable`` when it does not let us in, ``ValueError``
    for an inbox, which waits to be pushed to."""
    if isinstance(settings, LdapSettings):
        from connector.directory.ldap.survey import survey as survey_server

        return await survey_server(settings, folder=folder)
    rules = AttributeRules.from_settings(settings)
    request = ReadRequest((), rules.requested, _SURVEY_DEADLINE)
    if isinstance(settings, LdifSettings):
        from connector.directory.ldif.source import LdifSource

        file = LdifSource(settings, folder=folder)
        try:
            return await file.survey(request)
        finally:
            await file.close()
    if isinstance(settings, ScimSettings):
        from connector.directory.scim.pull import ScimSource

        return await ScimSource(settings, folder=folder).survey(request)
    raise ValueError(f"directory {settings.id} is an inbox: it has nothing yet")


async def places(settings: LdapSettings, *, folder: Path) -> Places:
    """Where a directory server says that its people and groups are. Raises ``Unavailable`` as ``survey``."""
    from connector.directory.ldap.survey import places as places_of

    return await places_of(settings, folder=folder)


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
        from connector.directory.scim.find import ScimFinder

        return ScimFinder(settings, folder=folder)
    if isinstance(settings, ActiveDirectorySettings):
        from connector.directory.ldap.active_directory.find import ActiveDirectoryFinder

        return ActiveDirectoryFinder(settings, folder=folder)
    if isinstance(settings, LdifSettings | ScimInboxSettings):
        source = open_source(settings, folder=folder, mailbox=mailbox)
        return ReadingFinder(source, AttributeRules.from_settings(settings))
    from connector.directory.ldap.find import LdapFinder

    return LdapFinder(settings, folder=folder)
