"""What ``rosterd check`` looks at of mail: its server, templates, what waits; and the test mail of ``--mail-to``.

Prohibition: only ``--mail-to`` sends anything, and to that address alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from shlex import quote
from typing import TYPE_CHECKING

from connector.directory.base import CheckLine
from ledger.errors import BadInput, Unavailable
from ledger.identity import Email
from rosterd.checks.addresses import public_address
from rosterd.checks.keys import CustomerKeys
from rosterd.settings import Settings

if TYPE_CHECKING:
    from rosterd.service import Service

_UNSET = "no mail server is set: nobody is mailed, and messages wait in the outbox"
_SET = "set [mail] host and sender in rosterd.toml"


def templates(settings: Settings, customers: Mapping[str, CustomerKeys]) -> Iterator[CheckLine]:
    """Every template of an organization's own can be filled; whether mail is sent at all."""
    from connector.delivery.mail.words import Templates

    mail = settings.installation.mail
    if not mail.host:
        yield CheckLine(True, _UNSET, _SET, note=True)
    for name, keys in customers.items():
        folder = keys.settings.mail.templates
        faults = Templates(folder).check()
        for fault in faults:
            what = f"{quote(fault.where)}: {fault.what}; mail of it waits and is sent in no other words"
            yield keys.fault(("mail", "templates"), what, fault.next_step or "correct that file: it counts at once")
        if folder is not None and not faults:
            yield CheckLine(True, f"{name}: its own mail templates can be filled ({quote(str(folder))})")


async def outbox(service: Service) -> AsyncIterator[CheckLine]:
    """Messages that wait for somebody: kept because they are older than the mail server, and dead letters."""
    from ledger.store import deliveries
    from ledger.store.deliveries import DeliveryState

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            counts = await deliveries.counts(reader)
        kept: dict[str, int] = {}
        for (_, kind, state), number in counts.items():
            if state is DeliveryState.KEPT:
                kept[kind] = kept.get(kind, 0) + number
        for kind, number in sorted(kept.items()):
            what = f"{name}: {number} messages of kind {kind} are older than the mail server and kept"
            yield CheckLine(True, what, f"rosterd outbox release --kind {kind} --organization {name}", note=True)
        dead = sum(number for (_, _, state), number in counts.items() if state is DeliveryState.DEAD)
        if dead:
            what = f"{name}: {dead} messages could not be delivered"
            yield CheckLine(True, what, f"rosterd outbox list --state dead --organization {name}", note=True)


async def invites(service: Service) -> AsyncIterator[CheckLine]:
    """Organizations whose invites lead nowhere at present, where somebody was invited."""
    from ledger.identity import INVITE_EXPIRY
    from ledger.store import roster

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            waiting = await roster.due_count(reader, INVITE_EXPIRY)
        if waiting and (why := await dead_end(service, name)):
            what = f"{name}: {waiting} invited, and the links of their mails lead nowhere: {why}"
            yield CheckLine(True, what, f"rosterd sso status --organization {name}", note=True)


async def dead_end(service: Service, organization: str) -> str:
    """Why nobody who follows an invite could sign in now; empty where they could."""
    from connector.sso.gate import connections, evidence
    from connector.sso.provider.connection_steps import MAIN

    if not public_address(service.settings).ok:
        return "public_url is plain http"
    now = service.clock()
    async with service.ledger.read(organization) as reader:
        found = (await evidence.known(reader)).connections.get(MAIN)
    on = found is not None and found.live(now) is not None and connections.standing(found, now).on
    return "" if on else "single sign-on is not on"


async def live(service: Service, address: str, *, serving: bool) -> AsyncIterator[CheckLine]:
    """The mail server, and a test mail to ``address`` where one is given and the server is ready for it. A password or
    a file that cannot be read is said of the files already. ``serving``: a daemon answers, by settings of its own."""
    if address and not service.settings.installation.mail.host:
        yield CheckLine(False, _UNSET, _SET)
    if not service.settings.installation.mail.host:
        return
    try:
        ready = await _server(service)
    except BadInput:
        return
    yield ready
    if address and ready.ok:
        yield await _test_mail(service, address)
    if serving:
        yield await _in_force(service)


async def _in_force(service: Service) -> CheckLine:
    """What was tried are the files; the daemon sends by what it read last, which only the book tells a little of."""
    from connector.delivery.mail.target import TARGET
    from ledger.store import deliveries

    step = "after a change: systemctl reload rosterd, or SIGHUP to the daemon"
    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            if TARGET not in await deliveries.started(reader):
                what = f"{name}: the running daemon has not read [mail] since it was set, and mails nobody"
                return CheckLine(True, what, step, note=True)
    return CheckLine(
        True, "this was [mail] of the file; the running daemon mails by what it read last", step, note=True
    )


async def _server(service: Service) -> CheckLine:
    """The mail server answers, is who it should be, and takes our account. Raises ``BadInput`` as ``Relay.probe``."""
    from connector.delivery.mail.relay import Relay

    settings = service.settings.installation.mail
    relay = Relay(settings)
    try:
        found = await relay.probe()
    except Unavailable as error:
        # the reason that messages are kept with says what to do, too
        what = error.what.removesuffix(error.next_step).rstrip(" :;")
        return CheckLine(False, f"mail server {error.where}: {what}", error.next_step)
    finally:
        await relay.close()
    how = ", ".join(
        part
        for part in (
            found.tls or "in the clear, on this machine",
            f"its certificate until {found.certificate_until:%Y-%m-%d}" if found.certificate_until else "",
            "signed in" if found.signed_in else "no account",
            "" if found.international else "no addresses beyond ASCII",
        )
        if part
    )
    return CheckLine(True, f"mail server {settings.host}:{settings.port_used} answers ({how})")


async def _test_mail(service: Service, address: str) -> CheckLine:
    """Send the test mail to one address, as the first organization would."""
    from connector.delivery.mail.kinds import KINDS
    from connector.delivery.mail.recipients import Recipient
    from connector.delivery.mail.relay import Relay
    from connector.delivery.mail.target import composed
    from connector.delivery.mail.words import Item, Letter, Templates
    from connector.delivery.outcome import Sent
    from ledger.instant import new_id
    from rosterd.delivery import senders
    from rosterd.service import actor

    try:
        to = Email.parse(address)
    except ValueError as error:
        raise BadInput(str(error), where="--mail-to", next_step="write local@domain") from error
    settings = service.settings.installation.mail
    sender = next(iter(senders(service.settings).values()))
    kind, now = KINDS["mail.test"], service.clock()
    letter = Letter(
        organization=sender.organization,
        items=[Item({"asked_by": actor()}, now)],
        public_url=service.settings.installation.server.public_url,
    )
    language = sender.settings.language or settings.language
    rendered = Templates(sender.settings.templates).render(kind, language, letter)
    message = composed(rendered, new_id(), settings, sender, Recipient(to.text, ""), now)
    relay = Relay(settings)
    try:
        outcome = await relay.send(message, sender=settings.envelope_sender, recipient=to.text)
    finally:
        await relay.close()
    if isinstance(outcome, Sent):
        return CheckLine(True, f"the mail server took a test mail to {to.text}: {outcome.note}")
    return CheckLine(False, f"the test mail was not taken: {outcome.why}", "correct [mail], or ask whoever runs it")
