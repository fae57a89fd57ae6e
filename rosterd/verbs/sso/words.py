"""What the verbs of `rosterd sso` take and say alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.errors import BadInput

if TYPE_CHECKING:
    from datetime import datetime

Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="The mail domain.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]


def label(domain: str) -> str:
    """The domain as it is compared: its A-label. Raises ``BadInput``."""
    from ledger.identity import a_label

    try:
        return a_label(domain)
    except ValueError as error:
        raise BadInput(str(error), where="DOMAIN") from error


def moment(at: datetime) -> str:
    """``2026-07-23 14:05 UTC``."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
