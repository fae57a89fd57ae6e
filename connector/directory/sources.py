"""Opens the source an organization file describes; the one place that knows every kind.

Only constructs: nothing is connected or read before ``Source.read`` or ``Source.check``.
"""

from __future__ import annotations

from pathlib import Path

from connector.directory.base import Source
from connector.directory.ldap.active_directory import ActiveDirectorySource
from connector.directory.ldap.openldap import LdapSource
from connector.directory.ldif import LdifSource
from connector.directory.scim_pull import ScimSource
from connector.directory.scim_settings import ScimSettings
from connector.directory.settings import ActiveDirectorySettings, LdapSettings, LdifSettings


def open_source(settings: LdapSettings | LdifSettings | ScimSettings, *, folder: Path) -> Source:
    """The source of one ``[[directories]]`` table; relative paths in it are relative to ``folder``."""
    if isinstance(settings, LdifSettings):
        return LdifSource(settings, folder=folder)
    if isinstance(settings, ScimSettings):
        return ScimSource(settings, folder=folder)
    if isinstance(settings, ActiveDirectorySettings):
        return ActiveDirectorySource(settings, folder=folder)
    return LdapSource(settings, folder=folder)
