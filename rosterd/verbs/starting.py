"""init: a first configuration and its keys, one more customer, or what one that is there still lacks."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.errors import BadInput, ManyErrors, RosterdError
from rosterd.first.kinds import MEANINGS, OPTIONS, DirectoryKind
from rosterd.verbs.console import Json, Session, Shown, answer

if TYPE_CHECKING:
    from rosterd.first.answers import Answers
    from rosterd.first.folder import FirstFolder
    from rosterd.settings import Settings

_KINDS = "; ".join(f"{kind}: {meaning}" for kind, meaning in MEANINGS.items())


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder to write into.")] = Path(),
    organization: Annotated[
        str | None, typer.Option("--organization", "-o", help="Id of the customer; acme if nothing is said.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="How people are shown the customer.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", help="Mail domain of the customer.")] = None,
    directory: Annotated[
        DirectoryKind | None, typer.Option("--directory", help=f"Where its people come from. {_KINDS}.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="URL", help="Address of the directory (of ldif: the file); repeatable."),
    ] = None,
    tls_ca: Annotated[
        str | None,
        typer.Option("--tls-ca", metavar="FILE", help="PEM file of the authority of the server's certificate."),
    ] = None,
    tls_name: Annotated[
        str | None,
        typer.Option("--tls-name", metavar="NAME", help="Name in its certificate, where the address has another."),
    ] = None,
    plaintext: Annotated[
        bool, typer.Option("--plaintext", help="Danger: send the password unencrypted, to a server on this machine.")
    ] = False,
    bind_dn: Annotated[
        str | None, typer.Option("--bind-dn", metavar="DN", help="Account that reads; or: anonymous, external.")
    ] = None,
    bind_password: Annotated[
        str | None,
        typer.Option(
            "--bind-password", metavar="REF", help="env:NAME or file:PATH of its password (scim-pull: token)."
        ),
    ] = None,
    people_base: Annotated[str | None, typer.Option("--people-base", metavar="DN", help="Where people are.")] = None,
    groups_base: Annotated[str | None, typer.Option("--groups-base", metavar="DN", help="Where groups are.")] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="GROUP=TEAM:OFFERING,…",
            help="A group (DN or name) that gives a Team and seats; repeatable. The last = separates.",
        ),
    ] = None,
    primary_admin: Annotated[
        str | None, typer.Option("--primary-admin", metavar="MAIL", help="Who administers the Teams that --map names.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a first configuration and generate its keys (mode 0600). Overwrites nothing.

    On a terminal it asks for what no option says, tries the directory and shows its groups. In a folder that has a
    configuration it adds a customer whose id is new; of one that is there it says what is missing.
    """
    # what one types: an option for each question
    from rosterd.first.answers import Answers, ChosenGroup

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    typed: dict[str, Any] = {
        "organization": organization,
        "name": name,
        "domain": domain,
        "kind": directory,
        "servers": tuple(server) if server else None,
        "tls_ca": tls_ca,
        "tls_name": tls_name,
        "plaintext": plaintext or None,
        "bind_dn": bind_dn,
        "bind_password": bind_password,
        "people_base": people_base,
        "groups_base": groups_base,
        "mappings": tuple(map(ChosenGroup.parse, mapped)) if mapped else None,
        "primary_admin": primary_admin,
    }
    given = {key: value for key, value in typed.items() if value is not None}
    asks = not session.as_json and sys.stdin.isatty() and sys.stdout.isatty()
    answer(session, _Start(folder, Answers(**given), frozenset(given), asks=asks).run())


