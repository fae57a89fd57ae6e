"""Secrets by reference: configuration names where a secret is, never the secret itself.

Reads one environment variable or one small file, at the moment of use; keeps and prints nothing.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ledger.errors import BadInput

_MAX_BYTES = 64 * 1024
_LEAST_KEY = 32


@dataclass(frozen=True, slots=True)
class SecretRef:
    """``env:NAME`` or ``file:PATH`` (relative paths are relative to the admin file, see ``anchored``)."""

    scheme: str
    name: str

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """Parse a reference; a literal secret is refused without repeating it."""
        scheme, separator, name = text.strip().partition(":")
        if not separator or scheme not in {"env", "file"} or not name:
            raise ValueError(
                "a secret is given by reference: env:NAME or file:PATH (the value itself is never written here)"
            )
        return cls(scheme, name)

    def anchored(self, folder: Path) -> SecretRef:
        """The same reference with a relative file path made relative to ``folder``."""
        if self.scheme == "file" and not Path(self.name).is_absolute():
            return SecretRef("file", str(folder / self.name))
        return self

    def reveal(self) -> str:
        """Read the secret; raise ``BadInput`` naming the reference, and how to set it, when it is missing or empty. A
        byte order mark, which editors write before a text, is no part of it."""
        if self.scheme == "env":
            return self._of_environment()
        step = f"(umask 077; cat > {shlex.quote(self.name)}), then the secret, Enter and Ctrl-D; or correct the path"
        try:
            with Path(self.name).open("rb") as handle:
                value = handle.read(_MAX_BYTES).decode("utf-8-sig").rstrip("\r\n")
        except FileNotFoundError as error:
            raise BadInput(f"secret {self}: there is no such file", next_step=step) from error
        except OSError as error:
            step = f"let whoever runs rosterd read it: ls -l {shlex.quote(self.name)}"
            raise BadInput(f"secret {self} cannot be read: {error.strerror}", next_step=step) from error
        except UnicodeDecodeError as error:
            raise BadInput(f"secret {self} is not UTF-8 text; write it again", next_step=step) from error
        if not value:
            raise BadInput(f"secret {self}: the file is empty", next_step=step)
        return value

    def reveal_key(self, where: str) -> bytes:
        """Read a secret that keys an HMAC; raise ``BadInput`` as ``reveal`` does, and when it is too short."""
        try:
            text = self.reveal()
        except BadInput as error:
            if self.scheme == "env":
                raise
            new = f"(umask 077; openssl rand -base64 32 > {shlex.quote(self.name)})"
            step = f"restore it from a backup, since another ends what was made with it; to begin anew: {new}"
            raise BadInput(error.what, next_step=step) from error
        if len(text) < _LEAST_KEY:
            raise BadInput(
                f"the key has {len(text)} characters, fewer than {_LEAST_KEY}",
                where=where,
                next_step="put a longer one in its place: openssl rand -base64 32",
            )
        return text.encode("utf-8")

    def _of_environment(self) -> str:
        value = os.environ.get(self.name, "")
        if not value:
            state = "empty" if self.name in os.environ else "not set"
            step = (
                f"read -rs {self.name} && export {self.name} (for a service: its EnvironmentFile), or correct the name"
            )
            raise BadInput(f"secret {self}: the environment variable {self.name} is {state}", next_step=step)
        return value

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(str(value)),
            serialization=core_schema.to_string_ser_schema(),
            json_schema_input_schema=core_schema.str_schema(pattern="^(env|file):.+"),
        )
