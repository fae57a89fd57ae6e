"""The keys of the admin files as they were loaded, each with its place: ``acme.toml:14: mappings[1].team``.

Reads the files again to say where each key stands; looks at no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from pydantic import BaseModel

from connector.directory.base import CheckLine
from ledger.errors import ManyErrors, RosterdError
from ledger.secret import SecretRef
from rosterd.loading import Document, documents
from rosterd.settings import OrganizationSettings, Settings
from rosterd.toml_places import Path as Place


@dataclass(frozen=True, slots=True)
class Keys:
    """One admin file: its settings as loaded, beside the text they were read from."""

    settings: BaseModel
    document: Document

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.document.file.absolute().parent

    def fault(self, path: Place, what: str, fix: str) -> CheckLine:
        """Something is wrong with a key."""
        return CheckLine(False, f"{self.document.where(path)}: {what}", fix)

    def note(self, path: Place, what: str, fix: str) -> CheckLine:
        """Nothing is wrong with a key, and something about it has to be known."""
        return CheckLine(True, f"{self.document.where(path)}: {what}", fix, note=True)

    def values(self) -> Iterator[tuple[Place, Any]]:
        """Every key with its value, defaults included; sections and lists are gone through."""
        yield from values_of(self.settings)


@dataclass(frozen=True, slots=True)
class CustomerKeys(Keys):
    """An organization file."""

    settings: OrganizationSettings


def keys_of(settings: Settings) -> tuple[Keys, dict[str, CustomerKeys]]:
    """``rosterd.toml``, and each organization's file by its id. Raises as ``loading.documents`` does."""
    installation, customers = documents(settings)
    found = {name: CustomerKeys(settings.customers[name].settings, document) for name, document in customers.items()}
    return Keys(settings.installation, installation), found


def values_of(value: Any, path: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every key in ``value`` with what it is set to."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from values_of(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, tuple | list):
        for position, item in enumerate(value):
            yield from values_of(item, (*path, position))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from values_of(item, (*path, name))
    else:
        yield path, value


def secrets_of(*models: BaseModel) -> Iterator[SecretRef]:
    """Every secret that these settings refer to."""
    yield from (value for model in models for _, value in values_of(model) if isinstance(value, SecretRef))


def on_one_line(error: RosterdError) -> str:
    """What is wrong; several faults one after the other."""
    if isinstance(error, ManyErrors):
        return "; ".join(fault.said for fault in error.faults)
    return error.what


def failed(what: str, error: RosterdError) -> CheckLine:
    """The line of a step that an error ended."""
    place = quote(error.where) if error.where.startswith("/") else error.where
    where = f" ({place})" if place else ""
    return CheckLine(False, f"{what}: {on_one_line(error)}{where}", error.next_step)
