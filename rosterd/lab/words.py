"""What a lab says when it runs: what it is not, what to set, and every command up to directory sync, in order.

Prohibition: starts, reads and writes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.sso.gate.domains import record_name
from rosterd.lab.place import HOST, Lab

WARNING = (
    "THIS PROVES NOTHING TO THE WORLD. The identity provider lets anybody in as anybody, without a password;",
    "the name servers say whatever is published below, and nobody but this machine asks them; no mail leaves it.",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command to paste; ``say`` is what to know of it. ``command`` may hold VALUE or URL, which an earlier one
    printed."""

    command: str
    say: str = ""


def _of(config: Path) -> tuple[str, ...]:
    return ("rosterd", "-c", str(config.absolute()))


@dataclass(frozen=True, slots=True)
class Running:
    """A lab that runs. ``config``: the rosterd.toml that the commands use; ``copied``: it is the lab's own.
    ``tables``: what rosterd.toml and the organization's file still lack, by file; ``others``: organizations of
    ``of``, the configuration that it was asked for, which this lab does not serve."""

    lab: Lab
    config: Path
    copied: bool
    tables: tuple[tuple[Path, str], ...]
    others: tuple[str, ...]
    of: Path

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it, as text."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from WARNING
        yield ""
        yield f"identity provider: {self.lab.entity_id}"
        yield f"name servers: {' and '.join(self.lab.resolvers)}"
        yield f"mail server: {HOST}:{self.lab.mail_port}; every mail: {self.lab.mail_page}"
        yield f"folder: {self.lab.folder}"
        if self.others:
            another = self.of.absolute().parent / f"lab-{self.others[0]}"
            others = ", ".join(self.others)
            yield f"organization: {self.lab.organization} alone, not {others}; for another end this lab, and"
            yield f"  → {shlex.join((*_of(self.of), 'lab', '--write', '-o', self.others[0], '--folder', str(another)))}"
        yield ""
        if self.copied:
            yield f"A copy of your configuration, with a ledger and keys of its own: {self.config}"
            yield "Yours stays as it is."
        for file, text in self.tables:
            yield f"put into {file}, in place of what it says of the same:"
            yield from (f"    {line}".rstrip() for line in text.splitlines())
            yield ""
        if self.tables:
            yield "What is proved this way stays in the ledger of that configuration, as evidence. To keep yours clean:"
            yield f"  → {self._command('lab', '--write', *self._folder, *self._of)}"
        yield ""
        yield "Now, in another terminal:"
        for number, step in enumerate(self.steps, start=1):
            yield f"{number:3}. {step.command}"
            yield from ((f"     {step.say}",) if step.say else ())
        yield ""
        yield "Ctrl-C here ends the identity provider, the name servers and the mail server."

    @property
    def steps(self) -> tuple[Step, ...]:
        """The commands in their order."""
        return tuple(self._steps())

    def _steps(self) -> Iterator[Step]:
        yield Step(self._command("serve"), "it goes on running; the rest in a third terminal")
        for domain in self.lab.domains:
            yield Step(self._command("sso", "add", domain, *self._of), "it prints the record: NAME TXT VALUE")
            publish = self._command("lab", "publish", *self._folder, record_name(domain))
            yield Step(f"{publish} 'VALUE'", "with the VALUE that was printed, in quotes")
            yield Step(self._command("sso", "verify", domain, *self._of))
        yield Step(self._command("sso", "connect", *self._of))
        for domain in self.lab.domains:
            yield Step(self._command("sso", "test", domain, *self._of), "it prints a page: URL")
            yield Step(
                f"{self._command('lab', 'sign-in')} 'URL' anybody@{domain}",
                f"or open that page in a browser and sign in as anybody@{domain}",
            )
        yield Step(self._command("sso", "on", *self._of))
        yield Step(self._command("sync", "enable", *self._of), "from now on directories may be read and applied")
        newcomer = f"newcomer@{self.lab.domains[0]}"
        yield Step(
            self._command("invite", "add", newcomer, *self._of),
            f"the invite is mailed at once: read it at {self.lab.mail_page}, and follow its link as {newcomer}",
        )

    def _command(self, *words: str) -> str:
        return shlex.join((*_of(self.config), *words))

    @property
    def _of(self) -> tuple[str, ...]:
        """Which organization, where the configuration may have several."""
        return () if self.copied else ("--organization", self.lab.organization)

    @property
    def _folder(self) -> tuple[str, ...]:
        """The option that names the folder, where it is not the one beside rosterd.toml."""
        beside = self.config.absolute().parent
        return () if self.lab.folder in {beside, beside / "lab"} else ("--folder", str(self.lab.folder))

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "warning": " ".join(WARNING),
            "folder": str(self.lab.folder),
            "config": str(self.config),
            "organization": self.lab.organization,
            "other_organizations": list(self.others),
            "identity_provider": self.lab.entity_id,
            "metadata": str(self.lab.metadata),
            "resolvers": list(self.lab.resolvers),
            "mail_server": f"{HOST}:{self.lab.mail_port}",
            "mails": self.lab.mail_page,
            "set": {str(file): text for file, text in self.tables},
            "steps": [{"command": step.command, "say": step.say} for step in self.steps],
        }
