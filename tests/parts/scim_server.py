"""A SCIM 2.0 service provider over loopback, with the faults that real ones have.

Real HTTP, real paging. ``Behaviour`` says in what it departs from the standard; a test changes it while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.parts import company

TOKEN = "scim-reader-token"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


@dataclass
class Behaviour:
    """How it answers. ``hook`` is called with (resource kind, number of the list request) before each list answer and
    may change anything, also answer itself. Page numbers count list requests of that kind from 1."""

    shape: str = "index"
    """index · cursor · both · entra · aws · unpaged"""
    config: str = "full"
    """ServiceProviderConfig: full · none · incomplete · broken"""
    sort: bool = True
    most: int = 1000
    """Largest page."""
    total_text: bool = False
    """Numbers as text."""
    no_total: bool = False
    content_type: str = "application/scim+json"
    hide_members: bool = False
    user_groups: bool = False
    ignores_filters: bool = False
    filters: frozenset[str] = frozenset({"groups.value", "userName", "emails.value"})
    """Attributes of users it can be asked for; another one is refused."""
    lie: int = 0
    """Added to totalResults."""
    hidden: set[str] = field(default_factory=set)
    """Ids that are left out of pages and still counted."""
    unlisted: set[str] = field(default_factory=set)
    """Ids that lists leave out, as a filter does; asked for by id they are there."""
    shuffle: bool = False
    """Another order at each request."""
    page_numbers: bool = False
    """startIndex is rounded down to a multiple of count."""
    hook: Callable[[str, int], web.Response | None] = lambda _kind, _number: None


@dataclass
class ScimServer:
    """Users and groups by id; ``seen`` are the list requests as (kind, query)."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    behaviour: Behaviour = field(default_factory=Behaviour)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    requests: int = 0

    def application(self) -> web.Application:
        """All of it under /scim/v2."""
        app = web.Application()
        app.router.add_get("/scim/v2/ServiceProviderConfig", self._config)
        app.router.add_get("/scim/v2/{kind:Users|users|Groups|groups}", self._list)
        app.router.add_get("/scim/v2/{kind:Users|users}/{id}", self._one)
        return app

    async def _config(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        way = self.behaviour
        if way.config == "none":
            return error(404, "no such page")
        if way.config == "broken":
            return error(500, "not built yet")
        if way.config == "incomplete":
            return answer({"bulk": {"supported": False}})
        cursor = way.shape in {"cursor", "both", "entra", "aws"}
        pagination = {"cursor": cursor, "index": way.shape in {"index", "both"}, "maxPageSize": way.most}
        return answer({"sort": {"supported": way.sort}, "filter": {"supported": True}, "pagination": pagination})

    def _refused(self, request: web.Request) -> web.Response | None:
        self.requests += 1
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return error(401, "the token is not valid")
        return None

    async def _one(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        found = self.users.get(request.match_info["id"])
        return answer(found) if found else error(404, "no such user")

    async def _list(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        kind = request.match_info["kind"]
        if (self.behaviour.shape == "entra") != kind.islower():
            return error(404, "paths have a case")
        kind = kind.capitalize()
        query = dict(request.query)
        self.seen.append((kind, query))
        said = self.behaviour.hook(kind, sum(item[0] == kind for item in self.seen))
        return said or self._page(kind, query)

    def _page(self, kind: str, query: dict[str, str]) -> web.Response:
        way = self.behaviour
        rows = self._rows(kind, query)
        if rows is None:
            return error(400, "the filter is not supported", "invalidFilter")
        cursors = way.shape in {"entra", "aws", "cursor"} or (way.shape == "both" and "cursor" in query)
        if "cursor" in query and way.shape == "index" and way.config == "full":
            return error(400, "cursor is no parameter of ours", "invalidSyntax")
        count = int(query.get("count", "100"))
        if count == 0 and way.shape in {"entra", "aws"}:
            return error(400, "count=0")
        if way.shape == "aws" and count > 100:
            return error(400, "count is at most 100")
        count = min(count, way.most)
        start = int(query.get("startIndex", "1")) - 1
        if cursors and query.get("cursor"):
            try:
                start = int(query["cursor"].removeprefix("c"))
            except ValueError:
                return error(400, "no such cursor", "invalidCursor")
        if way.page_numbers and count:
            start -= start % count
        if way.shape == "unpaged":
            start, count = 0, len(rows)
        shown = [row for row in rows[start : start + count] if row["id"] not in way.hidden]
        body: dict[str, Any] = {"schemas": [LIST], "resources" if way.shape == "entra" else "Resources": shown}
        if not way.no_total and way.shape not in {"entra", "aws"}:
            body["totalResults"] = str(len(rows) + way.lie) if way.total_text else len(rows) + way.lie
        if not shown and body.get("totalResults") in {0, "0"}:
            del body["Resources"]
        if cursors and start + count < len(rows):
            body["nextCursor"] = f"c{start + count}"
        return answer(body, way.content_type)

    def _rows(self, kind: str, query: dict[str, str]) -> list[dict[str, Any]] | None:
        way = self.behaviour
        rows = [row for key, row in (self.users if kind == "Users" else self.groups).items() if key not in way.unlisted]
        if "filter" in query and not way.ignores_filters:
            attribute, operator, value = query["filter"].split(" ", 2)
            if (kind, operator) != ("Users", "eq") or attribute not in way.filters:
                return None
            if attribute == "groups.value":
                inside = {item["value"] for item in self.groups.get(json.loads(value), {}).get("members", ())}
                rows = [row for row in rows if row["id"] in inside]
            elif attribute == "active":
                rows = [row for row in rows if row["active"] is json.loads(value)]
            else:
                rows = [row for row in rows if json.loads(value).casefold() in names_of(row, attribute)]
        if way.shuffle:
            rows = rows[len(self.seen) % 5 :] + rows[: len(self.seen) % 5]
        elif way.sort and "sortBy" in query:
            rows.sort(key=lambda row: row["id"])
        if kind == "Groups" and way.shape == "aws":
            rows = [{**row, "members": []} for row in rows]
        elif kind == "Groups" and way.hide_members:
            rows = [{key: value for key, value in row.items() if key != "members"} for row in rows]
        if kind == "Users" and way.user_groups:
            rows = [{**row, "groups": self._groups_of(row["id"])} for row in rows]
        return rows

    def _groups_of(self, identifier: str) -> list[dict[str, str]]:
        return [
            {"value": key}
            for key, group in self.groups.items()
            if any(item["value"] == identifier for item in group.get("members", ()))
        ]


def names_of(row: dict[str, Any], attribute: str) -> set[str]:
    """userName or every mail address of a user, without case."""
    values = [row["userName"]] if attribute == "userName" else [item["value"] for item in row["emails"]]
    return {value.casefold() for value in values}


def answer(body: dict[str, Any], content_type: str = "application/scim+json") -> web.Response:
    """200 with a body."""
    return web.Response(body=json.dumps(body).encode(), content_type=content_type)


def error(status: int, detail: str, scim_type: str = "", **headers: str) -> web.Response:
    """A SCIM error (RFC 7644 §3.12): its status is text."""
    body = {"schemas": [ERROR], "status": str(status), "detail": detail}
    body |= {"scimType": scim_type} if scim_type else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/scim+json", headers=named
    )


@contextlib.asynccontextmanager
async def serving(server: ScimServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScimServer]:
    """The server on a free port of this machine, in this event loop; https with ``tls``."""
    runner = web.AppRunner(server.application(), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}/scim/v2"
    try:
        yield server
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)


@contextlib.contextmanager
def serving_aside(server: ScimServer) -> Iterator[ScimServer]:
    """The same for tests that have no event loop: in a thread of its own, ended with the block."""
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(server):
            ready.set()
            await over.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="scim provider")
    thread.start()
    try:
        assert ready.wait(10), "the provider did not start"
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)


