"""outbox list · show · retry · drop · release · preview: what is to be told elsewhere, and what became of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from ledger.errors import BadInput
from rosterd.verbs.console import (
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
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.store.deliveries import Delivery
    from rosterd.service import Service

app = typer.Typer(help="Messages to people and systems: what waits, what was sent, what was not.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Of a message, or how it begins.")]
Kind = Annotated[str, typer.Option("--kind", help="Kind of messages, for example invite.mail.")]


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
        document = {"messages": [by_hand.shown(item) for item in found], "totals": totals, "untold": untold}
        return Shown(tuple(lines), document, _grid(found) if found else None)

    perform(context, as_json, work)


@app.command()
def show(context: typer.Context, message: Id, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Everything about one message."""

    async def work(service: Service) -> Result:
        from connector.delivery import by_hand

        async with service.ledger.read(choose(service.settings, organization)) as reader:
            found = await by_hand.one(reader, message)
        lines = []
        for item in found:
            document = by_hand.shown(item)
            lines += [f"{name}: {value}" for name, value in document.items() if name not in {"payload", "receivers"}]
            lines += [f"payload {name}: {value}" for name, value in document["payload"].items()]
            for receipt in item.done:
                lines.append(f"{'taken' if receipt.taken else 'refused'} for {receipt.receiver}: {receipt.note}")
        return Shown(tuple(lines), {"deliveries": [by_hand.shown(item) for item in found]})

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
        from connector.delivery.mail.target import TARGET
        from ledger.store import deliveries
        from ledger.store.deliveries import DeliveryState
        from rosterd.service import actor

        name = choose(service.settings, organization)
        async with service.ledger.read(name) as reader:
            found = await deliveries.listed(reader, states=[DeliveryState.KEPT], kind=kind, limit=1000)
        done = await by_hand.release(
            service.ledger, name, TARGET, kind, confirmed=yes, actor=actor(), now=service.clock()
        )
        if done.done:
            return Shown((f"{done.number} released: they are due at once",), done.to_json())
        lines = (f"{done.number} would be sent; nothing was", f"  → rosterd outbox release --kind {kind} --yes")
        return Shown(lines, done.to_json(), _grid(found), exit_code=3)

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


def _grid(found: Sequence[Delivery]) -> Grid:
    rows = tuple(
        (
            item.message_id,
            item.kind,
            item.state.value,
            f"{item.created_at:%Y-%m-%d %H:%M}",
            str(item.attempts),
            item.note,
        )
        for item in found
    )
    return Grid(("id", "kind", "state", "written", "tries", "note"), rows)


def _ids(done: Sequence[Delivery]) -> list[str]:
    return [item.message_id for item in done]


def add_to(root: typer.Typer) -> None:
    """Register the verbs."""
    root.add_typer(app, name="outbox")
