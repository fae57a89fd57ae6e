"""Puts into an inbox what an identity provider would have pushed, straight through the store."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.identity import fold
from ledger.store import inbox
from ledger.store.inbox import Inbox
from tests.parts.scim_server import ScimServer

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
