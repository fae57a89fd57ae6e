"""Secrets by reference: configuration names where a secret is, never the secret itself.

Reads one environment variable or one small file, at the moment of use; keeps and prints nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ledger.errors import BadInput

_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SecretRef:
    """``env:NAME`` or ``file:PATH`` (relative paths are relative to the admin file, see ``anchored``)."""

    scheme: str
    name: str

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """Parse a reference; a literal secret is refused without repeating it."""
        scheme, separator, name = text.partition(":")
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
        """Read the secret; raise ``BadInput`` naming the reference when it is missing or empty."""
        if self.scheme == "env":
            value = os.environ.get(self.name, "")
        else:
            try:
                with Path(self.name).open("rb") as handle:
                    value = handle.read(_MAX_BYTES).decode("utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(
                    f"secret {self} cannot be read: {error}", next_step="create the file or correct the reference"
                ) from error
        if not value:
            raise BadInput(f"secret {self} is empty or not set", next_step="set it, then run rosterd check")
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
