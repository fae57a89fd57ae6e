"""The words of ``rosterd init``: kinds of directories, and the option of each answer. Loads nothing, for the help."""

from __future__ import annotations

from enum import StrEnum


class DirectoryKind(StrEnum):
    """Where a customer's people come from, in the words that are asked for."""

    OPENLDAP = "openldap"
    ACTIVE_DIRECTORY = "active-directory"
    SCIM_PUSH = "scim-push"
    SCIM_PULL = "scim-pull"
    LDIF = "ldif"
    LATER = "later"

    @property
    def is_server(self) -> bool:
        """Whether it is asked over LDAP."""
        return self in {DirectoryKind.OPENLDAP, DirectoryKind.ACTIVE_DIRECTORY}

    @property
    def guide(self) -> str:
        """The document about it; empty where there is none."""
        return _GUIDES.get(self, "")


MEANINGS = {
    DirectoryKind.OPENLDAP: "OpenLDAP, 389, FreeIPA and other servers that speak LDAP",
    DirectoryKind.ACTIVE_DIRECTORY: "the domain controllers of an Active Directory domain",
    DirectoryKind.SCIM_PUSH: "an identity provider pushes people to rosterd (Okta, Entra ID): the inbox",
    DirectoryKind.SCIM_PULL: "rosterd reads an identity provider over SCIM",
    DirectoryKind.LDIF: "a file, to try, or where the directory only exports",
    DirectoryKind.LATER: "write a file with examples, to be edited",
}
"""Every kind, as the question explains it."""

_GUIDES = {
    DirectoryKind.OPENLDAP: "docs/guides/openldap.md",
    DirectoryKind.ACTIVE_DIRECTORY: "docs/guides/active-directory.md",
    DirectoryKind.SCIM_PUSH: "docs/guides/scim-inbox.md",
    DirectoryKind.SCIM_PULL: "docs/guides/scim-pull.md",
}
OPTIONS = {
    "organization": "--organization",
    "name": "--name",
    "domain": "--domain",
    "kind": "--directory",
    "servers": "--server",
    "tls_ca": "--tls-ca",
    "tls_name": "--tls-name",
    "plaintext": "--plaintext",
    "bind_dn": "--bind-dn",
    "bind_password": "--bind-password",
    "people_base": "--people-base",
    "groups_base": "--groups-base",
    "mappings": "--map",
    "primary_admin": "--primary-admin",
}
"""Answer → the option that gives it."""
