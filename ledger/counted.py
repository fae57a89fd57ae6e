"""How many of a thing, said to people. Pure."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """``1 seat``, ``3 people``: ``many`` is ``one`` with an s when left out."""
    return f"{number} {one if number == 1 else many or one + 's'}"
