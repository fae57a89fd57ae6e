"""``/Users``: what an identity provider says of people (S-R11–S-R34).

Prohibition: a person here is a source's entry; no identity, Team or seat is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from connector.scim import patching, resources, shaping
from connector.scim.answering import Asked
from connector.scim.bending import Bending
from connector.scim.keeping import Done, Keeping
from connector.scim.resources import Document
from connector.scim.schemas import USER
from ledger.store import inbox
from ledger.store.book import Reader
from ledger.store.inbox import Resource


class People(Keeping):
    """The routes of ``/Users``."""

    kind = USER
    related_name = "groups"

    async def related(self, reader: Reader, asked: Asked, found: Sequence[Resource]) -> Mapping[str, Any]:
        """Id → ``groups``, those that a person is in directly (S-R21)."""
        connection = asked.pushing.connection_id
        inside = await inbox.groups_of(reader, connection, [one.id for one in found])
        groups = await inbox.some(reader, connection, inbox.GROUP, {one for ids in inside.values() for one in ids})
        names = {one.id: str(one.document["displayName"]) for one in groups}
        return {
            person: shaping.groups_shown([(one, names[one]) for one in ids if one in names], self.base)
            for person, ids in inside.items()
        }

    async def create(self, asked: Asked) -> web.Response:
        """POST: who is not said to be inactive is active."""
        wanted, bending = self.wanted(asked), asked.bending()
        body = await asked.body()
        document = resources.person_of(body, bending)
        document.setdefault("active", True)
        self._note_secret(body, bending)
        async with self.inbox.write(asked.pushing.organization, at=asked.at) as book:
            await self.require_free(book, asked, document)
            new = await self.kept(book, asked, document)
            change = shaping.difference({}, document)
            await self.noted(book, asked, Done("create", new.id, change, bending.reasons))
            [shown] = await self.shown(book, asked, [new], wanted)
        await self.told(asked)
        return self.answer_for(new, shown, created=True)

    async def replace(self, asked: Asked) -> web.Response:
        """PUT: what is not named is cleared, only ``active`` stays as it was (S-R19)."""
        body = await asked.body()

        def whole(old: Resource, bending: Bending) -> Document:
            self._note_secret(body, bending)
            if (given := body.get("id")) not in (None, old.id):
                bending.bend(
                    "another id than that of the address is not looked at", "mutability", where=str(given)[:80]
                )
            document = resources.person_of(body, bending)
            if "active" not in document and "active" in old.document:
                document["active"] = old.document["active"]
            return document

        return await self._change(asked, "replace", whole)

    async def patch(self, asked: Asked) -> web.Response:
        """PATCH: all of its operations or none."""
        body = await asked.body()

        def part(old: Resource, bending: Bending) -> Document:
            return patching.patched(old.document, patching.operations(body, bending), USER, old.id, bending)

        return await self._change(asked, "patch", part)

    async def _change(self, asked: Asked, verb: str, become: Callable[[Resource, Bending], Document]) -> web.Response:
        wanted, bending = self.wanted(asked), asked.bending()
        async with self.inbox.write(asked.pushing.organization, at=asked.at) as book:
            old = await self.found(book, asked)
            self.require_match(asked, old)
            document = become(old, bending)
            change = shaping.difference(old.document, document)
            new = old
            if change:
                await self.require_free(book, asked, document, old.id)
                new = await self.kept(book, asked, document, old.id)
            await self.noted(book, asked, Done(verb, old.id, change, bending.reasons))
            [shown] = await self.shown(book, asked, [new], wanted)
        if change:
            await self.told(asked)
        return self.answer_for(new, shown)

    @staticmethod
    def _note_secret(body: Mapping[str, Any], bending: Bending) -> None:
        if any(key.lower() == "password" for key in body):
            bending.note("password is never kept")
