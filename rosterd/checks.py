"""What ``rosterd check`` looks at, step by step; each failed step carries its fix.

Offline steps read files only; live steps really connect, and import what they connect with. Nothing here changes
anything.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from connector.directory.base import CheckLine, ReadRequest, Source
from ledger.errors import RosterdError
from ledger.modes import open_to_others
from ledger.secret import SecretRef
from rosterd.clock import utc_now
from rosterd.readiness import ask_daemon
from rosterd.settings import Settings

if TYPE_CHECKING:
    from rosterd.service import Service

_DEADLINE = timedelta(minutes=2)


def offline(settings: Settings) -> list[CheckLine]:
    """Secrets can be read, ``xmlsec1`` is there, every customer's policy builds."""
    section = settings.installation.secrets
    lines = [_secret("secrets.pepper", section.pepper), _secret("secrets.pseudonym_key", section.pseudonym_key)]
    if settings.installation.database.password is not None:
        lines.append(_secret("database.password", settings.installation.database.password))
    lines += _authorities(settings)
    lines += open_files(settings)
    lines += [public_address(settings), own_certificate(settings)]
    found = shutil.which("xmlsec1") is not None
    lines.append(CheckLine(found, "xmlsec1 (signatures of identity providers)", "apt-get install xmlsec1"))
    if not settings.customers:
        lines.append(CheckLine(False, "organizations: no file was found", "rosterd init, or correct organizations ="))
    for name, customer in settings.customers.items():
        described = (
            f"{name}: {len(customer.settings.directories)} directories, {len(customer.settings.mappings)} mappings,"
            f" {len(customer.settings.teams)} Teams"
        )
        lines.append(CheckLine(True, described))
    folder = settings.installation.database.folder
    if folder is not None and not (file := folder / "ledger.db").is_file():
        fix = "rosterd serve makes one in a fresh folder; where there was one, restore its backup"
        lines.append(CheckLine(False, f"there is no ledger: {file}", fix))
    return lines


def _authorities(settings: Settings) -> Iterator[CheckLine]:
    """Whether ``[outbound] ca`` holds certificates, where it is set."""
    ca = settings.installation.outbound.ca
    if not ca:
        return
    from access.outbound.door import authorities

    try:
        authorities(ca)
    except RosterdError as error:
        yield _failed("outbound.ca", error)
    else:
        yield CheckLine(True, "outbound.ca can be used")


def public_address(settings: Settings) -> CheckLine:
    """Browsers keep no cookie for an identity provider's answer at a plain http address, but on this machine."""
    url = settings.installation.server.public_url
    parts = urlsplit(url)
    ok = parts.scheme == "https" or is_loopback(parts.hostname or "")
    fix = f'put a proxy with TLS in front and set [server] public_url = "https://{parts.netloc}{parts.path}"'
    said = f"public_url {url}" + ("" if ok else ": nobody can sign in over plain http (a Secure cookie is needed)")
    return CheckLine(ok, said, fix)


def is_loopback(host: str) -> bool:
    """Whether a host of an address is this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def own_certificate(settings: Settings) -> CheckLine:
    """The key that signs our sign-in requests has its certificate, and when that ends."""
    from connector.sso.saml.key_status import KeyStatus
    from rosterd.own_side import own_keys

    try:
        keys = own_keys(settings)
    except RosterdError as error:
        return _failed("the key that signs sign-in requests", error)
    if keys is None:
        return CheckLine(True, "the key that signs sign-in requests is made at its first use")
    found = KeyStatus(keys, utc_now())
    if found.forecast:
        return CheckLine(not found.expired, f"{found.forecast}: {found.next_step}", found.next_step)
    ends = keys.signing.certificate.value.not_after
    return CheckLine(True, f"our own signing certificate is good until {ends:%Y-%m-%d} ({keys.state.value})")


async def confirm_moved(service: Service) -> AsyncIterator[CheckLine]:
    """Write down that our address is another now; which providers have to be changed."""
    from connector.sso.provider import own_address
    from rosterd.own_side import own_side
    from rosterd.service import actor

    for name in service.settings.customers:
        own = own_side(service.settings, name)
        for move in await own_address.confirm_moved(service.ledger, own, actor=actor(), now=service.clock()):
            yield CheckLine(True, f"moved: {move.line}")


async def own_addresses(service: Service) -> AsyncIterator[CheckLine]:
    """Every provider knows us under the address that we have (N17)."""
    from connector.sso.provider import own_address
    from rosterd.own_side import own_side

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            moved = await own_address.moves(reader, own_side(service.settings, name), service.clock())
            waits = await own_address.waiting(reader, own_side(service.settings, name), service.clock())
        for move in moved:
            fix = "set [server] public_url back; or, when the address moved: rosterd check --moved"
            yield CheckLine(False, f"our address is another than the one that was tested: {move.line}", fix)
        for move in waits:
            said = f"{name}: its identity provider was not tested under the address that we have since it moved"
            yield CheckLine(True, said, move.test, note=True)
        if not moved and not waits:
            yield CheckLine(True, f"{name}: its identity provider was given the address that we have")


def open_files(settings: Settings) -> list[CheckLine]:
    """Databases, keys and published tables that others may read; one line that says so when there are none."""
    installation = settings.installation
    databases, tables = installation.database.folder, installation.storage.folder
    paths = [Path(item.name) for item in _references(settings) if item.scheme == "file"]
    paths += sorted(databases.glob("*.db*")) if databases else []
    paths += [tables] if tables else []
    certificate = Path(installation.saml.signing_certificate.name)
    found = [path for path in dict.fromkeys(paths) if path != certificate and open_to_others(path)]
    shown = [CheckLine(False, f"{path} can be read by others", f"chmod go-rwx {path}") for path in found]
    return shown or [CheckLine(True, "databases, keys and tables are readable by their owner only")]


def _references(settings: Settings) -> Iterator[SecretRef]:
    """Every secret that any file refers to."""
    left: list[Any] = [settings.installation, *(item.settings for item in settings.customers.values())]
    while left:
        item = left.pop()
        if isinstance(item, SecretRef):
            yield item
        elif isinstance(item, BaseModel):
            left += [getattr(item, name) for name in type(item).model_fields]
        elif isinstance(item, tuple):
            left += item


async def known_offerings(service: Service) -> AsyncIterator[CheckLine]:
    """Every offering that a mapping names is in the ledger."""
    from ledger.store import seats
    from rosterd.service import policy

    for name, customer in service.settings.customers.items():
        async with service.ledger.read(name) as reader:
            known = [item.code for item in await seats.open_offerings(reader)]
        line = CheckLine(True, f"{name}: every offering of its mappings is known")
        try:
            policy(customer).require_offerings(known)
        except RosterdError as error:
            line = _failed(f"{name}: offerings", error)
        yield line


async def declared_domains(service: Service) -> AsyncIterator[CheckLine]:
    """Every registered domain is in its organization's file, and those that are in the file only are named."""
    from connector.sso.gate import evidence
    from connector.sso.gate.explain_gate import missing_steps

    for name, customer in service.settings.customers.items():
        listed = [item.name for item in customer.settings.domains]
        async with service.ledger.read(name) as reader:
            registered = (await evidence.known(reader)).domains
        for domain in registered:
            if domain not in listed:
                [step] = missing_steps(domain, ["domain_undeclared"])
                what, _, fix = step.partition(" → ")
                yield CheckLine(False, f"{name}: {what}", fix)
        for domain in listed:
            if domain not in registered:
                fix = f"rosterd sso add {domain}"
                yield CheckLine(True, f"{name}: {domain} is in its file and was not added", fix, note=True)


