"""The one shape of every error of the reporting API: RFC 9457 problem bodies, with a stable list of types.

Errors of other rooms become one of these at the wall; a stack, a path of ours or a token never leaves. Pure: no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from access.errors import Forbidden, Unauthenticated
from ledger.errors import BadInput, Busy, Final, NotFound, Retryable, RosterdError, Unavailable

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of problem: its HTTP status, its title, and a sentence for whoever meets it."""

    status: int
    title: str
    description: str


KINDS: Mapping[str, Kind] = {
    "invalid-query": Kind(400, "The query is not valid", "A parameter, column or value is not understood; see `at`."),
    "unauthenticated": Kind(401, "No valid credential", "Send a live token as Bearer, or as the password of Basic."),
    "tier-required": Kind(
        403, "The Team has no Business subscription", "The reporting API is for Business Teams (R10)."
    ),
    "role-required": Kind(403, "The credential lacks a right", "See `scope` for the right that is needed."),
    "named-not-enabled": Kind(
        403, "Named data is not switched on", "An admin of the Team has not switched its personal data on."
    ),
    "collection-disabled": Kind(
        403,
        "User-level usage is not switched on",
        "R11, R13c: the admin's switch or the recorded legal basis is missing.",
    ),
    "not-found": Kind(404, "Not found", "It does not exist, or not for this credential."),
    "report-not-yet-available": Kind(404, "Not processed yet", "See `complete_through`, and ask again later."),
    "method-not-allowed": Kind(405, "Method not allowed", "See the header Allow."),
    "not-acceptable": Kind(406, "No such format", "Ask for application/json or text/csv."),
    "cursor-expired": Kind(410, "The cursor has expired", "Start again without a cursor."),
    "report-expired": Kind(410, "The snapshot has expired", "Ask without a snapshot."),
    "range-too-large": Kind(413, "Too much for one answer", "Narrow the query or page through it."),
    "field-not-filterable": Kind(422, "The dataset cannot be filtered by this", "See `filterable`."),
    "rate-limited": Kind(429, "Too many queries", "Wait for the seconds of Retry-After."),
    "internal": Kind(500, "A fault of ours", "It was logged under the id in `detail`."),
    "data-temporarily-unavailable": Kind(503, "Not available right now", "Ask again after the seconds of Retry-After."),
    "query-timeout": Kind(503, "The query took too long", "Narrow it by day, Team or offering."),
}
"""Every type there is. Types are only ever added."""


class QueryTimeout(Busy):
    """The query ran into its time limit and was interrupted."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the query took longer than {seconds:g} s and was interrupted", after=timedelta(seconds=5))


class Overloaded(Busy):
    """As many queries wait as may wait."""

    def __init__(self) -> None:
        super().__init__("too many queries are waiting", after=timedelta(seconds=2))


class Problem(Final):
    """An error as it leaves: a type of ``KINDS``, a detail, further members and headers."""

    def __init__(
        self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, next_step: str = "", **members: Any
    ) -> None:
        super().__init__(detail, next_step=next_step)
        self.kind = kind
        self.headers = dict(headers or {})
        self.members = members

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind].status

    def body(self, base: str) -> dict[str, Any]:
        """The problem body; ``base``: public URL under which types are described."""
        found: dict[str, Any] = {
            "type": f"{base}/v1/errors/{self.kind}",
            "title": KINDS[self.kind].title,
            "status": self.status,
            "detail": self.what,
        }
        if self.next_step:
            found["next_step"] = self.next_step
        return found | self.members


def as_problem(error: RosterdError) -> Problem:
    """The problem behind an error of ours. What an error says is safe to show (``ledger.errors``)."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Unauthenticated):
        headers = {"WWW-Authenticate": 'Bearer realm="reports", Basic realm="reports"'}
        return Problem("unauthenticated", error.what, headers=headers, next_step=error.next_step)
    if isinstance(error, Forbidden):
        return Problem("role-required", error.what, next_step=error.next_step, scope=error.where)
    if isinstance(error, NotFound):
        return Problem("not-found", error.what, next_step=error.next_step)
    if isinstance(error, BadInput):
        return Problem("invalid-query", error.what, next_step=error.next_step, at=error.where)
    if isinstance(error, Retryable | Unavailable):
        wait = math.ceil(error.after.total_seconds()) if isinstance(error, Retryable) else 30
        headers = {"Retry-After": str(max(1, wait))}
        if isinstance(error, QueryTimeout):
            return Problem("query-timeout", error.what, headers=headers, next_step="narrow it by day, Team or offering")
        return Problem("data-temporarily-unavailable", "the data cannot be read right now", headers=headers)
    return Problem("internal", "a fault of ours")


def invalid(at: str, detail: str, *, next_step: str = "", **members: Any) -> Problem:
    """A 400 that points at the parameter or token."""
    return Problem("invalid-query", detail, next_step=next_step, at=at, **members)
