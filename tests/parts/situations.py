"""What can happen to a person or a group in a directory, and what each proves (E0–E7): one table for every reader.

A ``Stage`` is a directory that the test changes, read by one reader. Every reader plays every situation its directory
can be in; the outcome is the same for all of them, but where ``proved`` says that a reader proves more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

OFF = {"DisableIdentity": 1, "PauseSeat": 1}
"""Somebody leaves: the stages of later dates do not come here."""
LEFT = {"LeaveTeam": 1, "ReleaseSeat": 1}
"""Somebody who is still here is no longer in the Team."""
JOINED = {"Invite": 1, "JoinTeam": 1, "AssignSeat": 1}
"""Somebody new comes to the Team."""
NOTHING: dict[str, int] = {}
HELD = "held"


PEOPLE = ("anna", "bo", "cy", "di", "ed")
GROUPS = {"second": ("ed",), "inner": ("di", "ed"), "design": ("anna", "bo", "cy", "inner", "second")}
"""What each lists, members before who lists them; ``design`` is mapped."""


class Stage(Protocol):
    """A directory with ``PEOPLE``, whose addresses are ``NAME@acme.example``, and ``GROUPS``. ``told``: groups are
    changed with what they list, as refint does."""

    can: frozenset[str]
    """Names of situations that this directory can be in."""

    async def rename(self, name: str, *, told: bool) -> None:
        """Another DN and login name of the same entry; name and mail stay."""

    async def move_out(self, name: str, *, told: bool) -> None:
        """The entry leaves the base; nobody who reads looks there, but may."""

    async def leave_filter(self, name: str) -> None:
        """The entry stays where it is, enabled, and matches the people filter no longer."""

    async def hide(self, *names: str) -> None:
        """The reader may not see these people or groups any more; groups still list them."""

    async def show(self, *names: str) -> None:
        """The reader sees them again."""

    async def delete(self, name: str, *, told: bool) -> None:
        """A person or a group is gone."""

    async def disable(self, name: str) -> None:
        """By the flag that this reader believes."""

    async def take(self, name: str, group: str) -> None:
        """Out of the group by name."""

    async def rename_group(self, name: str, *, told: bool) -> None:
        """Another DN of the same group."""

    async def spoil_mail(self, name: str) -> None:
        """The mail is no address any more."""

    async def add(self, name: str, *, mail: str = "", place: str = "") -> None:
        """Somebody new, enabled; ``mail``: of whom; ``place``: the DN and login name that this one had at first."""

    async def alias(self, name: str, mail: str) -> None:
        """One more address, first by the alphabet."""


Act = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Situation:
    """``acts``: what happens before each run; ``outcomes``: what each run changes, of anybody, the last one for good.
    ``who``: whom alone it changes anything for. ``said``: part of what a run says. ``proved``: the outcomes
    where the source proves deletions by itself."""

    name: str
    acts: Sequence[Act | None]
    outcomes: Sequence[dict[str, int] | str]
    said: str = ""
    who: tuple[str, ...] = ("anna",)
    proved: Sequence[dict[str, int] | str] = field(default=())


def _act(what: Callable[[Stage], Awaitable[None]]) -> Act:
    return what


async def _reused(stage: Stage) -> None:
    await stage.rename("anna", told=False)
    await stage.add("fay", place="anna")


async def _spoiled_leaver(stage: Stage) -> None:
    await stage.spoil_mail("anna")
    await stage.disable("anna")


async def _one_path_hidden(stage: Stage) -> None:
    await stage.take("ed", "second")
    await stage.hide("inner")


async def _beside_the_filter(stage: Stage) -> None:
    await stage.leave_filter("anna")
    await stage.disable("anna")


async def _recreated(stage: Stage) -> None:
    await stage.delete("anna", told=True)
    await stage.add("anne", mail="anna")


KEPT = (NOTHING, NOTHING, NOTHING)
SITUATIONS = (
    Situation("renamed, group stale", [_act(lambda s: s.rename("anna", told=False))], KEPT, "still lists"),
    Situation("renamed, group told", [_act(lambda s: s.rename("anna", told=True))], KEPT),
    Situation("moved out, group told", [_act(lambda s: s.move_out("anna", told=True))], (NOTHING, OFF, NOTHING)),
    Situation("moved out, group stale", [_act(lambda s: s.move_out("anna", told=False))], KEPT, "still lists"),
    Situation("left the filter", [_act(lambda s: s.leave_filter("anna"))], (NOTHING, OFF, NOTHING)),
    Situation("disabled and left the filter", [_beside_the_filter], (OFF, NOTHING, NOTHING)),
    Situation("hidden", [_act(lambda s: s.hide("anna"))], KEPT, "still lists"),
    Situation("hidden and shown", [_act(lambda s: s.hide("anna")), _act(lambda s: s.show("anna"))], KEPT),
    Situation("deleted, group told", [_act(lambda s: s.delete("anna", told=True))], (NOTHING, OFF, NOTHING),
              proved=(OFF, NOTHING, NOTHING)),
    Situation("deleted, group stale", [_act(lambda s: s.delete("anna", told=False))], KEPT, "still lists",
              proved=(OFF, NOTHING, NOTHING)),
    Situation("disabled, then deleted",
              [_act(lambda s: s.disable("anna")), _act(lambda s: s.delete("anna", told=False))],
              (OFF, NOTHING, NOTHING)),
    Situation("disabled with a spoiled mail", [_spoiled_leaver], (OFF, NOTHING, NOTHING)),
    Situation("inner group hidden", [_act(lambda s: s.hide("inner"))], KEPT, "still lists"),
    Situation("inner group renamed, outer stale", [_act(lambda s: s.rename_group("inner", told=False))], KEPT,
              "still lists"),
    Situation("inner group renamed, outer told", [_act(lambda s: s.rename_group("inner", told=True))], KEPT),
    Situation("inner group deleted, outer told", [_act(lambda s: s.delete("inner", told=True))],
              (NOTHING, LEFT, NOTHING), who=("di",)),
    Situation("taken out of the inner group", [_act(lambda s: s.take("di", "inner"))], (NOTHING, LEFT, NOTHING),
              who=("di",)),
    Situation("taken out of one of two", [_act(lambda s: s.take("ed", "second"))], KEPT),
    Situation("one path hidden, the other ended", [_one_path_hidden], KEPT, "still lists"),
    Situation("taken out of the group", [_act(lambda s: s.take("bo", "design"))], (NOTHING, LEFT, NOTHING),
              who=("bo",)),
    Situation("name reused by another", [_reused], (JOINED, LEFT, NOTHING), who=("anna", "fay")),
    Situation("alias that sorts first", [_act(lambda s: s.alias("anna", "aaa@acme.example"))], KEPT),
    Situation("twin with the address", [_act(lambda s: s.add("twin", mail="anna"))], KEPT, "none is touched"),
    Situation("made anew under the address", [_recreated], (HELD, HELD, HELD), "rosterd relink",
              proved=(OFF, HELD, HELD)),
)  # fmt: skip
