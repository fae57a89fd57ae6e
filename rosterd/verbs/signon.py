"""sso · sync: proving single sign-on step by step, and switching directory sync on (R1, R5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.errors import BadInput, Refused, RosterdError
from rosterd.verbs.console import Json, OneOrganization, Result, Session, Shown, answer, choose, perform
from rosterd.verbs.sso import bonds, guide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from connector.sso.gate.status import ConnectionStatus, SsoStatus
    from connector.sso.gate.sync import SyncStatus
    from rosterd.service import Service

sso = typer.Typer(
    help="Single sign-on: prove a domain, connect the identity provider, test, turn on.", no_args_is_help=True
)
sync = typer.Typer(help="Directory sync: off, ready, enabled, suspended.", no_args_is_help=True)
Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="The mail domain.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]


@sso.command()
def status(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Where every domain and connection stands, what is missing, what will lapse."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import status as standing

        name = choose(service.settings, organization)
        listed = [item.name for item in service.settings.customer(name).settings.domains]
        async with service.ledger.read(name) as reader:
            shown = _status(await standing.status(reader, now=service.clock(), listed=listed))
        ours = await _ours(service, name)
        return Shown((*shown.lines, *ours.lines), {**shown.document, "ours": ours.document})

    perform(context, as_json, work)


@sso.command()
def add(context: typer.Context, domain: Domain, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Register a domain and print the DNS record, or the file, that proves it (its token is shown this once)."""

    async def work(service: Service) -> Result:
        from connector.sso.proof import domain_steps
        from rosterd.service import actor

        await service.register()
        name = choose(service.settings, organization)
        listed = {item.name: item for item in service.settings.customer(name).settings.domains}
        key = _label(domain)
        if key not in listed:
            known = ", ".join(listed) or "none"
            raise Refused(
                f"{domain} is not among the organization's domains (it has: {known})",
                where=str(service.settings.customer(name).file),
                next_step=f'add [[domains]] name = "{domain}" to the file',
            )
        made = await domain_steps.add_domain(
            service.ledger, name, key, actor=actor(), now=service.clock(), grace=listed[key].grace
        )
        lines = (
            "publish this record in DNS:",
            f"  {made.record_name}  TXT  {made.record_value}",
            "or, if you cannot write DNS, this file at the domain's own web server (https, text/plain, nothing else):",
            f"  {made.file_url}",
            f"  {made.file_body}",
            f"  → then: rosterd sso verify {made.domain}",
        )
        return Shown(lines, made.to_json())

    perform(context, as_json, work)


