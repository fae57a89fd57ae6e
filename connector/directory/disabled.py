"""Whether an account is disabled, in every dialect of directories (D7): flags are evidence at once, dates from then on.

Pure: no I/O and no clock here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

DIALECT_ATTRIBUTES = {
    "pwdAccountLockedTime": ("pwdaccountlockedtime",),
    "nsAccountLock": ("nsaccountlock",),
    "shadowExpire": ("shadowexpire",),
    "userAccountControl": ("useraccountcontrol", "accountexpires"),
}
"""Dialect → the attributes it is read from, lower case."""

_PERMANENT_LOCK = b"000001010000z"
_NEVER = 0x7FFFFFFFFFFFFFFF
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def account_state(
    attributes: Mapping[str, Sequence[bytes]], dialects: Collection[str], attribute: str, values: Collection[str]
) -> tuple[bool, datetime | None]:
    """(not flagged as disabled, expiry date) by the believed ``dialects`` and by the configured ``attribute`` having
    one of ``values`` (caseless)."""
    enabled, expires = True, None
    for dialect in dialects:
        for name in DIALECT_ATTRIBUTES[dialect]:
            for value in attributes.get(name, ()):
                flagged, date = _SIGNS[name](value)
                enabled = enabled and not flagged
                expires = min(filter(None, (expires, date)), default=None)
    if attribute:
        for value in attributes.get(attribute, ()):
            if value.decode("utf-8", "replace").strip().casefold() in values:
                enabled = False
    return enabled, expires


def signs(
    attributes: Mapping[str, Sequence[bytes]], dialects: Collection[str], attribute: str, values: Collection[str]
) -> dict[str, Sequence[bytes]]:
    """What says that an account is flagged as disabled, with its values; parameters as of ``account_state``."""
    found = {
        dialect: attributes.get(DIALECT_ATTRIBUTES[dialect][0], ())
        for dialect in dialects
        if not account_state(attributes, (dialect,), "", ())[0]
    }
    if not account_state(attributes, (), attribute, values)[0]:
        found[attribute] = attributes.get(attribute, ())
    return found


def _number(value: bytes) -> int | None:
    try:
        return int(value)
    except ValueError:
        return None


def _locked_for_good(value: bytes) -> tuple[bool, datetime | None]:
    # Any other date is the password policy's answer to wrong passwords: it passes by itself and is no off-boarding.
    return value.strip().lower() == _PERMANENT_LOCK, None


def _account_lock(value: bytes) -> tuple[bool, datetime | None]:
    return value.strip().lower() == b"true", None


def _account_control(value: bytes) -> tuple[bool, datetime | None]:
    number = _number(value)
    return number is not None and bool(number & 2), None


def _shadow_expire(value: bytes) -> tuple[bool, datetime | None]:
    # shadow(5): 0 means "never" to some and "since 1970" to others, so it proves nothing.
    days = _number(value)
    return False, _UNIX_EPOCH + timedelta(days=days) if days is not None and 0 < days < 2_900_000 else None


def _account_expires(value: bytes) -> tuple[bool, datetime | None]:
    ticks = _number(value)
    if ticks is None or ticks <= 0 or ticks >= _NEVER or ticks // 10 > 250_000_000_000_000_000:
        return False, None
    return False, _FILETIME_EPOCH + timedelta(microseconds=ticks // 10)


_SIGNS = {
    "pwdaccountlockedtime": _locked_for_good,
    "nsaccountlock": _account_lock,
    "useraccountcontrol": _account_control,
    "shadowexpire": _shadow_expire,
    "accountexpires": _account_expires,
}
