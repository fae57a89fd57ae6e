"""Puts into an inbox what an identity provider would have pushed, straight through the store."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.identity import fold
from ledger.store import inbox
from ledger.store.book import Book
from ledger.store.inbox import Inbox
from ledger.store.tables import inbox as tables
from tests.parts.scim_server import ENTERPRISE, ScimServer

AT = datetime(2026, 2, 1, tzinfo=UTC)


async def push_everybody(store: Inbox, organization: str, connection: str, company: ScimServer) -> None:
    """Every user and group of a provider, with members as rows."""
    async with store.write(organization, at=AT) as book:
        for anchor, user in company.users.items():
            await inbox.put(book, connection, inbox.USER, anchor, external_id="", key=fold(user["userName"]),
                            document=user)  # fmt: skip
        for anchor, group in company.groups.items():
            document = {name: value for name, value in group.items() if name != "members"}
            await inbox.put(book, connection, inbox.GROUP, anchor, external_id="", key=fold(group["displayName"]),
                            document=document)  # fmt: skip
            members = [member["value"] for member in group.get("members", ())]
            await inbox.add_members(book, connection, anchor, members)


class Provider:
    """An identity provider that has pushed people and groups to one connection of an inbox."""

    def __init__(self, store: Inbox, organization: str, connection: str) -> None:
        self.store = store
        self.organization = organization
        self.connection = connection
        self.at = AT

    async def hire(self, *names: str, group: str = "", number: str = "", mail: str = "") -> None:
        """New people, ``anchor`` u-NAME (u2-NAME when one of that id was deleted), in a group; ``mail``: where it
        is not their user name."""
        async with self.store.write(self.organization, at=self.at) as book:
            gone = await inbox.deleted(book, self.connection, inbox.USER)
            ids = [f"u2-{name}" if f"u-{name}" in gone else f"u-{name}" for name in names]
            for name, anchor in zip(names, ids, strict=True):
                await self._put(book, anchor, name, active=True, number=number, mail=mail)
            if group:
                if await inbox.get(book, self.connection, inbox.GROUP, f"g-{group}") is None:
                    await inbox.put(book, self.connection, inbox.GROUP, f"g-{group}", external_id="", key=fold(group),
                                    document={"displayName": group})  # fmt: skip
                await inbox.add_members(book, self.connection, f"g-{group}", ids)

    async def deactivate(self, *names: str) -> None:
        """``active = false``."""
        async with self.store.write(self.organization, at=self.at) as book:
            for name in names:
                await self._put(book, f"u-{name}", name, active=False)

    async def activate(self, *names: str) -> None:
        """``active = true``."""
        async with self.store.write(self.organization, at=self.at) as book:
            for name in names:
                await self._put(book, f"u-{name}", name, active=True)

    async def delete(self, *names: str) -> None:
        """A DELETE of each."""
        async with self.store.write(self.organization, at=self.at) as book:
            for name in names:
                found = await inbox.get(book, self.connection, inbox.USER, f"u-{name}")
                assert found is not None
                await inbox.remove(book, found)

    async def empty(self, group: str) -> None:
        """A PUT of the group with no members."""
        async with self.store.write(self.organization, at=self.at) as book:
            there = await inbox.members(book, self.connection, [f"g-{group}"])
            await inbox.remove_members(book, self.connection, f"g-{group}", there.get(f"g-{group}", ()))

    async def leave(self, group: str, *names: str) -> None:
        """A PATCH that removes these members."""
        async with self.store.write(self.organization, at=self.at) as book:
            await inbox.remove_members(book, self.connection, f"g-{group}", [f"u-{name}" for name in names])

    async def lose(self, *names: str) -> None:
        """Not the provider's doing: rows that are gone without a deletion, as after a restored backup."""
        async with self.store.write(self.organization, at=self.at) as book:
            for table, column in ((tables.inbox_resource, "id"), (tables.inbox_member, "member_id")):
                await book.delete(table, table.c[column].in_([f"u-{name}" for name in names]))

    async def shown(self) -> dict[str, bool]:
        """Who is in the view now, and whether they are active."""
        async with self.store.read(self.organization) as reader:
            found = await inbox.documents(reader, self.connection, inbox.USER)
        return {document["userName"].partition("@")[0]: document["active"] for _, document in found}

    async def _put(self, book: Book, anchor: str, name: str, *, active: bool, number: str = "", mail: str = "") -> None:
        login = f"{name}@acme.example"
        document = {"userName": login, "displayName": name.title(), "active": active,
                    "emails": [{"value": mail or login, "primary": True}]}  # fmt: skip
        if number:
            document[ENTERPRISE] = {"employeeNumber": number}
        await inbox.put(book, self.connection, inbox.USER, anchor, external_id="", key=login, document=document)
