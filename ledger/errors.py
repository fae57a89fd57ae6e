"""The error tree. Every room adds leaves under the first fork; nothing else is raised across a wall.

::

    RosterdError                 what · where · next step · exit code
    ├── Retryable(after)         the same call may succeed later, unchanged
    │   └── Busy                 another writer or lease holder is in the way
    └── Final                    repeating the same call cannot help
        ├── BadInput             a file, a body, an argument is wrong (exit 2)
        │   └── ManyErrors       several of them, all named at once
        ├── NotFound             the thing named does not exist (for this asker)
        ├── Refused              understood and not done: a guard, the gate, a missing right (exit 3)
        │   └── Stale            what the caller saw is no longer true (digest, precondition)
        │       └── Overtaken    the writer's lease or attempt at a job is another's: it may be asked for again
        └── Unavailable          a source or part is unreachable or incomplete (exit 4)

Pure: no I/O here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar


class RosterdError(Exception):
    """Root of all our errors.

    ``what`` says what went wrong, ``where`` the file, key, server or row, ``next_step`` the exact next command or
    edit. All three are safe to show: no secret, no stack.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(self.__str__())

    @property
    def said(self) -> str:
        """Where and what, without the next step."""
        return f"{self.where}: {self.what}" if self.where else self.what

    def __str__(self) -> str:
        return f"{self.said}\n  → {self.next_step}" if self.next_step else self.said


class Retryable(RosterdError):
    """The same call may succeed after ``after``."""

    exit_code = 4

    def __init__(
        self, what: str, *, where: str = "", next_step: str = "", after: timedelta = timedelta(seconds=1)
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.after = after


class Busy(Retryable):
    """Another writer or lease holder is in the way."""


class Final(RosterdError):
    """Repeating the same call cannot help."""


class BadInput(Final):
    """A file, a body or an argument is wrong."""

    exit_code = 2


class ManyErrors(BadInput):
    """Several faults of one input, all of them at once, in the order of the input; one alone reads as itself."""

    def __init__(self, faults: Sequence[RosterdError], *, where: str = "", next_step: str = "") -> None:
        self.faults = tuple(faults)
        if len(self.faults) == 1:
            [only] = self.faults
            super().__init__(only.what, where=only.where or where, next_step=only.next_step or next_step)
            return
        lines = "\n".join(f"- {fault}" for fault in faults)
        super().__init__(f"{len(self.faults)} faults\n{lines}", where=where, next_step=next_step)


class NotFound(Final):
    """The thing named does not exist, or does not exist for this asker."""

    exit_code = 2


class Refused(Final):
    """Understood and not done: a guard, the gate, or a missing right. Nothing was changed."""

    exit_code = 3


class Stale(Refused):
    """What the caller saw is no longer true: a digest, a precondition, a fencing token."""


class Overtaken(Stale):
    """The lease or the attempt at a job that the writer acts by is another's: nothing was written; a job is redone."""


class Unavailable(Final):
    """A source or part is unreachable or incomplete; nothing was taken from anybody because of it."""

    exit_code = 4
