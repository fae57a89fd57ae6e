"""Refused sign-ins: kept where an admin finds them by the reference that the person was shown (N2, N17).

Prohibition: anonymous input never fills the audit, never says anything about a gate, and takes no place of what a
provider has signed.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from connector.sso.gate import evidence
from connector.sso.gate.explain_refusal import Carried, Refusal, refusal_of
from connector.sso.gate.refused_logins import REFUSED
from connector.sso.saml.request_seal import TEST, OpenRequest
from connector.sso.saml.response import SignInRefused
from ledger.audit import AuditEvent
from ledger.errors import NotFound
from ledger.jobs import Unleased
from ledger.store import audit, pages, relinks
from ledger.store import sso as sso_rows
from ledger.store import sso_requests as rows
from ledger.store.book import Reader
from ledger.store.engine import Ledger

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
MOST_TOLD, TOLD_WITHIN = 100, timedelta(hours=1)
"""Anybody can have a login refused, so the audit tells of so many in that time, and of as many more that the provider
signed: those are real people's, and nobody else can use their places up. The log has every one."""
_SIGNED, _UNSIGNED = "signed", "unsigned"


def reference() -> str:
    """A new name for a refusal: ten hexadecimal digits, which say nothing."""
    return secrets.token_hex(5)


def refusal(request: OpenRequest, error: SignInRefused, carried: Carried, at: datetime) -> Refusal:
    """A refusal as it is told, with a new reference."""
    return Refusal(
        reference(),
        at,
        request.purpose,
        request.connection_id,
        request.version,
        request.domain,
        error.step,
        error.reason,
        error.in_test if request.purpose == TEST else error.detail,
        carried,
    )


async def keep(ledger: Ledger, organization: str, found: Refusal, actor: str) -> Refusal:
    """Audit a refusal, of logins so many of each kind in an hour; of a test, which an admin began, it is evidence too
    (N17)."""
    async with ledger.write(organization, Unleased.SIGN_IN, at=found.at) as book:
        kept = replace(found, at=book.at)
        facts = kept.facts()
        if found.purpose == TEST:
            # it says nothing about the gate, which therefore does not change
            await evidence.record(book, evidence.TEST_FAILED, kept.connection_id, actor=actor, facts=facts, domains=())
        else:
            kind = _SIGNED if kept.signed else _UNSIGNED
            if not await rows.tell(book, kind, kept.reference, book.at + TOLD_WITHIN, MOST_TOLD):
                return kept
        event = AuditEvent(actor, REFUSED, _subject(kept.reference), kept.reason, after=facts)
        await audit.append(book, [event])
    return kept


async def explain(reader: Reader, name: str) -> Refusal:
    """The refused sign-in that a page named by ``reference``, from the audit. Raises ``NotFound``."""
    found = await pages.audit_page(reader, pages.Asked(subject=_subject(name), verb=REFUSED), None, 1)
    if not found or not found[0].payload:
        if await relinks.find(reader, name.strip().lower(), _EVER) is not None:
            raise NotFound(
                "this is the id of a held sign-in by another account, not the reference of a refused one",
                where=name,
                next_step="rosterd sso relinks",
            )
        raise NotFound(
            "the audit has no refused sign-in with this reference: it answered no open request of ours, or came"
            f" while very many were refused ({MOST_TOLD} an hour are kept of those that the provider signed, and"
            " as many of the others)",
            where=name,
            next_step="rosterd sso status; the log has every refusal: look there for this reference",
        )
    refusal = refusal_of(found[0].at, found[0].payload["after"])
    links = await sso_rows.links(reader)
    return replace(refusal, linked=tuple(sorted(name for name, of in links.items() if of == refusal.connection_id)))


def _subject(name: str) -> str:
    return f"sign_in:{name.strip().lower()}"
