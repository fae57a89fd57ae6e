"""What people and groups have in common: reading one, listing, deleting, ETags, and writing down each push.

Prohibition: what a body means is said by the pure files; here it is only kept, in one transaction each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from access import entity_tags
from connector.scim import long_lists, resources, shaping
from connector.scim.answering import Answering, Asked, answer
from connector.scim.discovery import listed as list_response
from connector.scim.errors import Changed, Taken
from connector.scim.querying import search
from connector.scim.resources import Document
from connector.scim.schemas import Kind
from connector.scim.shaping import Wanted
from ledger.errors import NotFound
from ledger.instant import new_id
from ledger.store import inbox
from ledger.store.book import Book, Reader
from ledger.store.inbox import Resource, Write

MANY = 2000
"""Members that are not shaped on the loop."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a push did: create, replace, patch or delete; attribute → [before, after]; why it was bent."""

    verb: str
    resource_id: str
    change: Mapping[str, Any]
    bent: Sequence[str] = ()


class Keeping(Answering):
    """Base of the routes of one kind of resource."""

    kind: ClassVar[Kind]

    async def related(self, reader: Reader, asked: Asked, found: Sequence[Resource]) -> Mapping[str, Any]:
        """Id → what is shown beside the document: ``groups`` of people, ``members`` of groups."""
        raise NotImplementedError

    related_name: ClassVar[str]

    def routes(self) -> list[web.RouteDef]:
        """With and without a slash at the end (S-R3)."""
        path = self.kind.path
        found: list[web.RouteDef] = []
        for end in ("", "/"):
            one = f"{path}/{{id}}{end}"
            found += [
                web.get(path + end, self.opened(self.find)),
                web.post(path + end, self.opened(self.create)),
                web.get(one, self.opened(self.get)),
                web.put(one, self.opened(self.replace)),
                web.patch(one, self.opened(self.patch)),
                web.delete(one, self.opened(self.delete)),
            ]
        return found

    async def create(self, asked: Asked) -> web.Response:
        """POST."""
        raise NotImplementedError

    async def replace(self, asked: Asked) -> web.Response:
        """PUT."""
        raise NotImplementedError

    async def patch(self, asked: Asked) -> web.Response:
        """PATCH."""
        raise NotImplementedError

    async def get(self, asked: Asked) -> web.Response:
        """One resource; 304 when the client has this version."""
        wanted = self.wanted(asked)
        async with self.inbox.read(asked.pushing.organization) as reader:
            found = await self.found(reader, asked)
            if (known := asked.header("If-None-Match")) and entity_tags.names(known, shaping.etag(found)):
                return answer(None, status=304, headers={"ETag": shaping.etag(found)})
            [document] = await self.shown(reader, asked, [found], wanted)
        return answer(document, headers={"ETag": shaping.etag(found)})

    async def find(self, asked: Asked) -> web.Response:
        """A ListResponse; nothing found is no error (S-R47)."""
        wanted = self.wanted(asked)
        async with self.inbox.read(asked.pushing.organization) as reader:
            page = await search(reader, asked, self.kind)
            documents = await self.shown(reader, asked, page.resources, wanted)
        return answer(list_response(documents, page.total, page.start))

    async def delete(self, asked: Asked) -> web.Response:
        """For good: the id is never given again, the name may be (S-R20). Groups lose it as a member."""
        connection = asked.pushing.connection_id
        async with self.inbox.write(asked.pushing.organization, at=asked.at) as book:
            found = await self.found(book, asked)
            self.require_match(asked, found)
            left = (await inbox.groups_of(book, connection, [found.id])).get(found.id, [])
            await inbox.remove(book, found)
            await inbox.touch(book, connection, inbox.GROUP, left)
            await self.noted(book, asked, Done("delete", found.id, shaping.difference(found.document, {})))
        await self.told(asked)
        return answer(None, status=204)

    async def found(self, reader: Reader, asked: Asked) -> Resource:
        """The resource of the address; raises ``NotFound``."""
        one = await inbox.get(reader, asked.pushing.connection_id, self.kind.name, asked.id)
        if one is None:
            raise NotFound(f"there is no {self.kind.name} with this id")
        return one

    def require_match(self, asked: Asked, found: Resource) -> None:
        """Raise ``Changed`` when ``If-Match`` names another version."""
        if (given := asked.header("If-Match")) and not entity_tags.names(given, shaping.etag(found)):
            raise Changed(f"the version is {shaping.etag(found)}", next_step="read it again")

    async def require_free(self, reader: Reader, asked: Asked, document: Document, own_id: str = "") -> None:
        """Raise ``Taken`` when another resource has this name, compared without case (S-R12)."""
        key = resources.key_of(document, self.kind)
        others = await inbox.find(reader, asked.pushing.connection_id, self.kind.name, key=key)
        if any(one.id != own_id for one in others):
            raise Taken(f"another {self.kind.name} has this {self.kind.named}", where=self.kind.named)

    async def kept(self, book: Book, asked: Asked, document: Document, resource_id: str = "") -> Resource:
        """The document as the next version of the resource; a new one without an id."""
        return await inbox.put(
            book,
            asked.pushing.connection_id,
            self.kind.name,
            resource_id or new_id(),
            external_id=document.get("externalId", ""),
            key=resources.key_of(document, self.kind),
            document=document,
        )

    async def noted(self, book: Book, asked: Asked, done: Done) -> None:
        """Write the push down, unless it neither changed nor bent anything (S-R57)."""
        if done.change or done.bent:
            who = asked.pushing
            facts = (who.connection_id, who.actor, asked.request_id, done.verb, self.kind.name, done.resource_id)
            await inbox.note(book, Write(*facts, done.change, done.bent))

    def wanted(self, asked: Asked) -> Wanted:
        """Which attributes the answer has; raises ``Fault``."""
        return shaping.wanted(asked.parameter("attributes"), asked.parameter("excludedAttributes"), self.kind)

    async def shown(
        self, reader: Reader, asked: Asked, found: Sequence[Resource], wanted: Wanted
    ) -> list[dict[str, Any]]:
        """Resources as they are answered; their members or groups are read only when they are shown (S-R43)."""
        name = self.related_name
        related = await self.related(reader, asked, found) if found and wanted.has(name) else {}
        documents = []
        for one in found:
            more = {name: related[one.id]} if one.id in related else {}
            document = wanted.of(shaping.shown(one, self.kind, self.base, more))
            if len(listed := document.get(name, ())) > MANY:
                document[name] = await asyncio.to_thread(long_lists.encoded, listed)
            documents.append(document)
        return documents

    def answer_for(self, resource: Resource, document: dict[str, Any], *, created: bool = False) -> web.Response:
        """200, or 201 with the address."""
        headers = {"ETag": shaping.etag(resource)}
        if created:
            headers["Location"] = shaping.location(resource, self.base)
        return answer(document, status=201 if created else 200, headers=headers)
