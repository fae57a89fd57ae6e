"""Log lines on stderr: one stable ``event`` verb each, as key=value or JSON. No secrets ever.

Mail addresses are masked above debug level. Loggers of libraries come through the same door.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any

import msgspec

# each begins where no character before it could be its own: else a long line is gone through from every one of them
_MAIL = re.compile(r"(?<![\w.+'-])([\w.+'-])[\w.+'-]*@([\w-]+(?:\.[\w-]+)+)")
_QUOTED_MAIL = re.compile(r'(?<!\\)\\+"[^"\\]{1,64}\\+"@([\w-]+(?:\.[\w-]+)+)')
"""A part in quotes before the @; in a line each quote of a value stands behind a backslash."""
_SECRET = re.compile(
    r"(?i)\b(bearer\s+|basic\s+|(?:pass(?:word|wd)?|secret|token|api_key|pepper)\s*[=:]\s*)(\"[^\"]*\"|[^\s,;&\"']+)"
)
_TOKEN = re.compile(r"(?i)rpt_\w+")
_URL_PASSWORD = re.compile(r"(?<!\w)(\w+://[^\s/:@]+:)[^\s/@]+@")
_PLAIN = re.compile(r"[\w.:/@+\-\[\]*…→%,]+")
_OURS = ("rosterd", "ledger", "access", "connector", "reporting_api")
_NOISY = ("saml2", "pyiceberg", "apscheduler", "aiohttp.access", "alembic", "httpx", "aiosqlite", "sqlalchemy", "ldap3")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LONGEST = 4_000  # characters of a text in a line
_ENCODE = msgspec.json.Encoder(enc_hook=str).encode


def event(logger: logging.Logger, verb: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write one line: ``event(log, "run.applied", organization="acme", run="0197…", added=12)``."""
    logger.log(level, verb, extra={"fields": fields})


class Lines(logging.Formatter):
    """``2026-03-02T09:00:00.000Z info run.applied organization=acme added=12``, or the same as one JSON object."""

    def __init__(self, *, as_json: bool, show_mail: bool) -> None:
        super().__init__()
        self._as_json = as_json
        self._show_mail = show_mail

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields: Mapping[str, Any] = getattr(record, "fields", None) or {}
        values: dict[str, Any] = {"at": at, "level": record.levelname.lower()}
        verb, message = _verb(record.getMessage(), bool(fields))
        values["event"] = verb
        if message:
            values["message"] = _cut(message)
        if record.name.split(".", 1)[0] not in _OURS:
            values["logger"] = record.name
        values |= {name: value for name, value in vars(record).items() if name not in _STANDARD | {"fields"}}
        values |= {name: _cut(value) for name, value in fields.items()}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            values["error"] = _cut(f"{type(error).__name__}: {error}")
            if self._show_mail:
                values["trace"] = self.formatException(record.exc_info)
        return self._clean(_ENCODE(values).decode() if self._as_json else _key_values(values))

    def _clean(self, line: str) -> str:
        line = _TOKEN.sub("rpt_***", _SECRET.sub(r"\1***", line))
        line = _URL_PASSWORD.sub(r"\1***@", line)
        return line if self._show_mail else _MAIL.sub(r"\1…@\2", _QUOTED_MAIL.sub(r"…@\1", line))


def configure(*, form: str = "text", level: str = "info", stream: IO[str] | None = None) -> None:
    """Send every logger's lines to ``stream`` (stderr). Replaces what was configured before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines(as_json=form == "json", show_mail=level == "debug"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("INFO" if level == "debug" else level.upper())
    for own in _OURS:
        logging.getLogger(own).setLevel(level.upper())
    for noisy in _NOISY:  # drivers would log statements with their values, and others what we say ourselves
        logging.getLogger(noisy).setLevel("WARNING")


def _cut(value: Any) -> Any:
    return f"{value[:_LONGEST]}…" if isinstance(value, str) and len(value) > _LONGEST else value


def _verb(text: str, with_fields: bool) -> tuple[str, str]:
    """The verb of a message and what is left of it: ``a.verb``, ``event=verb key=value …``, or plain words."""
    if with_fields or re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", text):
        return text, ""
    if match := re.match(r"event=([a-z_.]+)\s*", text):
        return match[1], text[match.end() :]
    return "log", text


def _key_values(values: Mapping[str, Any]) -> str:
    head = f"{values['at']} {values['level']} {values['event']}"
    rest = [f"{name}={_shown(value)}" for name, value in values.items() if name not in {"at", "level", "event"}]
    return " ".join([head, *rest])


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else _ENCODE(value).decode()
    return text if _PLAIN.fullmatch(text) else _ENCODE(text).decode()
