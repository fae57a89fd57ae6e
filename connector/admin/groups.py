"""``/admin/v1/groups``: directory groups that mappings keep, and who is in them (P2). Routes only: no rules, no edits.

They concern everybody, so a credential that is bound to Teams is refused.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from access.principal import Scope
from connector.admin import shown
from connector.admin.answering import Answering, Paged, answer, asked, cursor_of, paged, place_of
from connector.admin.describing import Route
from ledger.errors import NotFound
from ledger.store import kept_groups


class Groups(Answering):
    """One method per route."""

    def routes(self) -> list[Route]:
        """The table."""
        read = Scope.PEOPLE_READ
        members = "/groups/{id}/members"
        return [
            Route("GET", "/groups", "Directory groups that are kept, and their sizes", self.list, read, asked=Paged),
            Route("GET", members, "Who is in a kept group, and why", self.members, read, asked=Paged),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """A page of groups, in the order in which they were first kept."""
        who = await self.may_see_all(request, Scope.PEOPLE_READ)
        wanted = asked(request, Paged)
        after = place_of(wanted.cursor, str)
        async with self.ledger.read(who.organization) as reader:
            rows = await kept_groups.groups_page(reader, after[0] if after else "", wanted.limit + 1)
        return answer(paged("groups", rows, wanted.limit, lambda row: cursor_of(row.id), shown.group))

    async def members(self, request: web.Request) -> web.Response:
        """A page of members, by mail address."""
        who = await self.may_see_all(request, Scope.PEOPLE_READ)
        wanted = asked(request, Paged)
        after = place_of(wanted.cursor, str, str)
        group_id = request.match_info["id"]
        async with self.ledger.read(who.organization) as reader:
            group = await kept_groups.group(reader, group_id)
            if group is None:
                raise NotFound(
                    f"there is no kept group {group_id!r}", where="id", next_step="GET /admin/v1/groups lists them"
                )
            rows = await kept_groups.members_page(reader, group_id, after, wanted.limit + 1)

        def show(row: Any) -> dict[str, Any]:
            found = {key: getattr(row, key) for key in ("id", "mail", "display_name", "state")}
            return {**found, **shown.reason(row)}

        page = paged("members", rows, wanted.limit, lambda row: cursor_of(row.mail_key, row.id), show)
        return answer({"group": {"id": group.id, "name": group.name}, **page})