async def live(service: Service) -> AsyncIterator[CheckLine]:
    """Database, warehouse, every directory, every domain's gate, and the daemon where one runs."""
    dialect = service.ledger.dialect
    yield await _step(f"database ({dialect}) answers and its schema is current", service.ledger.migrate())
    yield await _step("published tables can be opened", asyncio.to_thread(service.warehouse))
    for name in service.settings.customers:
        async for line in _directories(service, name):
            yield line
        async for line in _domains(service, name):
            yield line
    yield await asyncio.to_thread(ask_daemon, service.settings.installation.server, required=False)


async def audits(service: Service) -> AsyncIterator[CheckLine]:
    """The audit chain of every organization, and whether its history runs forward."""
    from ledger.store import audit, histories

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            verdict = await audit.verify(reader)
            wrong = await histories.backward(reader)
        if verdict.broken is None:
            yield CheckLine(True, f"{name}: audit: {verdict.events} events, sealed through {verdict.sealed_through}")
        else:
            fix = "somebody changed the audit: find out who, compare with a backup and the exported heads"
            yield CheckLine(False, f"{name}: audit is broken: {verdict.broken}", fix)
        fix = "rows were changed beside rosterd: compare with a backup"
        said = f"{name}: history: {'; '.join(wrong)}" if wrong else f"{name}: history: every interval runs forward"
        yield CheckLine(not wrong, said, fix if wrong else "")


async def _directories(service: Service, name: str) -> AsyncIterator[CheckLine]:
    try:
        async with service.setup(name) as setup:
            for item in setup.sources:
                request = ReadRequest(setup.policy.groups_of(item.source.id), item.rules.requested, _DEADLINE)
                async for line in _directory(item.source, request):
                    yield CheckLine(line.ok, f"{name}/{item.source.id}: {line.what}", line.fix)
    except RosterdError as error:
        yield _failed(f"{name}: directories", error)


async def _directory(source: Source, request: ReadRequest) -> AsyncIterator[CheckLine]:
    try:
        for line in await asyncio.wait_for(source.check(request), _DEADLINE.total_seconds()):
            yield line
    except RosterdError as error:
        yield _failed("the directory", error)
    except TimeoutError:
        yield CheckLine(False, f"no answer within {_DEADLINE}", "check address and firewall")


async def _domains(service: Service, name: str) -> AsyncIterator[CheckLine]:
    from connector.sso.gate import evidence
    from connector.sso.gate.decision import GateState

    async with service.ledger.read(name) as reader:
        gates = await evidence.gates(reader, now=service.clock())
    for domain, gate in sorted(gates.items()):
        reasons = ", ".join((*gate.reasons, *gate.warnings))
        what = f"{name}: sign-on of {domain} is {gate.state}" + (f" ({reasons})" if reasons else "")
        yield CheckLine(gate.state is not GateState.UNKNOWN, what, f"rosterd sso status --organization {name}")


async def _step(what: str, work: Awaitable[object]) -> CheckLine:
    try:
        await work
    except RosterdError as error:
        return _failed(what, error)
    return CheckLine(True, what)


def _secret(key: str, reference: SecretRef) -> CheckLine:
    try:
        reference.reveal()
    except RosterdError as error:
        return CheckLine(False, f"{key}: {error.what}", error.next_step or "rosterd init makes the keys")
    return CheckLine(True, f"{key} can be read")


def _failed(what: str, error: RosterdError) -> CheckLine:
    where = f" ({error.where})" if error.where else ""
    return CheckLine(False, f"{what}: {error.what}{where}", error.next_step)
