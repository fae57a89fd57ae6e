"""outbox list · show · retry · drop · release · preview: what is to be told elsewhere, and what became of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from ledger.errors import BadInput, NotFound
from ledger.instant import to_minute
from rosterd.verbs.console import (
    SHORT_ID,
    Grid,
    Json,
    OneOrganization,
    Reason,
    Result,
    Session,
    Shown,
    answer,
    choose,
    perform,
    visible,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ledger.store.book import Reader
    from ledger.store.deliveries import Delivery
    from rosterd.service import Service

app = typer.Typer(help="Messages to people and systems: what waits, what was sent, what was not.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Of a message as it is listed, or how its id begins.")]
Kind = Annotated[str, typer.Option("--kind", help="Kind of messages, for example invite.mail.")]

_WIDTH, _INDENT = 80, SHORT_ID + 2


@app.command("list")
def list_messages(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="waiting, kept, dead, sent, obsolete, dropped; repeatable. The first three."),
    ] = None,
    kind: Kind = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 100,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """List messages, oldest first, and how many there are of each state."""

    async def work(service: Service) -> Result:
        from connector.delivery import by_hand
        from connector.delivery.mail.kinds import RAISED
        from connector.delivery.mail.recipients import in_words
        from connector.delivery.mail.target import TARGET
        from ledger.store import deliveries
        from ledger.store.deliveries import DeliveryState

        known = [item.value for item in DeliveryState]
        if unknown := [item for item in state or () if item not in known]:
            raise BadInput(f"{unknown[0]!r} is no state of a message", where="--state", next_step=", ".join(known))
        states = [DeliveryState(item) for item in state or ()] or by_hand.OPEN
        async with service.ledger.read(choose(service.settings, organization)) as reader:
            found = await deliveries.listed(reader, states=states, kind=kind, limit=limit)
            counts = await deliveries.counts(reader)
            started = await deliveries.started(reader)
            untold = await deliveries.without(reader, TARGET, RAISED)
            to = await in_words(reader, found, service.settings.installation.mail.operator)
        totals: dict[str, int] = {}
        for (_, _, each), number in counts.items():
            totals[each.value] = totals.get(each.value, 0) + number
        lines = [", ".join(f"{totals[each]} {each}" for each in known if each in totals) or "no message"]
        if untold and not started:
            lines = [f"{untold} waiting for a mail server"]
        if not service.settings.installation.mail.host:
            lines.append("nothing is delivered: no mail server is set → [mail] host in rosterd.toml")
        elif not started:
            lines.append("nothing is delivered yet: the daemon does it → rosterd serve, or reload it (SIGHUP)")
        if totals.get("kept"):
            kinds = sorted({each for _, each, state_ in counts if state_ is DeliveryState.KEPT})
            lines += [f"kept, older than the mail server → rosterd outbox release --kind {each}" for each in kinds]
        messages = [by_hand.shown(item, to[item.message_id]) for item in found]
        lines += _listed(found, to, service.clock())
        return Shown(tuple(lines), {"messages": messages, "totals": totals, "untold": untold})

    perform(context, as_json, work)


@app.command()
def show(context: typer.Context, message: Id, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Everything about one message."""

    async def work(service: Service) -> Result:
        from connector.delivery import by_hand
        from connector.delivery.mail.recipients import in_words

        operator = service.settings.installation.mail.operator
        async with service.ledger.read(choose(service.settings, organization)) as reader:
            found = await by_hand.one(reader, message)
            to = await in_words(reader, found, operator)
            now_to = {item.message_id: await _now_to(reader, item, operator) for item in found}
        lines = [
            line
            for item in found
            for line in _whole(item, to[item.message_id], now_to[item.message_id], service.clock())
        ]
        return Shown(tuple(lines), {"deliveries": [by_hand.shown(item, to[item.message_id]) for item in found]})

    perform(context, as_json, work)