@sso.command()
def verify(context: typer.Context, domain: Domain, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Look for the record by every resolver, then for the file; at most once a minute."""

    async def work(service: Service) -> Result:
        from connector.sso.proof import domain_steps
        from rosterd.looks import enqueue_next
        from rosterd.service import actor

        name = choose(service.settings, organization)
        dns = service.settings.installation.dns
        report = await domain_steps.verify_domain(
            service.ledger, name, domain, dns=dns, fetch=service.door().get, actor=actor(), now=service.clock()
        )
        await enqueue_next(service, name)
        why = f": {report.why}" if report.why else ""
        lines = [f"{report.domain} is {report.standing.state.value}{why}"]
        lines += [f"  mistake: {report.mistake}"] if report.mistake else []
        lines += [f"  missing: {step}" for step in report.missing]
        return Shown(tuple(lines), report.to_json(), exit_code=0 if report.proved else 3)

    perform(context, as_json, work)


@sso.command()
def connect(
    context: typer.Context,
    metadata: Annotated[str, typer.Argument(help="File or https address; as the organization's file says.")] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Take in the identity provider's metadata and link every registered domain to it."""

    async def work(service: Service) -> Result:
        from connector.sso import steps
        from connector.sso.settings import SsoSettings
        from rosterd import provider_metadata
        from rosterd.service import actor

        name = choose(service.settings, organization)
        customer = service.settings.customer(name)
        settings = customer.settings.sso or SsoSettings()
        reference = metadata or settings.metadata
        if metadata:
            document = await provider_metadata.given(service, metadata, Path.cwd())
        else:
            document = await provider_metadata.configured(service, customer)
        loopback = service.settings.installation.saml.allow_http_on_loopback
        report = await steps.connect(
            service.ledger,
            name,
            document,
            settings=settings,
            actor=actor(),
            now=service.clock(),
            source=reference if reference.startswith("https://") else "",
            allow_http_on_loopback=loopback,
        )
        lines = [f"{report.entity_id}, version {report.version}, fingerprint {report.fingerprint[:16]}"]
        lines += [f"  warning: {warning}" for warning in report.warnings]
        if report.live:
            lines.append("  it judges sign-ins now" if report.new else "  it judges sign-ins already; nothing changed")
            lines += [f"  → {report.next_step}"] if report.next_step else []
        else:
            lines.append(f"  → give it ours: {service.provider().entity_id(name)}")
            lines += [f"  → then: rosterd sso test {domain}" for domain in report.domains]
        return Shown(tuple(lines), report.to_json())

    perform(context, as_json, work)


@sso.command("test")
def begin_test(
    context: typer.Context, domain: Domain, organization: OneOrganization = "", as_json: Json = False
) -> None:
    """Print a page to open in a browser for one test sign-in (the daemon must be running)."""

    async def work(service: Service) -> Result:
        from connector.sso import steps
        from rosterd.service import actor

        name = choose(service.settings, organization)
        ticket = await steps.begin_test(
            service.ledger, service.provider(), name, _label(domain), actor=actor(), now=service.clock()
        )
        lines = (ticket.url, f"  → open it in a browser; after it passed: rosterd sso on {ticket.domain}")
        return Shown(lines, ticket.to_json())

    perform(context, as_json, work)


@sso.command()
def explain(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="As the page of a refused sign-in showed it.")],
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Why a sign-in was refused, and what to do about it."""

    async def work(service: Service) -> Result:
        from connector.sso import steps

        async with service.ledger.read(choose(service.settings, organization)) as reader:
            found = await steps.explain(reader, reference)
        what = f"{found.at:%Y-%m-%d %H:%M:%S} UTC: a {found.purpose} by connection {found.connection_id} was refused"
        return Shown((what, *(f"  {line}" for line in found.in_words())), found.to_json())

    perform(context, as_json, work)


@sso.command()
def on(
    context: typer.Context,
    domain: Annotated[
        str, typer.Argument(help="This domain has to be on afterwards; every proved and tested one is.")
    ] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Turn single sign-on on with exactly what was tested. Says which domains are on, and what the others miss."""

    async def work(service: Service) -> Result:
        from connector.sso.gate.connections import ASKED_FOR
        from connector.sso.provider import connection_steps
        from connector.sso.settings import SsoSettings
        from rosterd.service import actor

        name = choose(service.settings, organization)
        settings = service.settings.customer(name).settings.sso or SsoSettings()
        report = await connection_steps.turn_on(
            service.ledger,
            name,
            actor=actor(),
            now=service.clock(),
            domain=_label(domain) if domain else "",
            second_approver=settings.second_approver,
        )
        if report.asked:
            until = _moment(report.asked.at + ASKED_FOR)
            waits = (
                f"{report.asked.actor} asked to turn single sign-on on; it is not on yet",
                f"  → somebody else completes it before {until}: {report.next_step}",
            )
            return Shown(waits, report.to_json(), exit_code=3)
        lines = [f"single sign-on is on for {', '.join(report.domains)}"]
        lines += [f"  not on: {step}" for step in report.missing]
        lines.append("  → rosterd sync enable")
        return Shown(tuple(lines), report.to_json())

    perform(context, as_json, work)


