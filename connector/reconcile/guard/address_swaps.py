"""Whoever takes an address waits until it is free: an invite or a rename goes only with what gives the address up (D9).

Two people may change addresses in one plan, or a newcomer get the one that somebody else is leaving. When the guard
holds the one change, or an approval names only the other, two people would have one address. Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Sequence

from connector.reconcile.plan.changes import Bundle, Harm
from connector.reconcile.plan.recorded import Recorded
from ledger.identity import IdentityState

_TAKES = frozenset({Harm.INVITE, Harm.RENAME})


def apart(allowed: Sequence[Bundle], recorded: Recorded) -> tuple[tuple[Bundle, ...], tuple[Bundle, ...]]:
    """``allowed`` without the bundles that would take an address somebody keeps, and those bundles."""
    taking = [b for b in allowed if b.person is not None and any(change.harm in _TAKES for change in b.changes)]
    if not taking:
        return tuple(allowed), ()
    holders = {row.mail_key: row.id for row in recorded.identities.values() if row.state != IdentityState.REMOVED}
    wait: set[tuple[str, str]] = set()
    while True:
        freed = {b.identity for b in taking if b.identity and (b.subject, b.identity) not in wait}
        more = {
            (b.subject, b.identity)
            for b in taking
            if b.person is not None and holders.get(b.person.mail.key, b.identity) not in {b.identity, *freed}
        } - wait
        if not more:
            break
        wait |= more
    going = tuple(bundle for bundle in allowed if (bundle.subject, bundle.identity) not in wait)
    return going, tuple(bundle for bundle in allowed if (bundle.subject, bundle.identity) in wait)
