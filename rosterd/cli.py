"""The command line: ``rosterd [--config FILE] VERB``. Thin: verbs live in ``rosterd.verbs``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.completion import get_completion_inspect_parameters
from typer.exceptions import Abort, TyperException
from typer.main import get_command

from rosterd.verbs.console import FILE, Session, report_error

VERBS: dict[str, tuple[str, ...]] = {
    "starting": ("init",),
    "checking": ("check", "clock"),
    "sso.group": ("sso",),
    "sso.directory_sync": ("sync",),
    "reconcile": ("plan", "apply", "approve", "undo"),
    "look.status": ("status",),
    "look.people": ("people",),
    "look.explain": ("explain",),
    "adopting": ("adopt",),
    "byhand": ("invite", "relink", "rename", "restrict", "lift"),
    "granting": ("team", "seat"),
    "imports": ("import",),
    "outbox": ("outbox",),
    "usage": ("usage",),
    "tokens": ("token",),
    "reports": ("publish", "report"),
    "serving": ("serve", "reload", "demo"),
    "sso.lab": ("lab",),
    "shell": ("completion", "man"),
}
"""Module in ``rosterd.verbs`` → the verbs it adds. Only the module of the verb that is asked for is imported."""

EXIT_CODES = {
    0: "done",
    1: "unexpected",
    2: "usage or configuration",
    3: "something is held, or was refused",
    4: "source incomplete or unavailable",
}
"""What an exit code means, in help and on the manual page."""

COMPLETE = "_ROSTERD_COMPLETE"
"""The variable by which a shell's completion asks; typer makes it of the program's name."""


def make(modules: Iterable[str], names: Iterable[str] = ()) -> typer.Typer:
    """The command line with the verbs of these modules; ``names``: of verbs to be known by their name only."""
    app = typer.Typer(
        name="rosterd",
        help="The account side of a Business plan: directory sync behind proven sign-on, guarded seats, reports.",
        epilog="Exit codes: " + " · ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(options)
    for module in modules:
        importlib.import_module(f"rosterd.verbs.{module}").add_to(app)
    for name in names:
        app.command(name)(lambda: None)
    return app


def needed(arguments: Sequence[str]) -> tuple[str, ...]:
    """The module of the first word that is a verb; all of them for help, and where no word is a verb."""
    words = iter(arguments)
    for word in words:
        if word in {"--config", "-c"}:
            next(words, "")
        for module, verbs in VERBS.items():
            if word in verbs:
                return (module,)
    return tuple(VERBS)


def in_question(typed: Sequence[str]) -> tuple[str, ...]:
    """The modules with a verb that one of the typed words is, or begins; all of them where no word does."""
    words = tuple(word for word in typed if word)
    found = tuple(
        module for module, verbs in VERBS.items() if any(verb.startswith(word) for verb in verbs for word in words)
    )
    return found or tuple(VERBS)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"rosterd {version('rosterd')}\n")
        raise typer.Exit


def options(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", "-c", envvar="ROSTERD_CONFIG", help="The admin file.")] = Path(
        "rosterd.toml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", envvar="ROSTERD_DEBUG", help="Log and trace everything.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and leave.")
    ] = False,
) -> None:
    """Read the global options."""
    session: Session = context.obj
    session.config, session.as_json, session.debug = config, as_json, debug
    source = context.get_parameter_source("config")
    FILE.set(str(config) if source is not None and source.name == "COMMANDLINE" else "")


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code and lets no exception out."""
    session = Session(Path("rosterd.toml"), as_json="--json" in arguments)
    modules, names = needed(arguments), tuple[str, ...]()
    if COMPLETE in os.environ:  # a shell asks what comes next
        typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")  # bash, or zsh and fish
        modules = in_question(typed.split()[1:])
        if os.environ.get("COMP_CWORD") == "1" and not typed.split()[1:]:  # bash shows names only: no verb is loaded
            modules, names = (), tuple(verb for verbs in VERBS.values() for verb in verbs)
        get_completion_inspect_parameters()  # makes the shells known, which typer does for its own options only
        sys.modules["rich"] = None  # type: ignore[assignment]  # typer takes markup out with it, and there is none
    try:
        command = get_command(make(modules, names))
        code = command.main(list(arguments), prog_name="rosterd", standalone_mode=False, obj=session)
    except TyperException as error:
        show = getattr(error, "show", None)  # usage errors print themselves; typer types them loosely
        if show is not None:
            show()
        return int(getattr(error, "exit_code", 2))
    except (Abort, KeyboardInterrupt):
        sys.stderr.write("rosterd: interrupted\n")
        return 130
    except BrokenPipeError:  # `rosterd … | head`: nobody reads on, which is no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the last wall: whatever it is, a person reads one line and a program one document
        return report_error(error, session)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the ``rosterd`` command."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
