"""What an entry does not say of its account any more, though it was disabled by what it said (E1). Pure: no I/O here.

What was stated stays stated until the same entry states the opposite. An attribute without a value states it only where
enabled accounts have none: then other, disabled ones still show it.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

LOCKS = frozenset({"pwdaccountlockedtime", "nsaccountlock", "shadowexpire"})
"""Attributes that an account which may be used mostly has no value of, though it may: FALSE, or a date."""
ALWAYS = frozenset({"useraccountcontrol", "accountexpires", "active"})
"""Attributes that every account has a value of: having none is never a statement, and nothing to decide about."""


class Signs(msgspec.Struct, array_like=True, frozen=True):
    """The attributes by which a directory says that accounts are disabled, as far as it showed a value. ``once``: in
    any reading of it so far; ``now``: in this one; ``usual``: in this one, of an account that is enabled."""

    once: tuple[str, ...] = ()
    now: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()

    def after(self, before: Signs) -> Signs:
        """These, with what earlier readings showed."""
        return msgspec.structs.replace(self, once=tuple(sorted({*before.once, *self.now})))


class Unsaid(msgspec.Struct, frozen=True):
    """Why an entry does not say that its account is enabled. ``ask``: nothing but a person can tell."""

    why: str
    ask: bool = False


def unsaid(blank: Collection[str], signs: Signs, where: str) -> Unsaid | None:
    """Why an entry that does not say that its account is disabled does not say that it is enabled either; None when it
    does. ``blank``: the believed attributes it has no value of; ``where``: its directory."""
    for name in blank:
        if name in signs.usual and name not in LOCKS:
            return Unsaid(
                f"the entry shows no {name}, as enabled ones of directory {where} do: whoever was disabled stays so."
                f" See whether the reading account may read {name} of them"
            )
        if name in signs.once and name not in signs.now:
            return Unsaid(
                f"no entry of directory {where} shows {name} any more: whoever was disabled stays so. See whether the"
                f" reading account may still read {name}",
                ask=name not in ALWAYS,
            )
    return None
