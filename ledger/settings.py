"""The base of every room's settings type: frozen, typed, unknown keys refused, documented by attribute docstrings.

A setting is defined once, beside its room; its docstring becomes the comment in the generated example and JSON Schema.
"""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

Language = Literal["en", "pl"]
"""Languages in which people are written to, in mails and on pages."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SettingsModel(BaseModel):
    """Strict base model of a section of an admin file."""

    # a literal secret in the wrong place must not come back in an error
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
    )


def parse_duration(value: Any) -> timedelta:
    """``15m``, ``24h``, ``7d``, ``30s``, ``0`` → timedelta; anything else raises ``ValueError`` with the forms."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+)\s*([smhd])", str(value).strip())
    if str(value).strip() == "0":
        return timedelta(0)
    if not match:
        raise ValueError(f"{value!r} is not a duration: write 30s, 15m, 24h, 7d or 0")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def show_duration(value: timedelta) -> str:
    """The shortest exact form: ``7d``, ``90m``, ``30s``."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s" if seconds else "0"


def require_clear_port(text: str) -> None:
    """Raise ``ValueError`` with what could be meant where an IPv6 address without brackets may end in a port."""
    host, _, port = text.rpartition(":")
    if ":" not in host or "]" in text or not re.fullmatch(r"[0-9]{1,5}", port) or not _is_network(host):
        return
    meanings = f"write [{host}]:{port} for port {port}"
    if _is_network(text):
        meanings = f"write [{text}] for the address {text}, or [{host}]:{port} for port {port} of {host}"
    raise ValueError(f"{text!r} may be an address or end in a port: {meanings}")


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(show_duration),
    WithJsonSchema({"type": "string", "pattern": r"^(0|\d+\s*[smhd])$"}),
]
"""A length of time written as ``15m``, ``24h``, ``7d``."""
