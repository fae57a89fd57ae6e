"""``/admin/v1/outbox``: messages that wait, were sent, or were not; retry, drop, release (L1, L3).

The same acts as ``rosterd outbox``. Every message is seen, and acted on, by whoever holds beside ``people:read`` or
``people:write`` the right that its readers have: to others it is not there. Prohibition: no other rule here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web
from pydantic import Field

from access.principal import Principal, Scope
from connector.admin.answering import Answering, Asked, Body, answer, asked, body
from connector.admin.describing import Route
from connector.admin.teams import Reason
from connector.delivery import by_hand
from connector.delivery.mail.kinds import KINDS, Readers
from connector.delivery.mail.recipients import in_words
from connector.delivery.mail.target import TARGET
from ledger.errors import BadInput
from ledger.store import deliveries
from ledger.store.deliveries import DeliveryState

_MOST = 1000
_OF_READERS: Mapping[Readers, Scope | None] = MappingProxyType(
    {
        Readers.PERSON: None,
        Readers.TEAM_ADMIN: None,
        Readers.APPROVERS: Scope.RUNS_APPROVE,
        Readers.SSO_ADMINS: Scope.SSO_WRITE,
        Readers.OPERATOR: Scope.SETTINGS_WRITE,
        Readers.ASKED: Scope.SETTINGS_WRITE,
    }
)
"""Who a kind is for → the right that whoever sees such a message holds too."""


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
            Route("GET", "/outbox", "Messages that the asker may see, oldest first, and how many", self.list, read,
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
            counts = {key: number for key, number in (await deliveries.counts(reader)).items() if _sees(who, key[1])}
            found = []
            for kind in sorted({kind for _, kind, _ in counts if wanted.kind in {"", kind}}):
                found += await deliveries.listed(reader, states=states, kind=kind, limit=wanted.limit)
            found = sorted(found, key=lambda item: (item.created_at, item.message_id))[: wanted.limit]
            to = await in_words(reader, found)
        totals = [
            {"target": target, "kind": kind, "state": state.value, "messages": number}
            for (target, kind, state), number in sorted(counts.items())
        ]
        return answer({"messages": [by_hand.shown(item, to[item.message_id]) for item in found], "totals": totals})

    async def show(self, request: web.Request) -> web.Response:
        """Everything about one message."""
        who = await self.may_see_all(request, Scope.PEOPLE_READ)
        async with self.ledger.read(who.organization) as reader:
            found = await by_hand.one(reader, request.match_info["message"], lambda kind: _sees(who, kind))
            to = await in_words(reader, found)
        return answer({"deliveries": [by_hand.shown(item, to[item.message_id]) for item in found]})

    async def retry(self, request: web.Request) -> web.Response:
        """A message that is dead, dropped or no longer true is due at once."""
        who = await self.may_see_all(request, Scope.PEOPLE_WRITE)
        done = await by_hand.retry(
            self.ledger, who.organization, request.match_info["message"], actor=who.actor, now=self.acts.clock(),
            sees=lambda kind: _sees(who, kind),
        )  # fmt: skip
        return answer({"retried": [item.message_id for item in done]})

    async def drop(self, request: web.Request) -> web.Response:
        """A message is never sent."""
        who = await self.may_see_all(request, Scope.PEOPLE_WRITE)
        reason = (await body(request, Reason)).reason
        done = await by_hand.drop(
            self.ledger, who.organization, request.match_info["message"], reason=reason, actor=who.actor,
            now=self.acts.clock(), sees=lambda kind: _sees(who, kind),
        )  # fmt: skip
        return answer({"dropped": [item.message_id for item in done]})

    async def release(self, request: web.Request) -> web.Response:
        """What is older than the mail server is due at once."""
        who = await self.may_see_all(request, Scope.PEOPLE_WRITE)
        kind = (await body(request, Release)).kind
        done = await by_hand.release(
            self.ledger, who.organization, TARGET, kind, confirmed=True, actor=who.actor, now=self.acts.clock(),
            sees=lambda kind: _sees(who, kind),
        )  # fmt: skip
        return answer(done.to_json())


def _sees(who: Principal, kind: str) -> bool:
    """Whether they may see messages of the kind, and act on them where they may act at all."""
    needed = _OF_READERS[KINDS[kind].readers] if kind in KINDS else Scope.SETTINGS_WRITE
    return needed is None or who.holds(needed)
