"""Opens the source an organization file describes; the one place that knows every kind.

Only constructs: nothing is connected or read before ``Source.read`` or ``Source.check``.
"""

from __future__ import annotations

from pathlib import Path

from connector.directory.base import Source
from connector.directory.ldap.active_directory import ActiveDirectorySource
from connector.directory.ldap.openldap import LdapSource
from connector.directory.ldif import LdifSource
from connector.directory.scim_inbox import Mailbox, ScimInboxSource
from connector.directory.scim_pull import ScimSource
from connector.directory.scim_settings import ScimInboxSettings, ScimSettings
from connector.directory.settings import ActiveDirectorySettings, AnyDirectory, LdifSettings


def open_source(settings: AnyDirectory, *, folder: Path, mailbox: Mailbox | None = None) -> Source:
    """The source of one ``[[directories]]`` table; relative paths in it are relative to ``folder``.

    ``mailbox``: the organization's inbox; a ``scim_inbox`` table cannot be opened without it (``ValueError``).
    """
    if isinstance(settings, ScimInboxSettings):
        if mailbox is None:
            raise ValueError(f"directory {settings.id} is an inbox, and no inbox is open")
        return ScimInboxSource(settings, mailbox)
    if isinstance(settings, LdifSettings):
        return LdifSource(settings, folder=folder)
    if isinstance(settings, ScimSettings):
        return ScimSource(settings, folder=folder)
    if isinstance(settings, ActiveDirectorySettings):
        return ActiveDirectorySource(settings, folder=folder)
    return LdapSource(settings, folder=folder)
