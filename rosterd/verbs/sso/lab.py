"""lab: an identity provider, name servers and a mail server on this machine, to try one's own configuration."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ledger.errors import BadInput, NotFound, RosterdError, Unavailable
from rosterd.verbs.console import Json, OneOrganization, Session, Shown, answer, choose, write_json, write_lines

lab = typer.Typer(
    help="An identity provider, name servers and a mail server on this machine, to try everything without the world.",
    invoke_without_command=True,
)
Folder = Annotated[
    Path | None, typer.Option("--folder", help="Where the lab keeps its files; lab beside rosterd.toml if not named.")
]
Port = Annotated[int, typer.Option("--idp-port", min=1, max=65535, help="Port of the identity provider.")]
DnsPort = Annotated[
    int, typer.Option("--dns-port", min=1, max=65534, help="Port of one name server; the other has the next one.")
]
MailPort = Annotated[
    int, typer.Option("--mail-port", min=1, max=65534, help="Port of the mail server; its page has the next one.")
]


@lab.callback()
def run(
    context: typer.Context,
    folder: Folder = None,
    write: Annotated[
        bool, typer.Option("--write", help="Copy the configuration into the lab's folder, with all of this set.")
    ] = False,
    idp_port: Port = 8090,
    dns_port: DnsPort = 8053,
    mail_port: MailPort = 8025,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Run an identity provider, two name servers and a mail server until Ctrl-C, and print every command to sync.

    It proves nothing to the world: whoever can reach it signs in as anybody. No mail leaves this machine.
    """
    if context.invoked_subcommand is not None:
        return
    from rosterd.lab import place
    from rosterd.lab.run import run as run_lab
    from rosterd.lab.words import Running

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    settings = session.load()
    planned = place.planned(
        settings,
        choose(settings, organization),
        folder=folder,
        idp_port=idp_port,
        dns_port=dns_port,
        mail_port=mail_port,
    )

    def say(running: Running) -> None:
        if session.as_json:
            write_json(running.to_json())
        else:
            write_lines(running.lines)

    asyncio.run(run_lab(planned, settings, write=write, say=say))


@lab.command()
def publish(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As rosterd sso add printed it.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="As rosterd sso add printed it, in quotes.")],
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Publish a TXT record in the lab's own zone; its name servers show it at once."""
    from connector.sso.gate.domains import RECORD_PREFIX
    from rosterd.lab import place

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    records = place.publish(place.folder_of(session.config, folder), name, value)
    domain = name.rstrip(".").removeprefix(f"{RECORD_PREFIX}.")
    lines = (f"published: {name}  TXT  {value}", f"  → then: rosterd sso verify {domain}")
    answer(session, Shown(lines, {"name": name, "records": list(records)}))


@lab.command()
def withdraw(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the record.")],
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Take a TXT record out of the lab's own zone, to see what happens when a proof is gone."""
    from rosterd.lab import place

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    gone = place.withdraw(place.folder_of(session.config, folder), name)
    answer(session, Shown((f"withdrawn: {name}" if gone else "it was not there",), {"name": name, "changed": gone}))


@lab.command("sign-in")
def sign_in(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="What rosterd sso test printed, or an invite's link; in quotes."),
    ],
    mail: Annotated[str, typer.Argument(metavar="MAIL", help="Whom the lab's identity provider vouches for.")],
    as_json: Json = False,
) -> None:
    """Sign in at the lab as a browser would, where there is no browser, and print the page that it ends at."""
    import aiohttp

    from ledger.identity import Email
    from rosterd.checks.addresses import is_loopback
    from rosterd.demo.signon_acts import claim, sign_in

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    try:
        mail = Email.parse(mail).text
    except ValueError as error:
        raise BadInput(str(error), where="MAIL", next_step="give an address, for example anna@acme.example") from error
    if not is_loopback(urlsplit(url).hostname or ""):
        raise BadInput(f"{url} is not on this machine", where="URL", next_step="give the page of rosterd sso test")
    browse = claim if urlsplit(url).path.endswith("/invite") else sign_in
    try:
        page = asyncio.run(browse(url, mail))
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(
            f"nobody answers: {error}", where=url, next_step="start rosterd serve and rosterd lab, each in a terminal"
        ) from error
    done = "passed" in page or "Welcome" in page
    hints = () if done else tuple(_why(session, url, mail, page))
    answer(session, Shown((page, *hints), {"page": page, "signed_in": done}, exit_code=0 if done else 3))


def _why(session: Session, url: str, mail: str, page: str) -> Iterator[str]:
    """What to know of a sign-in that was refused: whose the address is, and the command that says more."""
    from ledger.identity import Email

    domain, organization = Email.parse(mail).domain, urlsplit(url).path.split("/")[2]
    settings = None
    with suppress(RosterdError):  # the page may be another configuration's
        settings = session.load()
        choose(settings, organization)
    customers = settings.customers if settings else {}
    of = {item.name: name for name, one in customers.items() for item in one.settings.domains}
    own = ", ".join(name for name, whose in of.items() if whose == organization)
    if own and of.get(domain) != organization:
        whose = f"a domain of {of[domain]}" if domain in of else "no domain of this configuration"
        yield f"{domain} is {whose}; at this page {organization} takes people of {own}"
    if reference := re.search(r"Reference: (\w+)", page):
        yield f"  → rosterd sso explain {reference[1]}"


@lab.command()
def mail(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="MAIL", help="To whom it went.")],
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Print the newest mail that the lab's mail server has for an address, as text: an invite's link is in it."""
    from rosterd.demo.postbox import mails, text_of
    from rosterd.lab import place

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    kept = [found for _, found in mails(place.folder_of(session.config, folder) / "mails")]
    wanted = address.rstrip(".").casefold()
    for found in reversed(kept):
        if wanted in {to.addr_spec.casefold() for to in found["To"].addresses}:
            text = text_of(found).rstrip().replace("\r\n", "\n").split("\n")
            head = {name: str(found[name]) for name in ("From", "To", "Subject")}
            lines = (*(f"{name}: {value}" for name, value in head.items()), "", *text)
            answer(session, Shown(lines, {**head, "text": text}))
    raise NotFound(
        f"{address} has no mail among {len(kept)}", where="MAIL", next_step="rosterd outbox list says what waits"
    )


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(lab, name="lab")
