"""A random history of a stage at slapd, made of what can happen to people and groups, valid step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

from tests.parts.situations import GROUPS, PEOPLE
from tests.parts.staged_tree import Server

STAYS = "cy"
"""Nothing happens to this one, so that the Team never goes to zero."""


class History:
    """``told``: what happened so far, in words."""

    def __init__(self, stage: Server, seed: int) -> None:
        self._stage = stage
        self._random = Random(seed)
        self._here = [name for name in PEOPLE if name != STAYS]
        self._groups = ["inner", "second"]
        self._hidden: dict[str, bool] = {}
        self._left: list[str] = []
        self._new = 0
        self.told: list[str] = []

    async def step(self) -> None:
        """Mostly one thing, now and then two or none."""
        for _ in range(self._random.choice((0, 0, 1, 1, 1, 1, 2))):
            act = self._random.choice(self._possible())
            self.told.append("")
            await act()
        self.told.append("--")

    def _possible(self) -> list[Callable[[], Awaitable[None]]]:
        found = [self._alias, self._add]
        found += [self._rename, self._away, self._away, self._hide, self._take, self._disable] if self._here else []
        found += [self._rename_group, self._hide_group, self._delete_group] if self._groups else []
        return found + ([self._show] * 4 if self._hidden else [])

    def _say(self, verb: str, name: str, **how: bool) -> None:
        self.told[-1] = f"{verb} {name} {' '.join(key for key, value in how.items() if value)}".strip()

    async def _rename(self) -> None:
        name, told = self._random.choice(self._here), self._random.random() < 0.5
        self._say("rename", name, told=told)
        await self._stage.rename(name, told=told)

    async def _away(self) -> None:
        """For good: moved out, out of the filter, or deleted."""
        name, told = self._here.pop(self._random.randrange(len(self._here))), self._random.random() < 0.6
        verb = self._random.choice(("move_out", "leave_filter", "delete", "delete"))
        self._say(verb, name, told=told)
        if verb == "leave_filter":
            await self._stage.leave_filter(name)
            if told:
                await self._stage.take(name, "design")
        else:
            await getattr(self._stage, verb)(name, told=told)

    async def _hide(self) -> None:
        name = self._here.pop(self._random.randrange(len(self._here)))
        await self._out_of_sight(name)
        if self._random.random() < 0.4:
            await self._stage.take(name, "design")
            self.told[-1] += ", and taken out of design"

    async def _hide_group(self) -> None:
        await self._out_of_sight(self._groups.pop(self._random.randrange(len(self._groups))))

    async def _out_of_sight(self, name: str) -> None:
        silently = self._stage.silently = self._random.random() < 0.5
        self._say("hide", name, silently=silently)
        self._hidden[name] = silently
        await self._stage.hide(name)

    async def _show(self) -> None:
        name = self._random.choice(sorted(self._hidden))
        self._stage.silently = self._hidden.pop(name)
        self._say("show", name, silently=self._stage.silently)
        (self._groups if name in GROUPS else self._here).append(name)
        await self._stage.show(name)

    async def _take(self) -> None:
        name, group = self._random.choice(self._here), self._random.choice(["design", *self._groups])
        self._say(f"take from {group}", name)
        await self._stage.take(name, group)

    async def _disable(self) -> None:
        name = self._random.choice(self._here)
        spoiled = self._random.random() < 0.3
        self._say("disable", name, spoiled=spoiled)
        await self._stage.disable(name)
        if spoiled:
            await self._stage.spoil_mail(name)

    async def _rename_group(self) -> None:
        name, told = self._random.choice(self._groups), self._random.random() < 0.5
        self._say("rename group", name, told=told)
        await self._stage.rename_group(name, told=told)

    async def _delete_group(self) -> None:
        name, told = self._groups.pop(self._random.randrange(len(self._groups))), self._random.random() < 0.5
        self._say("delete group", name, told=told)
        await self._stage.delete(name, told=told)

    async def _alias(self) -> None:
        self._say("alias", STAYS)
        await self._stage.alias(STAYS, f"a{len(self.told)}@acme.example")

    async def _add(self) -> None:
        """Somebody new: with the address of another one, or where another one was."""
        self._new += 1
        name, of = f"new{self._new}", self._random.choice(PEOPLE)
        free = self._stage.is_free(of)
        self._say("add", name, free=free)
        self.told[-1] += f" like {of}"
        await (self._stage.add(name, place=of) if free else self._stage.add(name, mail=of))
