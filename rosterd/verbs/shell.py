"""completion · man: what a shell and ``man`` are told of the command line, both from the verbs as they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer


class Shell(StrEnum):
    """A shell that can be told how to complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(help="The shell that completes.")]
) -> None:
    """Print a script that completes verbs and options, for the shell to source."""
    from typer.completion import get_completion_inspect_parameters, shell_complete

    from rosterd.cli import COMPLETE

    get_completion_inspect_parameters()  # makes the shells known, which typer does for its own options only
    raise typer.Exit(shell_complete(context.find_root().command, {}, "rosterd", COMPLETE, f"source_{shell}"))


def man() -> None:
    """Print the manual page rosterd(1), of every verb and option."""
    from importlib.metadata import version

    from typer.main import get_command

    from rosterd.cli import EXIT_CODES, VERBS, make

    sys.stdout.write(page(get_command(make(VERBS)), version("rosterd"), EXIT_CODES))


def page(command: Any, version: str, exit_codes: Mapping[int, str]) -> str:
    """The manual page of a command tree as roff, in plain ASCII. ``command``: what typer makes of an app."""
    root = typer.Context(command, info_name=command.name, **command.context_settings)
    lines = [f'.TH {command.name.upper()} 1 "" "{_roff(f"{command.name} {version}")}" "User Commands"']
    lines += [".ad l", ".nh"]  # names of options are long, and a hyphen inside one would be part of it
    lines += [".SH NAME", f"{_roff(command.name)} \\- {_roff(command.help.rstrip('.'))}"]
    lines += [".SH SYNOPSIS", _usage(root), ".SH OPTIONS", *_parameters(root), ".SH VERBS"]
    for context in _below(root):
        lines += [f'.SS "{_roff(context.command_path)}"', _usage(context), ".PP"]
        lines += [_text(paragraph.split()) for paragraph in (context.command.help or "").split("\n\n")]
        lines += _parameters(context)
    lines.append(".SH EXIT STATUS")
    for code, meaning in exit_codes.items():
        lines += [".TP", f"\\fB{code}\\fR", _text([meaning])]
    return "\n".join(lines) + "\n"


def _below(context: typer.Context) -> Iterator[typer.Context]:
    """Every command under this one that is not hidden, each before its own."""
    for name, command in getattr(context.command, "commands", {}).items():
        if not command.hidden:
            inner = typer.Context(command, parent=context, info_name=name)
            yield inner
            yield from _below(inner)


def _usage(context: typer.Context) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f"\\fB{_roff(context.command_path)}\\fR {_roff(pieces)}"


def _parameters(context: typer.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:  # it is hidden otherwise
            yield from (".TP", f"\\fB{_roff(record[0])}\\fR", _text([record[1]]))


def _text(words: list[str]) -> str:
    text = _roff(" ".join(words))
    return f"\\&{text}" if text[:1] in {".", "'"} else text  # else it would be a request


def _roff(text: str) -> str:
    """Text with whatever roff would read otherwise written out, and a place to break lines after each choice."""
    named = {"|": "|\\:", "\\": "\\e", "-": "\\-", '"': "\\(dq", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
    return "".join(named.get(sign) or (sign if sign.isascii() else f"\\[u{ord(sign):04X}]") for sign in text)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(completion)
    app.command()(man)
