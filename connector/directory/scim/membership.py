"""Who is in which group, from whichever side of a SCIM provider shows it (S-R62, D2).

Guesses nothing: a provider that hides members from groups makes them unknown, unless users or searches show them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from connector.clients.scim import ScimClient, ScimFailure
from connector.directory import groups
from connector.directory.names import dn_key
from connector.directory.scim import shapes
from connector.directory.scim.listing import Listing, ListReader, Patience
from connector.directory.scim.shapes import Group, Shape, User

NOBODY = "00000000-0000-0000-0000-000000000000"
"""An id no group has: a search for its members must find nobody, or the provider ignores searches."""
_HIDDEN = "the provider shows no members of groups"


@dataclass(slots=True)
class Membership:
    """Members by group id; ``faults`` by group id: why they are not all; ``reason``: why nothing here is proved."""

    members: Mapping[str, Iterable[str]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    reason: str = ""


class MembershipReader:
    """Finds the side that shows membership, and reads it. ``wanted``: ``auto`` or the side named in the settings."""

    def __init__(
        self, client: ScimClient, shape: Shape, wanted: str, patience: Patience, told: Callable[[int], None]
    ) -> None:
        self._client = client
        self._shape = shape
        self._wanted = wanted
        self._patience = patience
        self._told = told

    async def read(self, users: Listing[User], listed: Listing[Group], references: Iterable[str]) -> Membership:
        """The membership of the groups that were listed; by search only of those that ``references`` name."""
        match self._side(users, listed):
            case "members":
                return _by_members(users, listed)
            case "user-groups":
                return _by_users(users)
            case _:
                return await self._by_search(listed, references)

    def _side(self, users: Listing[User], listed: Listing[Group]) -> str:
        if self._wanted != "auto":
            return self._wanted
        if self._shape.members is not False and any(group.members for group in listed.rows.values()):
            return "members"
        return "user-groups" if any(user.groups for user in users.rows.values()) else "filter"

    async def _by_search(self, listed: Listing[Group], references: Iterable[str]) -> Membership:
        """One search of users per wanted group. Nobody anywhere, or everybody always, proves nothing."""
        found = Membership()
        members: dict[str, Iterable[str]] = {}
        if said := await self._ignores_searches():
            return Membership(reason=said)
        graph = groups.MembershipGraph(
            (
                groups.GroupEntry(key, f"Groups/{key}", dn_key(f"Groups/{key}"), group.name, ())
                for key, group in listed.rows.items()
            ),
            groups.PeopleIndex({}),
        )
        for reference in references:
            group = graph.find(reference)
            if isinstance(group, groups.Unresolved) or group.anchor in members:
                continue
            listing = await self._search(group.anchor)
            members[group.anchor] = tuple(listing.rows)
            if listing.reason:
                found.faults[group.anchor] = f"{_HIDDEN}, and the search for its members failed: {listing.reason}"
        found.members = members
        if members and not any(members.values()) and not found.faults:
            found.reason = f"{_HIDDEN}, and searches find nobody in any mapped group"
        return found

    async def _ignores_searches(self) -> str:
        try:
            answer = await self._client.get(
                self._shape.users, {"filter": _filter(NOBODY), "count": "2"}, deadline=self._patience.deadline
            )
            page = shapes.page(answer.body)
        except shapes.NoPage:
            return f"{_HIDDEN}, and a search for them is answered with no list"
        except ScimFailure as failure:
            if failure.status in {400, 404}:
                return ""  # it looks at the filter; whether it knows members shows with a real group
            return f"{_HIDDEN}, and a search for them failed: {failure.what}"
        if page.resources or page.total:
            return f"{_HIDDEN}, and it ignores searches (filter groups.value)"
        return ""

    async def _search(self, anchor: str) -> Listing[None]:
        return await ListReader(
            self._client,
            self._shape,
            self._shape.users,
            lambda _: None,
            patience=self._patience,
            filter_=_filter(anchor),
            told=lambda _: self._told(0),
        ).read()


def _by_members(users: Listing[User], listed: Listing[Group]) -> Membership:
    """Members as the groups show them. A group that shows none while a user claims to be in it hides them."""
    members = {key: group.members for key, group in listed.rows.items() if group.members}
    claimed = {group for user in users.rows.values() for group in user.groups}
    hidden = [key for key in listed.rows if key not in members and key in claimed]
    faults = dict.fromkeys(hidden, "users say that they are in it and none of its members is visible")
    if not members:
        return Membership(reason=f"{_HIDDEN}: give the account the right, or set `membership` to what it shows")
    return Membership(members, faults)


def _by_users(users: Listing[User]) -> Membership:
    """The other side: groups as the users show them; proved only as far as the users are."""
    found: dict[str, list[str]] = {}
    for key, user in users.rows.items():
        for group in user.groups:
            found.setdefault(group, []).append(key)
    if users.reason:
        said = f"members are read from the users, and those are not all there: {users.reason}"
        return Membership(found, reason=said)
    if not found:
        return Membership(reason="no user shows the groups they are in: set `membership` to what the provider shows")
    return Membership(found)


def _filter(anchor: str) -> str:
    return f"groups.value eq {msgspec.json.encode(anchor).decode()}"
