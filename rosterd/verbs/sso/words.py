"""What the verbs of `rosterd sso` take and say alike."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger.errors import BadInput

Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="The mail domain.")]


def label(domain: str) -> str:
    """The domain as it is compared: its A-label. Raises ``BadInput``."""
    from ledger.identity import a_label

    try:
        return a_label(domain)
    except ValueError as error:
        raise BadInput(str(error), where="DOMAIN") from error
