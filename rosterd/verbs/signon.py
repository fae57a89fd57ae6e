"""sso · sync: proving single sign-on step by step, and switching directory sync on (R1, R5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.errors import BadInput, Refused
from rosterd.verbs.console import Json, OneOrganization, Result, Shown, choose, perform
from rosterd.verbs.sso import bonds

if TYPE_CHECKING:
    from connector.sso.gate.status import SsoStatus
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

        async with service.ledger.read(choose(service.settings, organization)) as reader:
            return _status(await standing.status(reader, now=service.clock()))

    perform(context, as_json, work)


@sso.command()
def add(context: typer.Context, domain: Domain, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Register a domain and print the DNS record that proves it (its token is shown this once)."""

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
            f"publish this record in DNS, then run: rosterd sso verify {made.domain}",
            f"  {made.record_name}  TXT  {made.record_value}",
        )
        return Shown(lines, made.to_json())

    perform(context, as_json, work)


@sso.command()
def verify(context: typer.Context, domain: Domain, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Look for the record by every resolver."""

    async def work(service: Service) -> Result:
        from connector.sso.proof import domain_steps
        from rosterd.service import actor

        name = choose(service.settings, organization)
        dns = service.settings.installation.dns
        report = await domain_steps.verify_domain(
            service.ledger, name, domain, dns=dns, actor=actor(), now=service.clock()
        )
        why = f": {report.why}" if report.why else ""
        line = f"{report.domain} is {report.standing.state.value}{why}"
        return Shown((line,), report.to_json(), exit_code=0 if report.proved else 3)

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
        from rosterd.service import actor

        name = choose(service.settings, organization)
        customer = service.settings.customer(name)
        settings = customer.settings.sso or SsoSettings()
        given = Path.cwd() if metadata else customer.file.parent
        document = await _metadata(metadata or settings.metadata, given)
        loopback = service.settings.installation.saml.allow_http_on_loopback
        report = await steps.connect(
            service.ledger,
            name,
            document,
            settings=settings,
            actor=actor(),
            now=service.clock(),
            allow_http_on_loopback=loopback,
        )
        lines = [f"{report.entity_id}, version {report.version}, fingerprint {report.fingerprint[:16]}"]
        lines += [f"  warning: {warning}" for warning in report.warnings]
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
        document = {"url": ticket.url, "domain": ticket.domain, "expires_at": ticket.expires_at}
        lines = (ticket.url, f"  → open it in a browser; after it passed: rosterd sso on {ticket.domain}")
        return Shown(lines, document)

    perform(context, as_json, work)


@sso.command()
def on(
    context: typer.Context,
    domain: Annotated[str, typer.Argument(help="Only for reading; every proved and tested domain is on.")] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Turn single sign-on on with exactly what was tested."""

    async def work(service: Service) -> Result:
        from connector.sso.provider import connection_steps
        from rosterd.service import actor

        name = choose(service.settings, organization)
        report = await connection_steps.turn_on(service.ledger, name, actor=actor(), now=service.clock())
        if domain and _label(domain) not in report.domains:
            raise BadInput(f"{domain} is not linked to {report.entity_id}", next_step="rosterd sso status")
        lines = (f"single sign-on is on for {', '.join(report.domains)}", "  → rosterd sync enable")
        return Shown(lines, report.to_json())

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
    if not found.domains:
        lines.append("no domain is registered\n  → rosterd sso add DOMAIN")
    lines += [f"{item.entity_id or item.id}: {item.state.value}" for item in found.connections]
    lines += found.bonds.lines
    lines.append(f"sync: {found.sync.state.value}")
    lines += [f"  forecast: {sentence}" for sentence in found.forecast]
    return Shown(tuple(lines), found.to_json())


def _sync(found: SyncStatus) -> Shown:
    return Shown((f"sync: {found.state.value}", *(f"  {reason}" for reason in found.reasons)), found.to_json())


async def _metadata(reference: str, folder: Path) -> bytes:
    """Metadata of a file or of an https address."""
    if not reference:
        raise BadInput(
            "no metadata is given", where="sso.metadata", next_step="rosterd sso connect FILE, or set sso.metadata"
        )
    if reference.startswith("https://"):
        from rosterd.fetching import fetch

        return await fetch(reference)
    path = folder / reference.removeprefix("file:")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path), next_step="check the path") from error


def _label(domain: str) -> str:
    from ledger.identity import a_label

    try:
        return a_label(domain)
    except ValueError as error:
        raise BadInput(str(error), where="DOMAIN") from error


def add_to(root: typer.Typer) -> None:
    """Register the verbs; ``sso add-domain``, ``sso enable-sync`` and ``sso disable-sync`` are other names."""
    bonds.add_to(sso)
    sso.command("add-domain", hidden=True)(add)
    sso.command("enable-sync", hidden=True)(enable)
    sso.command("disable-sync", hidden=True)(disable)
    root.add_typer(sso, name="sso")
    root.add_typer(sync, name="sync")
