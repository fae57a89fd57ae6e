"""``/Groups``: what an identity provider says of groups and who is in them (S-R35–S-R42).

Prohibition: a list of members is never read to be written back. Each push states what it adds and what it removes, and
the writers of one organization queue, so that none of them undoes another's (S-R39).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from access.bodies import TooLarge
from connector.scim import membership, patching, resources, shaping
from connector.scim.answering import Asked, answer, log
from connector.scim.bending import Bending
from connector.scim.keeping import MANY, Done, Keeping
from connector.scim.membership import Change, Deed, Step
from connector.scim.resources import Document
from connector.scim.schemas import GROUP
from ledger.identity import fold
from ledger.store import inbox
from ledger.store.book import Book, Reader
from ledger.store.inbox import Resource

_NAMED = 20
_MOST_OWN = 1000
"""Operations of one PATCH on a group itself; any number may be on its members, which are done at once."""
_LEAST, _SHARE = 5, 0.2
"""A whole list that takes at least so many members, and at least this share of them, is told as an alert (S-R41)."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a group is to become."""

    verb: str
    old: Resource
    document: Document
    steps: Sequence[Step]
    bending: Bending


class Groups(Keeping):
    """The routes of ``/Groups``."""

    kind = GROUP
    related_name = "members"

    async def related(self, reader: Reader, asked: Asked, found: Sequence[Resource]) -> Mapping[str, Any]:
        """Id → ``members``."""
        inside = await inbox.members_with_kinds(reader, asked.pushing.connection_id, [one.id for one in found])

        def shape() -> dict[str, Any]:
            return {group: shaping.members_shown(members, self.base) for group, members in inside.items()}

        many = sum(len(members) for members in inside.values()) > MANY
        return await asyncio.to_thread(shape) if many else shape()

    async def create(self, asked: Asked) -> web.Response:
        """POST, with or without members."""
        wanted, bending = self.wanted(asked), asked.bending()
        document, members = await self.read(asked, lambda body: resources.group_of(body, bending))
        async with self.inbox.write(asked.pushing.organization, at=asked.at) as book:
            await self._require_one_name(book, asked, document)
            new = await self.kept(book, asked, document)
            changed = await self._apply(book, asked, new.id, [Step(Deed.ADD, members or ())], bending)
            change = {**shaping.difference({}, document), **changed.to_json()}
            await self.noted(book, asked, Done("create", new.id, change, bending.reasons))
            [shown] = await self.shown(book, asked, [new], wanted)
        self._log(asked, new.id, changed)
        await self.told(asked)
        return self.answer_for(new, shown, created=True)

    async def replace(self, asked: Asked) -> web.Response:
        """PUT. A body without ``members`` leaves them (S-R38)."""
        wanted, bending = self.wanted(asked), asked.bending()
        document, members = await self.read(asked, lambda body: resources.group_of(body, bending))
        steps = [] if members is None else [Step(Deed.REPLACE, members)]
        async with self.inbox.write(asked.pushing.organization, at=asked.at) as book:
            old = await self._old(book, asked)
            new, changed = await self._change(book, asked, _Wish("replace", old, document, steps, bending))
            [shown] = await self.shown(book, asked, [new], wanted)
        await self._done(asked, old, new, changed)
        return self.answer_for(new, shown)

    async def patch(self, asked: Asked) -> web.Response:
        """PATCH; answered without a body unless attributes are asked for (S-R34)."""
        wanted, bending = self.wanted(asked), asked.bending()
        own, steps = await self.read(
            asked, lambda body: membership.told_apart(patching.operations(body, bending), bending)
        )
        if len(own) > _MOST_OWN:
            raise TooLarge(f"a group is changed by at most {_MOST_OWN} operations", next_step="send less at a time")
        shown: list[dict[str, Any]] = []
        async with self.inbox.write(asked.pushing.organization, at=asked.at) as book:
            old = await self._old(book, asked)
            document = patching.patched(old.document, own, GROUP, old.id, bending)
            new, changed = await self._change(book, asked, _Wish("patch", old, document, steps, bending))
            if asked.parameter("attributes"):
                shown = await self.shown(book, asked, [new], wanted)
        await self._done(asked, old, new, changed)
        if shown:
            return self.answer_for(new, shown[0])
        return answer(None, status=204, headers={"ETag": shaping.etag(new)})

    async def _old(self, book: Book, asked: Asked) -> Resource:
        found = await self.found(book, asked)
        self.require_match(asked, found)
        return found

    async def _change(self, book: Book, asked: Asked, wish: _Wish) -> tuple[Resource, Change]:
        """The group in its new version, only when something really changed."""
        old, document = wish.old, wish.document
        changed = await self._apply(book, asked, old.id, wish.steps, wish.bending)
        change = shaping.difference(old.document, document)
        new = old
        if "displayName" in change:
            await self._require_one_name(book, asked, document, old.id)
        if change or changed:
            new = await self.kept(book, asked, document, old.id)
        await self.noted(book, asked, Done(wish.verb, old.id, {**change, **changed.to_json()}, wish.bending.reasons))
        return new, changed

    async def _apply(self, book: Book, asked: Asked, group_id: str, steps: Sequence[Step], bending: Bending) -> Change:
        """Do the steps in order; ids that do not exist are left out (S-R40), a ``Fault`` when strict."""
        connection = asked.pushing.connection_id
        changed = Change.none()
        for step in steps:
            there: list[str] = []
            gone, fresh = [*step.ids], [*step.ids]
            if step.deed is Deed.REPLACE:
                there = (await inbox.members(book, connection, [group_id])).get(group_id, [])
                gone, fresh = await asyncio.to_thread(membership.compared, there, step.ids)
            elif step.deed is Deed.ADD:
                gone = []
            else:
                kinds = await inbox.kinds(book, connection, [one for one, _ in step.typed])
                gone += [one for one, kind in step.typed if fold(kinds.get(one, inbox.USER)) == kind]
                fresh = []
            went = await inbox.remove_members(book, connection, group_id, gone)
            changed.went(went)
            if there and len(went) >= max(_LEAST, _SHARE * len(there)):
                changed.shrunk += len(went)
                bending.note(f"members: a whole list took {len(went)} of {len(there)}")
            known = await inbox.kinds(book, connection, fresh)
            if known.pop(group_id, ""):
                bending.bend("a group is no member of itself", "invalidValue", where="members")
            unknown = {one for one in fresh if one not in known} - {group_id}
            if unknown:
                changed.unknown |= unknown
                bending.bend(f"{len(unknown)} unknown: {_some(unknown)}", "invalidValue", where="members")
            changed.came(await inbox.add_members(book, connection, group_id, [one for one in fresh if one in known]))
        return changed

    async def _require_one_name(self, book: Book, asked: Asked, document: Document, own_id: str = "") -> None:
        """A strict connection has one group of a name; others may have two, as directories do (S-R45)."""
        if asked.pushing.strict:
            await self.require_free(book, asked, document, own_id)

    async def _done(self, asked: Asked, old: Resource, new: Resource, changed: Change) -> None:
        self._log(asked, new.id, changed)
        if new is not old:
            await self.told(asked)

    def _log(self, asked: Asked, group_id: str, changed: Change) -> None:
        if changed.unknown:
            fields = {"group": group_id, "count": len(changed.unknown), "members": _some(changed.unknown)}
            log(logging.WARNING, "scim.members_unknown", asked, **fields)
        if changed.shrunk:
            log(logging.WARNING, "scim.members_shrunk", asked, group=group_id, count=changed.shrunk)


def _some(ids: Collection[str]) -> str:
    """Up to twenty of them, each shortened."""
    named = ", ".join(one[:80] for one in sorted(ids)[:_NAMED])
    return f"{named}, …" if len(ids) > _NAMED else named