@app.command()
def retry(context: typer.Context, message: Id, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Try a message that is dead, dropped or no longer true, or waits for its next try, at once."""

    async def work(service: Service) -> Result:
        from connector.delivery import by_hand
        from rosterd.service import actor

        name = choose(service.settings, organization)
        done = await by_hand.retry(service.ledger, name, message, actor=actor(), now=service.clock())
        return Shown(tuple(f"{item.message_id} is due at once" for item in done), {"retried": _ids(done)})

    perform(context, as_json, work)


@app.command()
def drop(
    context: typer.Context,
    message: Id,
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Never send a message."""

    async def work(service: Service) -> Result:
        from connector.delivery import by_hand
        from rosterd.service import actor

        name = choose(service.settings, organization)
        done = await by_hand.drop(service.ledger, name, message, reason=reason, actor=actor(), now=service.clock())
        return Shown(tuple(f"{item.message_id} is dropped" for item in done), {"dropped": _ids(done)})

    perform(context, as_json, work)


@app.command()
def release(
    context: typer.Context,
    kind: Kind,
    yes: Annotated[bool, typer.Option("--yes", help="Really send them; without it they are only listed.")] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Send what was written before there was a mail server, of one kind; lists it first."""

    async def work(service: Service) -> Result:
        from connector.delivery import by_hand
        from connector.delivery.mail.recipients import in_words
        from connector.delivery.mail.target import TARGET
        from ledger.store import deliveries
        from ledger.store.deliveries import DeliveryState
        from rosterd.service import actor

        name = choose(service.settings, organization)
        async with service.ledger.read(name) as reader:
            found = await deliveries.listed(reader, states=[DeliveryState.KEPT], kind=kind, limit=1000)
            to = await in_words(reader, found)
        done = await by_hand.release(
            service.ledger, name, TARGET, kind, confirmed=yes, actor=actor(), now=service.clock()
        )
        if done.done:
            return Shown((f"{done.number} released: they are due at once",), done.to_json())
        lines = (f"{done.number} would be sent; nothing was", f"  → rosterd outbox release --kind {kind} --yes")
        return Shown((*lines, *_listed(found, to, service.clock())), done.to_json(), exit_code=3)

    perform(context, as_json, work)


@app.command()
def preview(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of mail; left out: lists them.")] = "",
    language: Annotated[str, typer.Option("--language", help="en or pl; left out: the organization's.")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="File to write the HTML part to.")] = None,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Show a mail as the organization's people would get it, with values of an example. Sends nothing."""
    from connector.delivery.mail.kinds import KINDS

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    settings = session.load()
    if not kind:
        rows = tuple((item.name, item.readers.value, "" if item.sent else "not sent yet") for item in KINDS.values())
        document = {"kinds": [dict(zip(("kind", "to", "note"), row, strict=True)) for row in rows]}
        answer(session, Shown((), document, Grid(("kind", "to", ""), rows)))
        return
    from connector.delivery.mail.words import Templates, example
    from ledger.settings import Language
    from rosterd.delivery import senders

    if kind not in KINDS:
        raise BadInput(f"{kind!r} is no kind of mail", where="KIND", next_step="rosterd outbox preview")
    chosen = choose(settings, organization)
    sender = senders(settings)[chosen]
    if language and language not in get_args(Language):
        raise BadInput(
            f"{language!r} is no language of mails", where="--language", next_step=" or ".join(get_args(Language))
        )
    spoken = cast("Language", language) or sender.settings.language or settings.installation.mail.language
    named = chosen if len(settings.customers) > 1 else ""
    letter = replace(example(KINDS[kind]), organization=sender.organization, named=named)
    made = Templates(sender.settings.templates).render(KINDS[kind], spoken, letter)
    lines = (f"Subject: {made.subject}", "", *made.text.rstrip("\n").split("\n"))
    if html is not None:
        write_file(html, made.html, "--html")
    answer(session, Shown(lines, {"subject": made.subject, "text": made.text, "html": made.html}))


def _listed(found: Sequence[Delivery], to: Mapping[str, str], now: datetime) -> list[str]:
    """Two lines or more of each: what it is and to whom; how it stands, and what was said last."""
    lines = list[str]()
    for item in found:
        head = f"{item.message_id[-SHORT_ID:]}  {item.kind} to {to[item.message_id]}"
        stands = f"{_stands(item, now)}, written {to_minute(item.created_at)}{_put_off(item)}"
        for text in (head, " " * _INDENT + stands, *([" " * _INDENT + visible(item.note)] if item.note else [])):
            lines += wrap(text, _WIDTH, subsequent_indent=" " * _INDENT, break_long_words=False, break_on_hyphens=False)
    return lines


def _whole(item: Delivery, to: str, now_to: str, now: datetime) -> list[str]:
    """Everything about one message, each line with its label."""
    from connector.delivery.mail.kinds import KINDS

    kind = KINDS.get(item.kind)
    labelled = {
        "id": item.message_id,
        "kind": f"{item.kind}: {kind.when}" if kind else item.kind,
        "to": f"{to}, at present {now_to}" if now_to not in {"", to} else to,
        "about": item.subject,
        "goes by": item.target,
        "written": to_minute(item.created_at),
        "state": f"{_stands(item, now)}{_put_off(item)}",
        "next try": to_minute(item.next_at) if item.next_at else "none",
        "ended": to_minute(item.settled_at) if item.settled_at else "",
        "last answer": item.note,
        "told together with": item.batch if item.batch not in {"", item.message_id} else "",
    }
    lines = [f"{label}: {value}" for label, value in labelled.items() if value]
    lines += [f"{'taken' if each.taken else 'refused'} for {each.receiver}: {each.note}" for each in item.done]
    return [
        *lines,
        "it tells:",
        *(f"  {name.replace('_', ' ')}: {_plain(value)}" for name, value in item.payload.items()),
    ]


async def _now_to(reader: Reader, item: Delivery, operator: str) -> str:
    """Who would read it if it were sent now; for a message that has ended, nobody."""
    from connector.delivery.mail.kinds import KINDS
    from connector.delivery.mail.recipients import of_batch
    from ledger.store.deliveries import Told

    if item.settled_at or item.kind not in KINDS:
        return ""
    told = Told(item.message_id, item.subject, item.payload, item.created_at)
    try:
        found = await of_batch(reader, KINDS[item.kind], [told], operator)
    except NotFound as error:
        return error.what
    return ", ".join(each.mail for each in found)


def _stands(item: Delivery, now: datetime) -> str:
    """``waiting, next try in 4 minutes``: a state, and when something will happen."""
    from connector.reconcile.plan.words import until
    from ledger.store.deliveries import being_sent

    if item.next_at is None:
        return item.state.value
    if being_sent(item, now):
        return f"{item.state.value}, being sent"
    return f"{item.state.value}, next try {until(item.next_at, now)}"


def _put_off(item: Delivery) -> str:
    return f", put off {'once' if item.attempts == 1 else f'{item.attempts} times'}" if item.attempts else ""


def _plain(value: Any) -> str:
    """A value of a message without the marks of a programming language."""
    if isinstance(value, dict):
        return ", ".join(f"{_plain(of)} {name}" for name, of in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(map(_plain, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _ids(done: Sequence[Delivery]) -> list[str]:
    return [item.message_id for item in done]


def add_to(root: typer.Typer) -> None:
    """Register the verbs."""
    root.add_typer(app, name="outbox")