@sso.command("confirm-certificate")
def confirm_certificate(
    context: typer.Context,
    certificate: Annotated[
        str, typer.Argument(metavar="SHA256", help="How its SHA-256 begins, as your identity provider shows it.")
    ],
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Say that a certificate which a refresh added is right: it counts for tests and first sign-ins at once."""

    async def work(service: Service) -> Result:
        from connector.sso.provider import connection_steps
        from rosterd.service import actor

        name = choose(service.settings, organization)
        found = await connection_steps.confirm_certificate(
            service.ledger, name, certificate, actor=actor(), now=service.clock()
        )
        line = f"certificate {found.thumbprint[:16]} is confirmed: it counts for tests and first sign-ins"
        return Shown((line,), {"sha256": found.thumbprint, "confirmed": True})

    perform(context, as_json, work)


@sso.command()
def off(context: typer.Context, reason: Reason, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Turn single sign-on off. Sync is suspended with it; nobody loses anything."""

    async def work(service: Service) -> Result:
        from connector.sso.provider import connection_steps
        from rosterd.service import actor

        name = choose(service.settings, organization)
        done = await connection_steps.turn_off(service.ledger, name, reason=reason, actor=actor(), now=service.clock())
        return Shown(("single sign-on is off" if done else "it was off already",), {"changed": done})

    perform(context, as_json, work)


@sso.command()
def release(
    context: typer.Context,
    domain: Domain,
    yes: Annotated[bool, typer.Option("--yes", help="Also while directory sync depends on it.")] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Give a domain up; nobody else may claim it for 30 days."""

    async def work(service: Service) -> Result:
        from connector.sso.proof import domain_steps
        from rosterd.service import actor

        name = choose(service.settings, organization)
        await domain_steps.release_domain(
            service.ledger, name, domain, actor=actor(), now=service.clock(), confirmed=yes
        )
        return Shown((f"{domain} is released",), {"domain": domain, "released": True})

    perform(context, as_json, work)


@sso.command("metadata")
def own_metadata(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; as it is on stdout.")] = None,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Print our SAML metadata, to hand to the identity provider; needs neither daemon nor ledger."""
    from connector.sso.saml.signing import read_keys
    from rosterd.service import ensure_own_key, own_side

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    settings = session.load()
    own = own_side(settings, choose(settings, organization))
    ensure_own_key(settings)
    text = own.metadata([one.base64 for one in read_keys(settings.installation.saml).certificates]).decode("utf-8")
    facts = {"entity_id": own.entity_id, "acs": own.acs, "name_id_format": own.name_id_format}
    lines: tuple[str, ...] = (text.removesuffix("\n"),)
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise BadInput(
                f"cannot be written: {error.strerror}", where=str(out), next_step="name another file with --out"
            ) from error
        lines = (
            f"written: {out}",
            f"  entityID (audience): {own.entity_id}",
            f"  ACS (reply address): {own.acs}",
            f"  NameID format: {own.name_id_format}",
            "  → give it to the identity provider; then take in its own: rosterd sso connect METADATA",
        )
    answer(session, Shown(lines, {**facts, "metadata": text, "written": str(out) if out else None}))


@sso.command("rotate-key")
def rotate_key(
    context: typer.Context,
    finish: Annotated[bool, typer.Option("--finish", help="Sign with the announced key from now on.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Publish the signing key alone; the other one is gone.")] = False,
    back: Annotated[bool, typer.Option("--back", help="After --finish: sign with the former key again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Every provider has both; or: give the announced key up.")] = False,
    as_json: Json = False,
) -> None:
    """Replace the key that signs our sign-in requests: announce, --finish, --drop. Each step says who must import."""
    from connector.sso.saml.rotation import Step

    chosen = [step for step, given in ((Step.SWITCH, finish), (Step.DROP, drop), (Step.BACK, back)) if given]
    if len(chosen) > 1:
        raise typer.BadParameter("one step at a time: --finish, --drop or --back")

    async def work(service: Service) -> Result:
        from connector.sso.provider import own_key
        from rosterd.service import actor, ensure_own_key, own_name, own_side

        settings = service.settings
        await service.register()
        ensure_own_key(settings)
        done = await own_key.rotate(
            service.ledger,
            settings.installation.saml,
            [own_side(settings, name) for name in settings.customers],
            chosen[0] if chosen else Step.ANNOUNCE,
            name=own_name(settings),
            actor=actor(),
            now=service.clock(),
            sure=yes,
        )
        said = () if done.changed else ("nothing was changed: it was done already",)
        return Shown((*said, *done.lines), done.to_json())

    perform(context, as_json, work)


@sync.command("status")
def sync_status(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Whether sync is off, ready, enabled or suspended, and why."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import sync as switch

        async with service.ledger.read(choose(service.settings, organization)) as reader:
            return _sync(await switch.sync_status(reader, now=service.clock()))

    perform(context, as_json, work)


@sync.command("enable")
def enable(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Enable directory sync; refused with every missing step until single sign-on is on (R5)."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import sync as switch
        from rosterd.service import actor

        await service.register()
        name = choose(service.settings, organization)
        now = service.clock()
        await switch.enable_sync(service.ledger, name, actor=actor(), now=now)
        async with service.ledger.read(name) as reader:
            return _sync(await switch.sync_status(reader, now=now))

    perform(context, as_json, work)


@sync.command("disable")
def disable(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Switch directory sync off; what it granted stays as it is."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import sync as switch
        from rosterd.service import actor

        name = choose(service.settings, organization)
        now = service.clock()
        await switch.disable_sync(service.ledger, name, actor=actor(), now=now)
        async with service.ledger.read(name) as reader:
            return _sync(await switch.sync_status(reader, now=now))

    perform(context, as_json, work)


def _status(found: SsoStatus) -> Shown:
    lines: list[str] = []
    for domain in found.domains:
        warnings = f" ({', '.join(domain.gate.warnings)})" if domain.gate.warnings else ""
        lines.append(f"{domain.domain}: {domain.standing.state.value}, gate {domain.gate.state.value}{warnings}")
        lines += [f"  missing: {step}" for step in domain.missing]
    lines += found.differences
    if not found.domains and not found.differences:
        lines.append("no domain is registered\n  → rosterd sso add DOMAIN")
    lines += [line for item in found.connections for line in _connection(item)]
    for test in found.tests:
        lines += [f"  {line}" for line in test.in_words()]
    lines += found.bonds.lines
    lines.append(f"sync: {found.sync.state.value}")
    lines += [f"  forecast: {sentence}" for sentence in found.forecast]
    return Shown(tuple(lines), found.to_json())


def _connection(found: ConnectionStatus) -> Iterator[str]:
    """One connection for somebody who never saw one: what judges sign-ins, since when, until when, and what waits."""
    yield f"{found.entity_id or found.id}: {found.state.value}"
    if found.reasons:
        yield f"  because: {', '.join(found.reasons)}"
    if found.live:
        yield f"  version {found.live} judges sign-ins"
    elif found.newest:
        yield f"  version {found.newest} is not on; nobody signs in through it"
    for item in found.certificates:
        said = "its signature was seen in a test or sign-in" if item.proved else "nothing it signed was seen yet"
        yield f"  certificate {item.certificate.thumbprint[:16]} until {item.certificate.not_after:%Y-%m-%d}: {said}"
        if item.held_until:
            yield f"    new: no test and no first sign-in by it before {_moment(item.held_until)} → {item.next_step}"
    if found.live:
        yield from _fetched(found)
    yield from (f"  warning: {sentence}" for sentence in found.warnings_in_words)
    if found.draft:
        who = "a refresh made it" if found.draft.refreshed else "it was given by hand"
        yield f"  version {found.draft.number} waits ({who}): {'; '.join(found.draft.differences)}"
        yield from (f"    {step}" for step in found.draft.steps)
    if found.asked:
        yield f"  {found.asked.actor} asked to turn version {found.asked.version} on: somebody else completes it"
        yield "    → rosterd sso on"


def _fetched(found: ConnectionStatus) -> Iterator[str]:
    """Where its metadata is fetched again, and how that went last."""
    if found.source is None:
        yield "  metadata: fetched again from [sso] metadata, where that is an https address"
    elif not found.source:
        yield "  metadata: given as a file, so that new certificates are not fetched → rosterd sso connect https://…"
    elif found.fetch is None or (found.fetch.read_at is None and not found.fetch.failures):
        yield f"  metadata: {found.source}, not fetched again yet"
    elif found.fetch.failing_since is None:
        yield f"  metadata: {found.source}, read on {_moment(found.fetch.at)}"
    else:
        last = f", last read on {_moment(found.fetch.read_at)}" if found.fetch.read_at else ""
        often = f" ({found.fetch.failures} times)" if found.fetch.failures > 1 else ""
        since = f"{_moment(found.fetch.failing_since)}{often}{last}"
        yield f"  metadata: {found.source} cannot be read since {since}: {found.fetch.why}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _sync(found: SyncStatus) -> Shown:
    return Shown((f"sync: {found.state.value}", *(f"  {reason}" for reason in found.reasons)), found.to_json())


async def _ours(service: Service, organization: str) -> Shown:
    """Our own side: the key that signs, when it ends, and whether providers know us under another address."""
    from connector.sso.provider import own_address
    from connector.sso.saml.key_status import KeyStatus
    from rosterd.service import own_keys, own_side

    own, now = own_side(service.settings, organization), service.clock()
    try:
        keys = own_keys(service.settings)
    except RosterdError as error:
        lines, document = [f"our key: {error}"], None
    else:
        key = KeyStatus(keys, now) if keys else None
        lines, document = list(key.lines if key else ("our key: made at its first use",)), key and key.to_json()
    async with service.ledger.read(organization) as reader:
        moved = await own_address.moves(reader, own, now)
    lines += [f"our address is another than the one that was tested: {move.line}" for move in moved]
    lines += ["  → rosterd check --moved, when it is meant"] if moved else []
    return Shown(tuple(lines), {"key": document, "moved": [move.to_json() for move in moved]})


def _label(domain: str) -> str:
    from ledger.identity import a_label

    try:
        return a_label(domain)
    except ValueError as error:
        raise BadInput(str(error), where="DOMAIN") from error


def add_to(root: typer.Typer) -> None:
    """Register the verbs; ``sso add-domain``, ``sso enable-sync`` and ``sso disable-sync`` are other names."""
    bonds.add_to(sso)
    guide.add_to(sso)
    sso.command("add-domain", hidden=True)(add)
    sso.command("enable-sync", hidden=True)(enable)
    sso.command("disable-sync", hidden=True)(disable)
    root.add_typer(sso, name="sso")
    root.add_typer(sync, name="sync")
