"""What an administrator sees of the outbox and does about one message: retry, drop, release (L1, L3).

Every act is audited with who did it. Prohibition: sends nothing; what is made due is sent by the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.audit import AuditEvent, given_reason
from ledger.counted import counted
from ledger.errors import BadInput, NotFound, Refused
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit, deliveries
from ledger.store.book import Book, Reader
from ledger.store.deliveries import Delivery, DeliveryState
from ledger.store.engine import Ledger

OPEN = (DeliveryState.WAITING, DeliveryState.KEPT, DeliveryState.DEAD)
"""What somebody may have to do something about."""

Sees = Callable[[str], bool]
"""Whether somebody may see messages of a kind; to who may not, they are not there."""


def everything(_kind: str) -> bool:
    """What whoever works on the host itself sees."""
    return True


@dataclass(frozen=True, slots=True)
class Released:
    """How many messages of a kind are due now, or would be: ``done`` says which."""

    kind: str
    number: int
    done: bool

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        return {"kind": self.kind, "messages": self.number, "released": self.done}


def shown(item: Delivery, to: str) -> dict[str, Any]:
    """One delivery as a JSON document; ``payload`` only where one is shown by itself. ``to``: to whom it goes."""
    found: dict[str, Any] = {
        "id": item.message_id,
        "target": item.target,
        "kind": item.kind,
        "subject": item.subject,
        "to": to,
        "written_at": to_text(item.created_at),
        "state": item.state.value,
        "next_at": to_text(item.next_at) if item.next_at else None,
        "attempts": item.attempts,
        "settled_at": to_text(item.settled_at) if item.settled_at else None,
        "note": item.note,
    }
    if item.payload is not None:
        receivers = [
            {"receiver": receipt.receiver, "taken": receipt.taken, "note": receipt.note} for receipt in item.done
        ]
        found |= {"told_with": item.batch, "receivers": receivers, "payload": item.payload}
    return found


async def one(reader: Reader, named: str, sees: Sees = everything) -> list[Delivery]:
    """The deliveries of the one message whose id begins or ends so, one for each target. Raises ``NotFound``, and
    ``BadInput`` where several do."""
    found = await deliveries.of_message(reader, named) if named else []
    found = [item for item in found if sees(item.kind)]
    ids = sorted({item.message_id for item in found})
    if not ids:
        raise NotFound(f"there is no message {named!r}", where="outbox", next_step="rosterd outbox list")
    if len(ids) > 1:
        raise BadInput(
            f"several messages begin or end with {named!r}: {', '.join(ids[:5])}",
            where="outbox",
            next_step="write more of it",
        )
    return found


async def retry(
    ledger: Ledger, organization: str, named: str, *, actor: str, now: datetime, sees: Sees = everything
) -> list[Delivery]:
    """A message that is dead, dropped or no longer true, or waits for its next try, is due at once. Raises as ``one``,
    and ``Refused`` for one that was sent, is being sent, or is kept."""
    async with ledger.write(organization, Unleased.DELIVERY, at=now) as book:
        found = await one(book, named, sees)
        _not_being_sent(found, book.at)
        done = [item for item in found if await deliveries.retry(book, item.message_id, item.target)]
        if not done:
            raise Refused(f"the message is {_states(found)}", where=found[0].message_id, next_step=_next(found))
        await _audit(book, actor, "outbox.retried", done)
    return done


async def drop(
    ledger: Ledger,
    organization: str,
    named: str,
    *,
    reason: str,
    actor: str,
    now: datetime,
    sees: Sees = everything,
) -> list[Delivery]:
    """Never send it. Raises as ``one``, ``BadInput`` without a reason, ``Refused`` where it has ended already, or is
    being sent."""
    reason = given_reason(reason, "a message that is dropped needs a reason")
    async with ledger.write(organization, Unleased.DELIVERY, at=now) as book:
        found = await one(book, named, sees)
        _not_being_sent(found, book.at)
        note = f"dropped by {actor}: {reason}"[:500]
        done = [item for item in found if await deliveries.drop(book, item.message_id, item.target, note)]
        if not done:
            raise Refused(f"the message is {_states(found)}", where=found[0].message_id, next_step=_next(found))
        await _audit(book, actor, "outbox.dropped", done, reason)
    return done


async def release(
    ledger: Ledger,
    organization: str,
    target: str,
    kind: str,
    *,
    confirmed: bool,
    actor: str,
    now: datetime,
    sees: Sees = everything,
) -> Released:
    """What was written before its target began, of one kind, is due at once where ``confirmed`` (L3). Raises
    ``NotFound`` when nothing of the kind is kept."""
    async with ledger.read(organization) as reader:
        counts = {key: many for key, many in (await deliveries.counts(reader)).items() if sees(key[1])}
    number = counts.get((target, kind, DeliveryState.KEPT), 0)
    if not number:
        kept = sorted({found for _, found, state in counts if state is DeliveryState.KEPT})
        raise NotFound(
            f"nothing of kind {kind} is kept; kinds of what is: {', '.join(kept) or 'none'}",
            where="outbox",
            next_step="rosterd outbox list",
        )
    if not confirmed:
        return Released(kind, number, done=False)
    async with ledger.write(organization, Unleased.DELIVERY, at=now) as book:
        number = await deliveries.release(book, target, kind)
        event = AuditEvent(actor, "outbox.released", kind, after={"target": target, "messages": number})
        await audit.append(book, [event])
    return Released(kind, number, done=True)


@dataclass(frozen=True, slots=True)
class Unmailed:
    """An invite that its person has no mail of. ``state``: in a word; ``next_step``: about this one."""

    state: str
    why: str
    next_step: str

    @property
    def line(self) -> str:
        """Plain text."""
        return f"the invite was not mailed: {self.why} → {self.next_step}"


async def unmailed(reader: Reader, mails: Mapping[str, str], *, host: str) -> dict[str, Unmailed]:
    """Identity → why nobody mailed its last invite, of those who were not. ``mails``: identity → address; ``host``: of
    ``[mail]``."""
    last = await deliveries.newest(reader, "mail", "invite.mail", mails)
    found: dict[str, Unmailed] = {}
    for identity, mail in mails.items():
        item = last.get(identity)
        if item is not None and item.state in {DeliveryState.SENT, DeliveryState.OBSOLETE}:
            continue
        if identity not in last:
            found[identity] = Unmailed("not told", "nobody was to be told", f"rosterd invite resend {mail}")
        elif item is not None and item.state is DeliveryState.DEAD:
            found[identity] = Unmailed("dead", f"it is a dead letter: {item.note}", _retry(item))
        elif item is not None and item.state is DeliveryState.DROPPED:
            found[identity] = Unmailed("dropped", item.note, f"rosterd invite resend {mail}")
        elif not host:
            step = "set [mail] host and sender in rosterd.toml, then rosterd check --live"
            found[identity] = Unmailed("waiting", "no mail server is set", step)
        elif item is None:
            step = "rosterd serve, or reload it (SIGHUP)"
            found[identity] = Unmailed("waiting", "the daemon does not know the mail server yet", step)
        elif item.state is DeliveryState.KEPT:
            step = f"rosterd outbox release --kind {item.kind}"
            found[identity] = Unmailed("kept", "it is older than the mail server", step)
        elif item.note:
            found[identity] = Unmailed("waiting", f"it was put off: {item.note}", _retry(item))
    return found


def unmailed_in_words(found: Collection[Unmailed]) -> list[str]:
    """One line for each state of invites that were not mailed, with its next command."""
    lines = list[str]()
    for state in dict.fromkeys(item.state for item in found):
        those = [item for item in found if item.state == state]
        alike = len({item.why for item in those}) == 1
        number = f"{counted(len(those), 'invite was', 'invites were')} not mailed"
        one = len(those) == 1 or len({item.next_step for item in those}) == 1
        step = those[0].next_step if one else _of_all(state)
        lines.append(f"{number}: {those[0].why if alike else state} → {step}")
    return lines


def _of_all(state: str) -> str:
    listed = f"rosterd outbox list --kind invite.mail --state {state}"
    return "rosterd invite resend MAIL, for each" if state == "not told" else listed


def _retry(item: Delivery) -> str:
    return f"rosterd outbox retry {item.message_id[-12:]}"


def _not_being_sent(found: Collection[Delivery], now: datetime) -> None:
    """What is on its way cannot be called back, and would arrive twice."""
    if any(deliveries.being_sent(item, now) for item in found):
        first = next(iter(found))
        raise Refused(
            "the message is being sent at this moment",
            where=first.message_id,
            next_step=f"rosterd outbox show {first.message_id}: what became of it, in two minutes at the latest",
        )


async def _audit(book: Book, actor: str, verb: str, done: Collection[Delivery], reason: str = "") -> None:
    events = [AuditEvent(actor, verb, item.message_id, reason, after={"target": item.target}) for item in done]
    await audit.append(book, events)


def _states(found: Collection[Delivery]) -> str:
    return " and ".join(sorted({item.state.value for item in found}))


def _next(found: Collection[Delivery]) -> str:
    first = next(iter(found))
    kept = first.state is DeliveryState.KEPT
    return f"rosterd outbox release --kind {first.kind}" if kept else f"rosterd outbox show {first.message_id}"
