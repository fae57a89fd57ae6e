"""Conditional requests: whether a header names the version that stands (RFC 9110 §13.1). Pure: no I/O here."""

from __future__ import annotations


def names(header: str, tag: str) -> bool:
    """Whether an ``If-Match`` or ``If-None-Match`` header names ``tag``, strong and weak being the same (§8.8.3.2)."""
    wanted = tag.removeprefix("W/")
    given = (item.strip() for item in header.split(","))
    return any(item == "*" or item.removeprefix("W/") == wanted for item in given if item)
