"""The command line: ``rosterd [--config FILE] VERB``. Thin: verbs live in ``rosterd.verbs``.

Exit codes: 0 done · 2 usage or configuration · 3 held or refused (nothing applied) · 4 source incomplete or
unavailable · 1 unexpected.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException
from typer.main import get_command

from rosterd.verbs import checking, imports, reconcile, reports, serving, signon, starting, tokens, usage
from rosterd.verbs.console import Session, report_error

app = typer.Typer(
    name="rosterd",
    help="The account side of a Business plan: directory sync behind proven sign-on, guarded seats, reports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", "-c", envvar="ROSTERD_CONFIG", help="The admin file.")] = Path(
        "rosterd.toml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", envvar="ROSTERD_DEBUG", help="Log and trace everything.")] = False,
) -> None:
    """Read the global options."""
    session: Session = context.obj
    session.config, session.as_json, session.debug = config, as_json, debug


for verbs in (starting, checking, signon, reconcile, imports, tokens, usage, reports, serving):
    verbs.add_to(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code and lets no exception out."""
    session = Session(Path("rosterd.toml"), as_json="--json" in arguments)
    command = get_command(app)
    try:
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
