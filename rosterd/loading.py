"""Reads ``rosterd.toml``, its organization files and the environment into ``Settings``; every fault at once, placed.

Reads files; starts, connects and creates nothing.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import shlex
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
_AT = re.compile(r"\(at line (\d+), column \d+\)")
_OTHER_FORMS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
_LONGEST = 80
_MOST_BYTES, _DEEPEST, _MOST_KEYS, _MOST_ITEMS, _MOST_FAULTS = 8 * 1024 * 1024, 16, 1_000, 20_000, 50
NEXT_STEP = "correct it, then run: rosterd check"


@dataclass(frozen=True, slots=True)
class Document:
    """One TOML file: its text parsed, and where each key stands. Values in ``raw`` are without the spaces around them,
    as the settings read them; ``spaced`` has those that were written with some. ``overridden``: key → variable of the
    environment that gives its value instead."""

    file: Path
    raw: dict[str, Any]
    places: Mapping[Place, int]
    spaced: Mapping[Place, str] = field(default_factory=dict)
    overridden: Mapping[Place, str] = field(default_factory=dict)

    def where(self, path: Place) -> str:
        """``organizations/acme.toml:14: mappings[1].team``, or ``environment: ROSTERD_…``."""
        if variable := self.overridden.get(path):
            return f"environment: {variable}"
        shown = show_path(path)
        return f"{quoted(self.file)}:{line_of(self.places, path)}" + (f": {shown}" if shown else "")


@dataclass(frozen=True, slots=True)
class InstallationFile:
    """``rosterd.toml`` with the environment laid over it, as far as it can be read."""

    document: Document | None
    settings: InstallationSettings | None
    organizations: str
    faults: tuple[RosterdError, ...]
    wrong: Mapping[str, RosterdError]

    def unknown_variables(self, files: Sequence[CustomerFile]) -> list[RosterdError]:
        """Mistyped overrides: what no file names as a secret."""
        documents = [item for item in (self.document, *(one.document for one in files)) if item is not None]
        named = {name for item in documents for name in environment.named_secrets(item.raw)}
        return [fault for name, fault in self.wrong.items() if name not in named]


@dataclass(frozen=True, slots=True)
class CustomerFile:
    """One organization file by itself: what it says, or what is wrong with it."""

    file: Path
    document: Document | None
    customer: Customer | None
    faults: tuple[RosterdError, ...]

    @property
    def id(self) -> str:
        """The organization that it is about, as far as can be told."""
        section = self.document.raw.get("organization") if self.document else None
        return str(section.get("id", "")) if isinstance(section, dict) else ""

    @property
    def where(self) -> str:
        """The file, as messages name it."""
        return quoted(self.file)


def load(file: Path, variables: Mapping[str, str] | None = None) -> Settings:
    """Load everything; raises ``ManyErrors`` with every fault of every file (``BadInput`` when there is one only)."""
    found = read_installation(file, os.environ if variables is None else variables)
    faults = list(found.faults)
    installation = found.settings or InstallationSettings()
    customers: tuple[Customer, ...] = ()
    if found.document is not None:
        files = read_customers(file.parent, found.organizations, found.settings)
        faults += _with_claims(files)
        faults += found.unknown_variables(files)
        customers = tuple(item.customer for item in files if item.customer)
    _raise(faults)
    return Settings(installation, {item.organization.id: item for item in customers}, file)


def read_installation(file: Path, variables: Mapping[str, str]) -> InstallationFile:
    """Read ``rosterd.toml``; what is wrong is in the value."""
    faults: list[RosterdError] = []
    document = _read(file, faults)
    if document is None:
        return InstallationFile(None, None, InstallationSettings().organizations, tuple(faults), {})
    overrides, wrong = environment.overrides(InstallationSettings, variables)
    raw = environment.merged(document.raw, overrides)
    document = replace(document, overridden={path: found.name for path, found in overrides.items()})
    loaded = _validated(InstallationSettings, raw, document, faults)
    settings = _anchored_installation(loaded, file.parent) if loaded else None
    pattern = str(raw.get("organizations", InstallationSettings().organizations))
    return InstallationFile(document, settings, pattern, tuple(faults), wrong)


def read_customers(folder: Path, pattern: str, installation: InstallationSettings | None) -> list[CustomerFile]:
    """Read every organization file, each by itself. ``installation``: what ``rosterd.toml`` says, where it is whole."""
    return [_customer_file(file, installation) for file in sorted(folder.glob(pattern))]


def documents(settings: Settings) -> tuple[Document, dict[str, Document]]:
    """``rosterd.toml``, and by organization the customers' files, read again to say where each key stands. Raises as
    ``load`` does where a file is another than the one that was loaded."""
    installation = read_installation(settings.file, os.environ)
    faults = list(installation.faults)
    customers: dict[str, Document] = {}
    for name, customer in settings.customers.items():
        found = _customer_file(customer.file)
        faults += found.faults
        if found.document is not None:
            customers[name] = found.document
    if installation.document is None or faults:
        _raise(faults)
    assert installation.document is not None  # noqa: S101  # what could not be read has a fault
    return installation.document, customers


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
        document = replace(document, overridden={path: found.name for path, found in overrides.items()})
        loaded = _validated(InstallationSettings, alone, document, faults)
    if loaded is None:
        _raise(faults)
        raise AssertionError("what is not loaded has a fault")
    return loaded.server


def load_customer(file: Path) -> Customer:
    """One organization file by itself, to try it; raises as ``load`` does."""
    found = _customer_file(file)
    if len(found.faults) > 1:
        raise ManyErrors(found.faults, next_step="correct it, then try it again")
    if found.customer is None or found.faults:
        raise found.faults[0]
    return found.customer


def _raise(faults: Sequence[RosterdError]) -> None:
    if len(faults) > 1:
        for fault in faults:  # said once, at the end
            fault.next_step = fault.next_step.removesuffix(NEXT_STEP)
        raise ManyErrors(faults, next_step=NEXT_STEP)
    if faults:
        raise faults[0]


def _elsewhere(file: Path) -> str:
    """What to do where there is no configuration: name the one that a folder above has, or make one."""
    folders = file.absolute().parent.parents
    above = next((folder / file.name for folder in folders if (folder / file.name).is_file()), None)
    if above is not None:
        return f"there is one at {quoted(above)}: name it with -c FILE or ROSTERD_CONFIG"
    return f"rosterd init {quoted(file.parent)}; or name yours: -c FILE, or ROSTERD_CONFIG"


def _read(file: Path, faults: list[RosterdError]) -> Document | None:
    try:
        return _document(file)
    except BadInput as error:
        faults.append(error)
    except FileNotFoundError:
        faults.append(BadInput("there is no such file", where=quoted(file), next_step=_elsewhere(file)))
    except OSError as error:
        faults.append(BadInput(f"cannot be read: {error.strerror}", where=quoted(file), next_step="check its rights"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = error.object[error.object.rfind(b"\n", 0, error.start) + 1 :].partition(b"\n")[0]
        shown = found.decode("ascii", "replace").strip()[:_LONGEST]
        what = f"is not UTF-8 text: {shown!r}"
        step = "save it as UTF-8 in your editor, then run: rosterd check"
        faults.append(BadInput(what, where=f"{quoted(file)}:{line}", next_step=step))
    except tomllib.TOMLDecodeError as error:
        place = _AT.search(str(error))
        line_end = f":{place[1]}" if place else ""
        faults.append(BadInput(f"broken TOML: {error}", where=f"{quoted(file)}{line_end}", next_step=NEXT_STEP))
    return None


def _document(file: Path) -> Document:
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its other end
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BadInput("is no file", where=quoted(file), next_step="move it away, or name another")
    with open(handle, "rb") as opened:
        content = opened.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BadInput(f"has more than {_MOST_BYTES} bytes", where=quoted(file), next_step=NEXT_STEP)
    _require_form(file, content)
    text = content.decode("utf-8-sig")  # editors write a byte order mark that TOML knows nothing of
    try:
        raw = tomllib.loads(text)
        deep = _deeper(raw, _DEEPEST)
    except RecursionError:
        deep = True
    if deep:
        raise BadInput(f"is nested more than {_DEEPEST} deep", where=quoted(file), next_step=NEXT_STEP)
    if wide := _wider(raw):
        raise BadInput(f"has more than {wide}", where=quoted(file), next_step=NEXT_STEP)
    spaced: dict[Place, str] = {}
    return Document(file, _bare(raw, (), spaced), locate(text), spaced)


def _require_form(file: Path, content: bytes) -> None:
    """Raise ``BadInput`` for text that no TOML reader takes, with the command that makes it right."""
    form = next((name for mark, name in _OTHER_FORMS.items() if content.startswith(mark)), "")
    if not form and len(content) > 1 and content[:2].count(0) == 1:
        form = "UTF-16LE" if content[1] == 0 else "UTF-16BE"
    if form:
        what, command = "is UTF-16 text, and TOML is UTF-8", f"iconv -f {form} -t UTF-8 {quoted(file)}"
    elif b"\r" in content and b"\n" not in content:
        what, command = "its lines end with a carriage return alone", f"tr '\\r' '\\n' < {quoted(file)}"
    else:
        return
    other = quoted(f"{file}.new")
    raise BadInput(what, where=quoted(file), next_step=f"{command} > {other} && mv {other} {quoted(file)}")


def _bare(value: Any, path: Place, spaced: dict[Place, str]) -> Any:
    """The value without spaces around any text in it; those that had some are put into ``spaced``."""
    if isinstance(value, dict):
        return {key: _bare(item, (*path, key), spaced) for key, item in value.items()}
    if isinstance(value, list):
        return [_bare(item, (*path, position), spaced) for position, item in enumerate(value)]
    if isinstance(value, str) and (bare := value.strip()) != value:
        spaced[path] = value
        return bare
    return value


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


def _wider(raw: Any) -> str:
    """What there is too much of, whatever it means: naming each fault of very many holds everybody up."""
    layer = [raw]
    while layer:
        for item in layer:
            if len(item) > (_MOST_KEYS if isinstance(item, dict) else _MOST_ITEMS):
                return f"{_MOST_KEYS} keys in a table" if isinstance(item, dict) else f"{_MOST_ITEMS} items in a list"
        layer = [
            inner
            for item in layer
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
    return ""


def _validated(
    model: type[M],
    raw: dict[str, Any],
    document: Document,
    faults: list[RosterdError],
) -> M | None:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        for path, text in islice(model_faults(model, raw, error), _MOST_FAULTS):
            faults.append(BadInput(text, where=document.where(path), next_step=NEXT_STEP))
        if (left := error.error_count() - _MOST_FAULTS) > 0:
            faults.append(BadInput(f"and {left} more like these", where=document.where(()), next_step=NEXT_STEP))
    return None


def _customer_file(file: Path, installation: InstallationSettings | None = None) -> CustomerFile:
    faults: list[RosterdError] = []
    document = _read(file, faults)
    if document is None:
        return CustomerFile(file, None, None, tuple(faults))
    loaded = _validated(OrganizationSettings, document.raw, document, faults)
    for path, text in islice(references.faults(document.raw), _MOST_FAULTS):
        faults.append(BadInput(text, where=document.where(path), next_step=NEXT_STEP))
    if loaded and installation and (own := loaded.foreign_sender(installation.mail)):
        step = f'take an address of them, or declare [[domains]] name = "{own}" and prove it, then run: rosterd check'
        what = f"mail may come from a domain of this file or from that of [mail] sender in rosterd.toml, not from {own}"
        faults.append(BadInput(what, where=document.where(("mail", "sender")), next_step=step))
    customer = Customer(anchored(loaded, file.parent), file, _mark(document.raw)) if loaded else None
    return CustomerFile(file, document, customer, tuple(faults))


def _mark(raw: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(raw, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _with_claims(files: Sequence[CustomerFile]) -> list[RosterdError]:
    """Every fault of every file, and what a file claims that an earlier one has."""
    faults: list[RosterdError] = []
    owners: dict[str, str] = {}
    for item in files:
        faults += item.faults
        for key, path in references.claims(item.document.raw) if item.document else ():
            if key in owners and item.document:
                text = f"{key} is also claimed by {owners[key]}"
                faults.append(BadInput(text, where=item.document.where(path), next_step=NEXT_STEP))
            owners.setdefault(key, item.where)
    return faults


def _anchored_installation(settings: InstallationSettings, folder: Path) -> InstallationSettings:
    """Secrets, authorities, database and warehouse folders made independent of where the command was started."""
    settings = anchored(settings, folder)
    database, storage = settings.database, settings.storage
    if database.url.startswith("sqlite:///"):
        place = (folder / database.url.removeprefix("sqlite:///")).absolute()
        database = database.model_copy(update={"url": f"sqlite:///{place}"})
    if storage.warehouse.startswith("file:") and not storage.warehouse.startswith("file://"):
        place = (folder / storage.warehouse.removeprefix("file:")).absolute()
        storage = storage.model_copy(update={"warehouse": f"file:{place}"})
    outbound = settings.outbound
    if outbound.ca:
        outbound = outbound.model_copy(update={"ca": str((folder / outbound.ca).absolute())})
    return settings.model_copy(update={"database": database, "storage": storage, "outbound": outbound})


def anchored(model: M, folder: Path) -> M:
    """The same settings with every path and every ``file:`` secret made relative to ``folder``."""
    changed = {name: _anchor(getattr(model, name), folder) for name in type(model).model_fields}
    return model.model_copy(update=changed)


def _anchor(value: Any, folder: Path) -> Any:
    if isinstance(value, SecretRef):
        return value.anchored(folder.absolute())
    if isinstance(value, Path):
        return folder.absolute() / value
    if isinstance(value, BaseModel):
        return anchored(value, folder)
    if isinstance(value, tuple):
        return tuple(_anchor(item, folder) for item in value)
    return value


def quoted(file: Path | str) -> str:
    """A path as messages and commands repeat it: relative to the working folder where that is shorter to read, and
    quoted where a shell needs that."""
    try:
        return shlex.quote(str(Path(file).absolute().relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(file))
