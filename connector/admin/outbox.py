"""``/admin/v1/outbox``: messages that wait, were sent, or were not; retry, drop, release (L1, L3).

Routes only, no rules: the same acts as ``rosterd outbox``.
"""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from access.principal import Scope
from connector.admin.answering import Answering, Asked, Body, answer, asked, body
from connector.admin.describing import Route
from connector.admin.teams import Reason
from connector.delivery import by_hand
from connector.delivery.mail.target import TARGET
from ledger.errors import BadInput
from ledger.store import deliveries
from ledger.store.deliveries import DeliveryState

_MOST = 1000


class WhichMessages(Asked):
    """Which messages; without a state those that wait, are kept, or are dead letters."""

    state: str = ""
    kind: str = Field(default="", max_length=100)
    limit: int = Field(default=100, ge=1, le=_MOST)


class Release(Body):
    """Of which kind what was kept is to be sent."""

    kind: str = Field(min_length=1, max_length=100)


class Outbox(Answering):
    """One method per route."""

    def routes(self) -> list[Route]:
        """The table."""
        read, write, message = Scope.PEOPLE_READ, Scope.PEOPLE_WRITE, "/outbox/{message}"
        return [
            Route("GET", "/outbox", "Messages, oldest first, and how many there are", self.list, read,
                  asked=WhichMessages),
            Route("POST", "/outbox/release", "Send what is older than its target", self.release, write, body=Release),
            Route("GET", message, "One message", self.show, read),
            Route("POST", f"{message}/retry", "Try it at once", self.retry, write),
            Route("POST", f"{message}/drop", "Never send it", self.drop, write, body=Reason),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """Messages in the states that were asked for."""
        who = await self.may_see_all(request, Scope.PEOPLE_READ)
        wanted = asked(request, WhichMessages)
        try:
            states = [DeliveryState(wanted.state)] if wanted.state else by_hand.OPEN
        except ValueError as error:
            raise BadInput("is no state of a message", where="state", next_step=", ".join(DeliveryState)) from error
        async with self.ledger.read(who.organization) as reader:
            found = await deliveries.listed(reader, states=states, kind=wanted.kind, limit=wanted.limit)
            counts = await deliveries.counts(reader)
        totals = [
            {"target": target, "kind": kind, "state": state.value, "messages": number}
            for (target, kind, state), number in sorted(counts.items())
        ]
        return answer({"messages": [by_hand.shown(item) for item in found], "totals": totals})

    async def show(self, request: web.Request) -> web.Response:
        """Everything about one message."""
        who = await self.may_see_all(request, Scope.PEOPLE_READ)
        async with self.ledger.read(who.organization) as reader:
            found = await by_hand.one(reader, request.match_info["message"])
        return answer({"deliveries": [by_hand.shown(item) for item in found]})

    async def retry(self, request: web.Request) -> web.Response:
        """A dead or dropped message is due at once."""
        who = await self.may_see_all(request, Scope.PEOPLE_WRITE)
        done = await by_hand.retry(
            self.ledger, who.organization, request.match_info["message"], actor=who.actor, now=self.acts.clock()
        )
        return answer({"retried": [item.message_id for item in done]})

    async def drop(self, request: web.Request) -> web.Response:
        """A message is never sent."""
        who = await self.may_see_all(request, Scope.PEOPLE_WRITE)
        reason = (await body(request, Reason)).reason
        done = await by_hand.drop(
            self.ledger, who.organization, request.match_info["message"], reason=reason, actor=who.actor,
            now=self.acts.clock(),
        )  # fmt: skip
        return answer({"dropped": [item.message_id for item in done]})

    async def release(self, request: web.Request) -> web.Response:
        """What is older than the mail server is due at once."""
        who = await self.may_see_all(request, Scope.PEOPLE_WRITE)
        kind = (await body(request, Release)).kind
        done = await by_hand.release(
            self.ledger, who.organization, TARGET, kind, confirmed=True, actor=who.actor, now=self.acts.clock()
        )
        return answer(done.to_json())
