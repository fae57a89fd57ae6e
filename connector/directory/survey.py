"""A first look at a directory that is being set up: does it let us in, where are its people, which groups has it.

Pure: values only, no I/O here. A survey proves nothing: a reading does that.
"""

from __future__ import annotations

from dataclasses import dataclass

from connector.directory.base import CheckLine

MOST_GROUPS = 500
"""No further page of groups is asked for once there are more."""


@dataclass(frozen=True, slots=True)
class Places:
    """What a server says of itself before any base is known: its ``contexts`` (naming contexts, the likeliest first),
    and the DNs under the first that look like the place of its people and of its groups; empty where none does."""

    contexts: tuple[str, ...] = ()
    people: str = ""
    groups: str = ""


@dataclass(frozen=True, slots=True)
class SurveyedGroup:
    """``reference`` is what a mapping says to mean it. ``members``: how many it lists itself, people or groups; None
    where it does not show them; ``more``: and more than those."""

    reference: str
    name: str
    members: int | None
    more: bool = False

    @property
    def size(self) -> str:
        """How many members, in words."""
        if self.members is None:
            return "members not shown"
        return f"{self.members}{'+' if self.more else ''} member{'' if self.members == 1 and not self.more else 's'}"


@dataclass(frozen=True, slots=True)
class Survey:
    """``lines`` say what was found, in the words of ``rosterd check --live``. ``groups`` by name; ``cut``: it has more
    groups than these."""

    lines: tuple[CheckLine, ...]
    groups: tuple[SurveyedGroup, ...] = ()
    cut: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return all(line.ok for line in self.lines)


def by_name(groups: list[SurveyedGroup]) -> tuple[SurveyedGroup, ...]:
    """Groups in the order in which they are shown."""
    return tuple(sorted(groups, key=lambda group: (group.name.casefold(), group.reference)))
