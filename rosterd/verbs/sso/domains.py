"""sso add · verify · release: proving that a domain is the organization's (R5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.errors import Refused
from ledger.instant import to_minute
from rosterd.verbs.console import Json, OneOrganization, Result, Shown, choose, perform
from rosterd.verbs.sso.words import Domain, label

if TYPE_CHECKING:
    from rosterd.service import Service


def add(context: typer.Context, domain: Domain, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Register a domain and print the DNS record that proves it, or the file, which does so for a registered domain and
    nothing below it (the token is shown this once)."""

    async def work(service: Service) -> Result:
        from connector.sso.proof import domain_steps
        from rosterd.service import actor

        await service.register()
        name = choose(service.settings, organization)
        listed = {item.name: item for item in service.settings.customer(name).settings.domains}
        key = label(domain)
        if key not in listed:
            known = ", ".join(listed) or "none"
            raise Refused(
                f"{domain} is not among the organization's domains (it has: {known})",
                where=str(service.settings.customer(name).file),
                next_step=f'add these two lines to the file:\n[[domains]]\nname = "{key}"',
            )
        made = await domain_steps.add_domain(
            service.ledger, name, key, actor=actor(), now=service.clock(), grace=listed[key].grace
        )
        lines: list[str] = []
        if made.keeps_until:
            lines.append(f"its proof is missing; until {to_minute(made.keeps_until)} it goes on as it is")
        if made.replaces:
            lines.append("what was printed before counts no more: put this in its place")
        lines += ["publish this record in DNS:", f"  {made.record_name}  TXT  {made.record_value}"]
        if made.file_url:
            file = "this file at the domain's own web server (https, text/plain, nothing else)"
            lines += [f"or, if you cannot write DNS, {file}:", f"  {made.file_url}", f"  {made.file_body}"]
        lines.append(f"  → then: rosterd sso verify {made.domain}")
        return Shown(tuple(lines), made.to_json())

    perform(context, as_json, work)


def verify(context: typer.Context, domain: Domain, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Look for the record by every resolver, then for a registered domain's file; at most once a minute. Exit 0: this
    look found it, 3: it is not there, 4: who was asked could not say."""

    async def work(service: Service) -> Result:
        from connector.sso.gate.domains import Answer
        from connector.sso.proof import domain_steps
        from rosterd.looks import enqueue_next
        from rosterd.service import actor

        name = choose(service.settings, organization)
        dns = service.settings.installation.dns
        report = await domain_steps.verify_domain(
            service.ledger, name, domain, dns=dns, fetch=service.fetch_proof, actor=actor(), now=service.clock()
        )
        await enqueue_next(service, name)
        why = f": {report.why}" if report.why else ""
        unread = report.answer is Answer.UNREADABLE
        if unread and report.proved and report.found_at:
            why = f", still by the look of {to_minute(report.found_at)}; could not look now{why}"
        lines = [f"{report.domain} is {report.standing.state.value}{why}"]
        lines += [f"  mistake: {report.mistake}"] if report.mistake else []
        lines += [f"  missing: {step}" for step in report.missing]
        code = 0 if report.answer is Answer.FOUND else 4 if unread else 3
        return Shown(tuple(lines), report.to_json(), exit_code=code)

    perform(context, as_json, work)


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


def add_to(sso: typer.Typer) -> None:
    """Register the verbs."""
    sso.command()(add)
    sso.command()(verify)
    sso.command()(release)
