"""sso connect · confirm-certificate · metadata · rotate-key: the provider's side and ours of the connection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rosterd.verbs.console import Json, OneOrganization, Result, Session, Shown, answer, choose, perform, write_file

if TYPE_CHECKING:
    from rosterd.service import Service


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
            source=metadata or settings.metadata,
            allow_http_on_loopback=loopback,
        )
        lines = [f"{report.entity_id}, version {report.version}"]
        lines += [
            f"  certificate SHA-256 {one.thumbprint[:16]}…, {one.not_before:%Y-%m-%d} to {one.not_after:%Y-%m-%d}"
            for one in report.certificates
        ]
        lines += [f"  warning: {warning}" for warning in report.warnings]
        if metadata and settings.metadata and metadata != settings.metadata:
            said = f"sso.metadata of {customer.file} is another source ({settings.metadata})"
            lines.append(f"  warning: {said}: the next rosterd sso connect without a name takes that one; correct it")
        if report.live:
            lines.append("  it judges sign-ins now" if report.new else "  it judges sign-ins already; nothing changed")
            lines += [f"  → {report.next_step}"] if report.next_step else []
        elif report.next_step == "rosterd sso on":
            lines.append(f"  it is a draft, tested already → {report.next_step}")
        else:
            lines.append(f"  → give it ours: {service.provider().entity_id(name)}")
            lines += [f"  → then: rosterd sso test {domain}" for domain in report.domains]
        return Shown(tuple(lines), report.to_json())

    perform(context, as_json, work)


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


def own_metadata(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; as it is on stdout.")] = None,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Print our SAML metadata, to hand to the identity provider; needs neither daemon nor ledger."""
    from connector.sso.saml.signing import read_keys
    from rosterd.own_side import ensure_own_key, own_side

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    settings = session.load()
    own = own_side(settings, choose(settings, organization))
    ensure_own_key(settings)
    text = own.metadata([one.base64 for one in read_keys(settings.installation.saml).certificates]).decode("utf-8")
    facts = {"entity_id": own.entity_id, "acs": own.acs, "name_id_format": own.name_id_format}
    lines: tuple[str, ...] = tuple(text.removesuffix("\n").split("\n"))
    if out is not None:
        write_file(out, text, "--out")
        lines = (
            f"written: {out}",
            f"  entityID (audience): {own.entity_id}",
            f"  ACS (reply address): {own.acs}",
            f"  NameID format: {own.name_id_format}",
            "  → give it to the identity provider; then take in its own: rosterd sso connect METADATA",
        )
    answer(session, Shown(lines, {**facts, "metadata": text, "written": str(out) if out else None}))


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
        from rosterd.own_side import ensure_own_key, own_name, own_side
        from rosterd.service import actor

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


def add_to(sso: typer.Typer) -> None:
    """Register the verbs."""
    sso.command()(connect)
    sso.command("confirm-certificate")(confirm_certificate)
    sso.command("metadata")(own_metadata)
    sso.command("rotate-key")(rotate_key)
