"""Leaves of the error tree for SCIM requests; each is one HTTP status. Pure: no I/O here."""

from __future__ import annotations

from ledger.errors import BadInput, Refused, Stale


class Fault(BadInput):
    """A request that cannot be done as it is (HTTP 400). ``scim_type``: the word of RFC 7644 §3.12, or empty."""

    def __init__(self, what: str, scim_type: str = "", *, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.scim_type = scim_type


class Taken(Refused):
    """The name belongs to another resource of this connection (HTTP 409, ``uniqueness``)."""


class Changed(Stale):
    """The resource is not in the version that ``If-Match`` names (HTTP 412)."""


class NotHere(Refused):
    """Asked for where it is not allowed: a filter on discovery (HTTP 403, RFC 7644 §4)."""


class NotOffered(Refused):
    """A part of SCIM that this provider does not have and says so in its configuration (HTTP 501)."""
