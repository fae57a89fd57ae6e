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

from connector.scim import membership, patching, resources, shaping
from connector.scim.answering import Asked, answer, log
from connector.scim.bending import Bending
from connector.scim.keeping import Done, Keeping
from connector.scim.membership import Change, Deed, Step
from connector.scim.resources import Document
from connector.scim.schemas import GROUP
from ledger.identity import fold
from ledger.store import inbox
from ledger.store.book import Book, Reader
from ledger.store.inbox import Resource

_NAMED = 20
_MANY = 2000
"""Members that are not shaped on the loop."""
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

        many = sum(len(members) for members in inside.values()) > _MANY
        return await asyncio.to_thread(shape) if many else shape()

    async def create(self, asked: Asked) -> web.Response:
        """POST, with or without members."""
        wanted, bending = self.wanted(asked), asked.bending()
        document, members = resources.group_of(await asked.body(), bending)
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
        document, members = resources.group_of(await asked.body(), bending)
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
        own, steps = membership.told_apart(patching.operations(await asked.body(), bending), bending)
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
        wanted = {one for step in steps if step.deed is not Deed.REMOVE for one in step.ids}
        known = await inbox.kinds(book, connection, wanted)
        if known.pop(group_id, ""):
            bending.bend("a group is no member of itself", "invalidValue", where="members")
            wanted.discard(group_id)
        changed.unknown |= wanted - known.keys()
        if changed.unknown:
            bending.bend(f"{len(changed.unknown)} unknown: {_some(changed.unknown)}", "invalidValue", where="members")
        for step in steps:
            ids = [one for one in step.ids if step.deed is Deed.REMOVE or one in known]
            if step.deed is Deed.REPLACE:
                there = frozenset((await inbox.members(book, connection, [group_id])).get(group_id, ()))
                gone = await inbox.remove_members(book, connection, group_id, there - set(ids))
                changed.went(gone)
                if len(gone) >= _LEAST and len(gone) >= _SHARE * len(there):
                    changed.shrunk += len(gone)
                    bending.note(f"members: a whole list took {len(gone)} of {len(there)}")
            if step.deed is Deed.REMOVE:
                kinds = await inbox.kinds(book, connection, step.kinds)
                shown = {one: fold(kinds.get(one, inbox.USER)) for one in step.kinds}
                ids = [one for one in ids if shown.get(one) == step.kinds.get(one)]
                changed.went(await inbox.remove_members(book, connection, group_id, ids))
            else:
                changed.came(await inbox.add_members(book, connection, group_id, ids))
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
