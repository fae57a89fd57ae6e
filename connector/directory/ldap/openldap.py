"""Placeholder while the LDAP source is being built."""

from __future__ import annotations

from pathlib import Path

from connector.directory.base import Source
from connector.directory.settings import LdapSettings
from ledger.errors import BadInput


def LdapSource(settings: LdapSettings, *, folder: Path) -> Source:
    """Not there yet."""
    raise BadInput("directories of kind ldap cannot be read yet", where=settings.id)
