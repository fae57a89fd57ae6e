"""``/scim/v2``: the sub-application with every route; discovery, ``/Users``, ``/Groups``, and what is not offered.

Prohibition: routes only. Who may push is ``authenticate``'s answer; what a push leads to is a plan's, never ours.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from connector.scim import discovery
from connector.scim.answering import PREFIX, Acts, Answering, Asked, Pushing, answer, errors, expecting, fault
from connector.scim.errors import NotHere, NotOffered
from connector.scim.group_routes import Groups
from connector.scim.person_routes import People
from ledger.errors import NotFound
from ledger.store.inbox import Inbox

__all__ = ["PREFIX", "Acts", "Pushing", "fault", "make_app"]

_LATER = ("/Me", "/Bulk", "/.search")


def make_app(inbox: Inbox, acts: Acts) -> web.Application:
    """The sub-application for ``/scim/v2``."""
    app = web.Application(middlewares=[errors])
    for rooms in (_Discovery, People, Groups):
        routes = rooms(inbox, acts).routes()
        for route in routes:
            route.kwargs["expect_handler"] = expecting
        app.add_routes(routes)
    return app


class _Discovery(Answering):
    """What this provider is, for whoever has a token."""

    def routes(self) -> list[web.RouteDef]:
        """With and without a slash at the end."""
        found: list[web.RouteDef] = []
        for end in ("", "/"):
            found += [
                web.get(f"/ServiceProviderConfig{end}", self.opened(self.config)),
                web.get(f"/ResourceTypes{end}", self.opened(self.types)),
                web.get(f"/ResourceTypes/{{id}}{end}", self.opened(self.one_type)),
                web.get(f"/Schemas{end}", self.opened(self.schemas)),
                web.get(f"/Schemas/{{id}}{end}", self.opened(self.one_schema)),
                *(web.route("*", path + end, self.opened(self.not_offered)) for path in _LATER),
            ]
        return found

    async def config(self, asked: Asked) -> web.Response:
        """ServiceProviderConfig."""
        _refuse_filter(asked)
        return answer(discovery.provider_config(self.base))

    async def types(self, asked: Asked) -> web.Response:
        """Every ResourceType."""
        _refuse_filter(asked)
        return answer(discovery.listed(discovery.resource_types(self.base)))

    async def one_type(self, asked: Asked) -> web.Response:
        """One of them by its name."""
        return answer(_named(discovery.resource_types(self.base), asked.id))

    async def schemas(self, asked: Asked) -> web.Response:
        """Every Schema."""
        _refuse_filter(asked)
        return answer(discovery.listed(discovery.schemas(self.base)))

    async def one_schema(self, asked: Asked) -> web.Response:
        """One of them by its URN."""
        return answer(_named(discovery.schemas(self.base), asked.id))

    async def not_offered(self, _asked: Asked) -> web.Response:
        """501 (S-R58)."""
        raise NotOffered("this provider has no such part", next_step="see /ServiceProviderConfig")


def _refuse_filter(asked: Asked) -> None:
    """Nothing is left out of discovery (RFC 7644 §4)."""
    if asked.parameter("filter") is not None:
        raise NotHere("discovery takes no filter")


def _named(documents: list[dict[str, Any]], name: str) -> dict[str, Any]:
    found = next((one for one in documents if one["id"].lower() == name.lower()), None)
    if found is None:
        raise NotFound("there is none of this name")
    return found
