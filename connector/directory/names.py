"""The names by which groups list people and groups, in the one form in which they are compared (D6, E3).

Pure: no I/O here.
"""

from __future__ import annotations

from connector.directory import dn
from ledger.identity import fold

LOGIN = "memberUid="
"""How a member value that is a login name is marked among DNs."""


def dn_key(text: str) -> str:
    """The key of a DN, or a key of its own for text that is no DN (a member value may be anything)."""
    try:
        return dn.key(text)
    except ValueError:
        return f"\0{text}"


def login_name(uid: str) -> str:
    """A login name beside the keys of DNs."""
    return f"{LOGIN}{fold(uid)}"
