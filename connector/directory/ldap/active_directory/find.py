"""One person asked for at a domain controller (P6): as at any server, and through the primary group.

Reads only, and proves nothing.
"""

from __future__ import annotations

from dataclasses import replace

from connector.directory import dn
from connector.directory.base import Entry
from connector.directory.finding import FindRequest
from connector.directory.groups import GroupEntry
from connector.directory.ldap.active_directory.domain import is_partition, root_entry
from connector.directory.ldap.find import Asking, LdapFinder, escaped_bytes
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Failed, Session
from connector.directory.ldap.whole import ranges
from connector.directory.names import dn_key

_PRIMARY, _SID = "primaryGroupID", "objectSid"
_FOREIGN = "cn=foreignsecurityprincipals,dc="
_NO_SUCH_OBJECT = 32


class ActiveDirectoryFinder(LdapFinder):
    """Asks one of the domain's controllers."""

    def _asking(self, session: Session, request: FindRequest) -> Asking:
        doubt = root_entry(session, self._settings.page_timeout.total_seconds()).doubt
        if doubt:
            raise Failed(doubt, transient=False)
        return _Asking(session, self._settings, request)


class _Asking(Asking):
    extra = (_PRIMARY, _SID)

    def ask(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        return super().ask(replace(query, elsewhere=is_partition))

    def ask_members(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        """Members come in ranges; those of other domains are nobody of this one (as ``active_directory`` reads)."""
        if ranges.MEMBER not in query.attributes:
            return self.ask(query)
        if not query.page_size and _FOREIGN in dn_key(query.base):
            reason = "a principal of another domain"
            return [], search.Proof(self._session.url, codes=[_NO_SUCH_OBJECT], reason=reason)
        entries, proof = self.ask(replace(query, attributes=ranges.ranged(query.attributes)))
        return [ranges.whole(self.ask, entry)[0] for entry in entries], proof

    def direct(self, entry: Entry) -> list[GroupEntry]:
        """The groups that list the person, and their primary group, wherever in the domain it is."""
        found = super().direct(entry)
        sid, primary = entry.attributes.get(_SID.lower(), ()), entry.attributes.get(_PRIMARY.lower(), ())
        if sid and primary and primary[0].isdigit() and len(sid[0]) > 4:
            group = sid[0][:-4] + (int(primary[0]) & 0xFFFFFFFF).to_bytes(4, "little")
            found += self.named_groups(_domain(entry.dn), f"({_SID}={escaped_bytes(group)})")
        return found


def _domain(name: str) -> str:
    """The domain's root in a DN: its last ``dc`` parts."""
    parts = [part for rdn in dn.parse(name) for part in rdn if part[0] == "dc"]
    return ",".join(f"{kind}={value}" for kind, value in parts)