class _Start:
    """One run of the verb. ``given``: which answers options gave; ``asks``: somebody sits at the terminal."""

    def __init__(self, folder: Path, answers: Answers, given: frozenset[str], *, asks: bool) -> None:
        self._folder = folder
        self._answers = answers
        self._given = given
        self._asks = asks

    def run(self) -> Shown:
        """What there was to do, done and said."""
        settings = self._there()
        file_of = self._places(settings)
        if settings is not None and not self._asks and "organization" not in self._given and settings.customers:
            return _lacking(settings, list(settings.customers))
        known = list(settings.customers) if settings else []
        if self._asks:
            self._answers = self._asked(known, file_of)
        if settings is not None and self._answers.organization in settings.customers:
            return _lacking(settings, [self._answers.organization], unused=sorted(self._given - {"organization"}))
        if faults := self._answers.faults(file_of, self._folder):
            raise _many(faults)
        made = self._first if settings is None else self._one_more
        return self._told(*made(file_of(self._answers.organization)), known)

    def _there(self) -> Settings | None:
        """The configuration that the folder has. Raises ``BadInput`` when it cannot be read as one."""
        from rosterd.loading import load

        file = self._folder / "rosterd.toml"
        try:
            file.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            step = "name a folder of your own, or let this user read it"
            raise BadInput(f"cannot be read: {error.strerror}", where=str(file), next_step=step) from error
        return load(file)

    def _places(self, settings: Settings | None) -> Callable[[str], Path]:
        from rosterd.first.files import organization_file
        from rosterd.settings import InstallationSettings

        pattern = (settings.installation if settings else InstallationSettings()).organizations
        return lambda organization: organization_file(pattern, organization, self._folder)

    def _asked(self, known: Sequence[str], file_of: Callable[[str], Path]) -> Answers:
        from rosterd.first.questions import Questions

        questions = Questions(self._answers, self._given, folder=self._folder, file_of=file_of)
        if questions.organization(known) in known:
            return questions.answers
        return questions.customer()

    def _first(self, file: Path) -> tuple[FirstFolder, Settings]:
        """A configuration with its keys, its ledger and one customer."""
        from connector.sso.saml.signing import ensure_key
        from rosterd.clock import utc_now
        from rosterd.first.files import SAML_CERTIFICATE, SAML_KEY, first_files
        from rosterd.first.folder import all_or_nothing
        from rosterd.first.missing import open_keys
        from rosterd.loading import load

        files = first_files(self._answers, self._folder)
        with all_or_nothing(self._folder, self._answers.words()) as folder:
            if existing := [str(self._folder / name) for name in files.configuration if (self._folder / name).exists()]:
                raise BadInput(
                    f"there is a configuration already: {', '.join(existing)}",
                    where=str(self._folder),
                    next_step='move it away, or choose another folder: rosterd init "$HOME/rosterd"',
                )
            if wrong := open_keys([self._folder / name for name in (*files.secrets, SAML_KEY)]):
                raise _many([BadInput(lack.what, next_step=lack.command) for lack in wrong])
            for name, text in files.configuration.items():
                folder.text(name, text)
            for name, text in files.beside.items():
                folder.ours(name, text)
            for name, make in files.secrets.items():
                folder.secret(name, make())
            folder.expect(SAML_KEY, SAML_CERTIFICATE)
            if ensure_key(
                self._folder / SAML_KEY, self._folder / SAML_CERTIFICATE, name=self._answers.mail_domain, now=utc_now()
            ):
                folder.written += [SAML_KEY, SAML_CERTIFICATE]
            settings = load(self._folder / "rosterd.toml")
            _make_stores(settings, folder)
        return folder, settings

    def _one_more(self, file: Path) -> tuple[FirstFolder, Settings]:
        """A customer's file beside the others; the keys and the ledger of the installation are its too."""
        from rosterd.first.files import organization, schema_files
        from rosterd.first.folder import all_or_nothing
        from rosterd.loading import load

        with all_or_nothing(self._folder, self._answers.words()) as folder:
            folder.text(str(file.relative_to(self._folder)), organization(self._answers, file, self._folder))
            for name, text in schema_files().items():
                folder.ours(name, text)
            return folder, load(self._folder / "rosterd.toml")

    def _told(self, folder: FirstFolder, settings: Settings, known: Sequence[str]) -> Shown:
        from rosterd.first.steps import next_steps

        organization = self._answers.organization
        lines = [f"written: {self._folder / name}" for name in folder.written]
        if known:
            lines.append(f"{organization} is added beside {', '.join(known)}; no other file was changed.")
            lines.append("A daemon that runs takes it up after SIGHUP.")
        steps = next_steps(settings, organization)
        document = {
            "folder": str(self._folder),
            "organization": organization,
            "written": folder.written,
            "next": list(steps),
        }
        return Shown((*lines, *(f"  → {step}" for step in steps)), document)


def _lacking(settings: Settings, organizations: Sequence[str], unused: Sequence[str] = ()) -> Shown:
    """What customers that have a file still lack; exit 2 when that is something."""
    from rosterd.first.missing import lacks
    from rosterd.first.steps import next_steps

    lines: list[str] = []
    found: dict[str, list[dict[str, str]]] = {}
    for name in organizations:
        file = settings.customer(name).file
        missing = lacks(settings, name)
        found[name] = [{"what": lack.what, "command": lack.command} for lack in missing]
        lines.append(f"{name} is there already: {file}{'; nothing is missing' if not missing else ''}")
        if unused:
            options = ", ".join(OPTIONS[key] for key in unused)
            lines.append(f"  its file was not changed; {options} are for a customer that is new")
        for lack in missing:
            lines += [f"  missing: {lack.what}", f"  → {lack.command}"]
    complete = not any(found.values())
    steps = next_steps(settings, organizations[0]) if complete else ()
    lines += [f"  → {step}" for step in steps]
    document = {"folder": str(settings.file.parent), "written": [], "missing": found, "next": list(steps)}
    return Shown(tuple(lines), document, exit_code=0 if complete else 2)


def _make_stores(settings: Settings, folder: FirstFolder) -> None:
    """An empty ledger and inbox, unless there is a ledger. What the environment puts elsewhere is left to ``serve``,
    the only other command that makes any.
    """
    from rosterd.service import Service

    place, own = settings.installation.database.folder, settings.file.absolute().parent
    if place is None or not place.absolute().is_relative_to(own) or (file := place / "ledger.db").exists():
        return
    names = [f"{place.absolute().relative_to(own)}/{name}.db" for name in ("ledger", "inbox")]
    folder.expect(*(f"{name}{end}" for name in names for end in ("", "-wal", "-shm")))

    async def make() -> None:
        async with Service.opened(settings, makes=True) as service:
            await service.inbox()

    try:
        asyncio.run(make())
    except RosterdError as error:
        if "full" in error.what:
            raise OSError(errno.ENOSPC, error.what, str(file)) from error
        raise
    folder.written += names


def _many(faults: Sequence[BadInput]) -> BadInput:
    return faults[0] if len(faults) == 1 else ManyErrors(faults)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(init)
