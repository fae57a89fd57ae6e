"""Logins that were refused since the last one that was accepted, from the audit: a provider that exchanged its key.

Prohibition: it only tells (N2). Whoever likes can have a login refused, so nothing here closes a gate, and nothing that
a response carried is told or offered to be trusted; the audit keeps a bounded number of refusals an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.sso.gate.explain_refusal import NOT_CLAIMED, RELINK_HELD, WORDS, Refusal, refusal_of
from ledger.counted import counted
from ledger.instant import to_minute, to_text
from ledger.store import pages
from ledger.store.book import Reader

REFUSED, ACCEPTED = "sign_in.refused", "sign_in.accepted"
_MOST, _BACK = 200, 100_000
"""How many refusals are counted, and how many events of the audit are looked through."""


@dataclass(frozen=True, slots=True)
class RefusedLogins:
    """``count`` logins were refused since ``since``, the last of them ``last``; ``more``: there were more."""

    count: int
    since: datetime
    last: Refusal
    more: bool = False

    @property
    def line(self) -> str:
        """One sentence with its next command."""
        number = f"more than {self.count} sign-ins" if self.more else counted(self.count, "sign-in")
        meaning = WORDS.get(self.last.reason, (self.last.reason, ""))[0]
        return (
            f"{number} refused since {to_minute(self.since)}, none accepted; the last on {to_minute(self.last.at)}:"
            f" {meaning} ({self.last.reason}) → rosterd sso explain {self.last.reference}"
        )

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "count": self.count,
            "more": self.more,
            "since": to_text(self.since),
            "last_at": to_text(self.last.at),
            "reason": self.last.reason,
            "reference": self.last.reference,
        }


async def refused_logins(reader: Reader, since: datetime | None) -> RefusedLogins | None:
    """Those of the audit's newest events; None when the last login was accepted, or there was none. ``since``: when the
    connection was turned on: what was refused before is over."""
    newest = await pages.audit_page(reader, pages.Asked(), None, 1)
    after = max(newest[0].seq - _BACK, 0) if newest else 0
    accepted = await pages.audit_page(reader, pages.Asked(verb=ACCEPTED, after=after, since=since), None, 1)
    after = accepted[0].seq if accepted else after
    events = await pages.audit_page(reader, pages.Asked(verb=REFUSED, after=after, since=since), None, _MOST + 1)
    found = [refusal_of(event.at, event.payload["after"]) for event in events if event.payload]
    # who was vouched for and may not come in says nothing about the provider
    found = [one for one in found if one.purpose == "login" and one.reason not in {NOT_CLAIMED, RELINK_HELD}]
    if not found:
        return None
    return RefusedLogins(min(len(found), _MOST), found[-1].at, found[0], len(found) > _MOST)