def of_firm(firm: company.Firm) -> ScimServer:
    """The same people and groups as in the LDIF file; ids are their anchors."""
    server = ScimServer()
    by_dn = {human.dn.casefold().replace(" ", ""): human.anchor for human in firm.people}
    by_uid = {human.uid: human.anchor for human in firm.people}
    for human in firm.people:
        server.users[human.anchor] = user(human)
    group_ids = {company.group_dn(name): company.anchor(company.group_dn(name)) for name in names(firm)}
    for name in names(firm):
        values = [*firm.groups.get(name, ()), *(text.partition("#")[0] for text in firm.unique.get(name, ()))]
        ids = [by_dn.get(value.casefold().replace(" ", "")) or group_ids.get(value) or value for value in values]
        ids += [by_uid[uid] for uid in firm.posix.get(name, ())]
        members = [{"value": value, "type": "Group" if value in group_ids.values() else "User"} for value in ids]
        identifier = company.anchor(company.group_dn(name))
        server.groups[identifier] = {"id": identifier, "displayName": name, "members": members}
    return server


def names(firm: company.Firm) -> list[str]:
    """Names of all groups."""
    return [*firm.groups, *firm.unique, *firm.posix]


def user(human: company.Human) -> dict[str, Any]:
    """A user resource (RFC 7643 §8.2) of a person of the company."""
    extra: dict[str, list[str]] = {}
    for name, value in human.extra:
        extra.setdefault(name, []).append(str(value))
    mails = [human.mail, *extra.get("mail", ())]
    gone = bool({"shadowExpire", "pwdAccountLockedTime"} & extra.keys()) or "left" in extra.get("employeeType", ())
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "id": human.anchor,
        "userName": human.uid,
        "name": {"givenName": human.given, "familyName": human.family},
        "displayName": f"{human.given} {human.family}",
        "emails": [{"value": mail, "type": "work"} for mail in mails],
        "active": not gone,
        "nickName": extra.get("description", [None])[0],
        ENTERPRISE: {"employeeNumber": human.number, "department": "D1"},
    }


def of_size(people: int) -> ScimServer:
    """People with plain names and three groups: the first half, the others, nobody."""
    server = ScimServer()
    for number in range(people):
        human = company.Human(f"p{number:06d}", "", "Anna", f"Nowak {number}", f"p{number}@firma.example", str(number))
        server.users[identifier(number)] = {**user(human), "id": identifier(number)}
    for place, (name, members) in enumerate(
        {"first": range(people // 2), "second": range(people // 2, people), "nobody": range(0)}.items()
    ):
        key = str(uuid.UUID(int=(1 << 100) + place))
        listed = [{"value": identifier(number)} for number in members]
        server.groups[key] = {"id": key, "displayName": name, **({"members": listed} if listed else {})}
    return server


def identifier(number: int) -> str:
    """The id of the person with this number; ids sort by number."""
    return str(uuid.UUID(int=(1 << 96) + number))
