"""Reads ``rosterd.toml``, its organization files and the environment into ``Settings``; every fault at once, placed.

Reads files; starts, connects and creates nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ledger.errors import BadInput, ManyErrors, RosterdError
from ledger.secret import SecretRef
from rosterd import environment, references
from rosterd.faults import model_faults
from rosterd.settings import Customer, InstallationSettings, OrganizationSettings, ServerSettings, Settings
from rosterd.toml_places import Path as Place
from rosterd.toml_places import line_of, locate, show_path

M = TypeVar("M", bound=BaseModel)
_MOST_BYTES, _DEEPEST, _MOST_FAULTS = 16 * 1024 * 1024, 16, 50
NEXT_STEP = "correct it, then run: rosterd check"


@dataclass(frozen=True, slots=True)
class Document:
    """One TOML file: its text parsed, and where each key stands."""

    file: Path
    raw: dict[str, Any]
    places: Mapping[Place, int]

    def where(self, path: Place) -> str:
        """``organizations/acme.toml:14: mappings[1].team``."""
        shown = show_path(path)
        return f"{_short(self.file)}:{line_of(self.places, path)}" + (f": {shown}" if shown else "")


def load(file: Path, variables: Mapping[str, str] | None = None) -> Settings:
    """Load everything; raises ``ManyErrors`` with every fault of every file (``BadInput`` when there is one only)."""
    variables = os.environ if variables is None else variables
    faults: list[RosterdError] = []
    installation = InstallationSettings()
    document = _read(file, faults)
    if document is not None:
        overrides, wrong = environment.overrides(InstallationSettings, variables)
        raw = environment.merged(document.raw, overrides)
        loaded = _validated(InstallationSettings, raw, document, overrides, faults)
        installation = _anchored_installation(loaded, file.parent) if loaded else installation
        customers, documents = _customers(file.parent, str(raw.get("organizations", "organizations/*.toml")), faults)
        named = {name for item in (document, *documents) for name in environment.named_secrets(item.raw)}
        faults += [fault for name, fault in wrong.items() if name not in named]
    if len(faults) > 1:
        for fault in faults:  # said once, at the end
            fault.next_step = fault.next_step.removesuffix(NEXT_STEP)
        raise ManyErrors(faults, next_step=NEXT_STEP)
    if faults:
        raise faults[0]
    return Settings(installation, {item.organization.id: item for item in customers}, file)


def load_server(file: Path, variables: Mapping[str, str] | None = None) -> ServerSettings:
    """Where the daemon listens, whatever else is wrong in the file: a running daemon keeps what it began with.

    Raises ``BadInput`` when the file cannot be read, ``ManyErrors`` or ``BadInput`` when ``[server]`` itself is wrong.
    """
    variables = os.environ if variables is None else variables
    faults: list[RosterdError] = []
    document = _read(file, faults)
    loaded: InstallationSettings | None = None
    if document is not None:
        overrides, _ = environment.overrides(InstallationSettings, variables)
        raw = environment.merged(document.raw, overrides)
        alone = {name: value for name, value in raw.items() if name == "server"}
        loaded = _validated(InstallationSettings, alone, document, overrides, faults)
    if len(faults) > 1:
        raise ManyErrors(faults, next_step=NEXT_STEP)
    if loaded is None:
        raise faults[0]
    return loaded.server


def load_customer(file: Path) -> Customer:
    """One organization file by itself, to try it; raises as ``load`` does."""
    faults: list[RosterdError] = []
    customers, _ = _customers(file.parent, file.name, faults)
    if not customers and not faults:
        _read(file, faults)
    if len(faults) > 1:
        raise ManyErrors(faults, next_step="correct it, then try it again")
    if faults:
        raise faults[0]
    return customers[0]


def _read(file: Path, faults: list[RosterdError]) -> Document | None:
    try:
        return _document(file)
    except BadInput as error:
        faults.append(error)
    except FileNotFoundError:
        faults.append(
            BadInput("there is no such file", where=_short(file), next_step="rosterd init writes a first configuration")
        )
    except OSError as error:
        faults.append(BadInput(f"cannot be read: {error.strerror}", where=_short(file), next_step="check its rights"))
    except UnicodeDecodeError as error:
        faults.append(BadInput(f"is not UTF-8 text (byte {error.start})", where=_short(file), next_step=NEXT_STEP))
    except tomllib.TOMLDecodeError as error:
        faults.append(BadInput(f"broken TOML: {error}", where=_short(file), next_step=NEXT_STEP))
    return None


def _document(file: Path) -> Document:
    with file.open("rb") as handle:
        content = handle.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BadInput(f"has more than {_MOST_BYTES} bytes", where=_short(file), next_step=NEXT_STEP)
    text = content.decode("utf-8")
    try:
        raw = tomllib.loads(text)
        deep = _deeper(raw, _DEEPEST)
    except RecursionError:
        deep = True
    if deep:
        raise BadInput(f"is nested more than {_DEEPEST} deep", where=_short(file), next_step=NEXT_STEP)
    return Document(file, raw, locate(text))


def _deeper(raw: Any, most: int) -> bool:
    """Whether tables and lists lie in each other more than ``most`` deep."""
    layer = [raw]
    for _ in range(most):
        layer = [
            inner
            for item in layer
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
    return bool(layer)


def _validated(
    model: type[M],
    raw: dict[str, Any],
    document: Document,
    overrides: Mapping[tuple[str, ...], environment.Override],
    faults: list[RosterdError],
) -> M | None:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        for path, text in islice(model_faults(model, raw, error), _MOST_FAULTS):
            override = overrides.get(tuple(str(part) for part in path))
            where = f"environment: {override.name}" if override else document.where(path)
            faults.append(BadInput(text, where=where, next_step=NEXT_STEP))
        if (left := error.error_count() - _MOST_FAULTS) > 0:
            faults.append(BadInput(f"and {left} more like these", where=document.where(()), next_step=NEXT_STEP))
    return None


def _customers(folder: Path, pattern: str, faults: list[RosterdError]) -> tuple[list[Customer], list[Document]]:
    files = sorted(folder.glob(pattern))
    customers: list[Customer] = []
    documents: list[Document] = []
    owners: dict[str, str] = {}
    for file in files:
        document = _read(file, faults)
        if document is None:
            continue
        documents.append(document)
        loaded = _validated(OrganizationSettings, document.raw, document, {}, faults)
        for path, text in islice(references.faults(document.raw), _MOST_FAULTS):
            faults.append(BadInput(text, where=document.where(path), next_step=NEXT_STEP))
        for key, path in references.claims(document.raw):
            if key in owners:
                text = f"{key} is also claimed by {owners[key]}"
                faults.append(BadInput(text, where=document.where(path), next_step=NEXT_STEP))
            owners.setdefault(key, _short(file))
        if loaded:
            customers.append(Customer(anchored(loaded, file.parent), file))
    return customers, documents


def _anchored_installation(settings: InstallationSettings, folder: Path) -> InstallationSettings:
    """Secrets, database folder and warehouse folder made independent of where the command was started."""
    settings = anchored(settings, folder)
    database, storage = settings.database, settings.storage
    if database.url.startswith("sqlite:///"):
        place = (folder / database.url.removeprefix("sqlite:///")).absolute()
        database = database.model_copy(update={"url": f"sqlite:///{place}"})
    if storage.warehouse.startswith("file:") and not storage.warehouse.startswith("file://"):
        place = (folder / storage.warehouse.removeprefix("file:")).absolute()
        storage = storage.model_copy(update={"warehouse": f"file:{place}"})
    return settings.model_copy(update={"database": database, "storage": storage})


def anchored(model: M, folder: Path) -> M:
    """The same settings with every ``file:`` secret made relative to ``folder``."""
    changed = {name: _anchor(getattr(model, name), folder) for name in type(model).model_fields}
    return model.model_copy(update=changed)


def _anchor(value: Any, folder: Path) -> Any:
    if isinstance(value, SecretRef):
        return value.anchored(folder.absolute())
    if isinstance(value, BaseModel):
        return anchored(value, folder)
    if isinstance(value, tuple):
        return tuple(_anchor(item, folder) for item in value)
    return value


def _short(file: Path) -> str:
    """Relative to the working folder where that is shorter to read."""
    try:
        return str(file.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(file)
