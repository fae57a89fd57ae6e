"""Where a transaction can be met: before it begins, behind its lock, before and after its commit.

The product's doors stand open. ``tests/interleavings`` hands in others, to run several processes in every order.
"""

from __future__ import annotations


class Doors:
    """Open ones. Whatever a door raises is raised in the transaction, and after the commit as a lost answer."""

    async def begin(self, *, writes: bool) -> None:
        """A transaction is about to begin."""

    async def locked(self) -> None:
        """A writer has the lock it waited for."""

    async def commit(self, *, writes: bool) -> None:
        """It is about to be committed."""

    async def committed(self, *, writes: bool) -> None:
        """It is committed; nobody was told yet."""

    def ended(self) -> None:
        """The transaction is over, however it ended."""


OPEN = Doors()
