"""``rosterd check`` without network: secrets, files, names, addresses, and what the programs here need."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from shlex import quote

from connector.directory.base import CheckLine
from ledger.errors import RosterdError
from rosterd.checks import addresses, directories, files, mail
from rosterd.checks.keys import failed, keys_of
from rosterd.clock import utc_now
from rosterd.settings import Settings

_COUNTED = (("directory", "directories"), ("mapping", "mappings"), ("Team", "Teams"))


def offline(settings: Settings) -> Iterator[CheckLine]:
    """Every step that reads files only; what the files say is right by itself, or they would not have been loaded."""
    installation, customers = keys_of(settings)
    for keys in (installation, *customers.values()):
        yield from directories.spaces(keys)
        yield from files.secrets(keys)
        yield from files.named_files(keys)
    yield from files.open_files(settings)
    yield from files.owners(settings)
    yield from files.passed_over(settings)
    yield addresses.public_address(settings)
    yield from addresses.listeners(settings, installation)
    yield own_certificate(settings)
    found = shutil.which("xmlsec1") is not None
    yield CheckLine(found, "xmlsec1 (signatures of identity providers)", "apt-get install xmlsec1")
    if not settings.customers:
        pattern = settings.installation.organizations
        fix = "write one (config/organizations/acme.example.toml has every key), or correct organizations"
        yield installation.fault(("organizations",), f"no file is {quote(pattern)}", fix)
    for name, keys in customers.items():
        yield from directories.names(keys)
        what = (keys.settings.directories, keys.settings.mappings, keys.settings.teams)
        counts = [len(items) for items in what]
        said = (f"{n} {one if n == 1 else many}" for n, (one, many) in zip(counts, _COUNTED, strict=True))
        yield CheckLine(True, f"{name}: {', '.join(said)}")
    yield from mail.templates(settings, customers)
    folder = settings.installation.database.folder
    if folder is not None and not (file := folder / "ledger.db").is_file():
        fix = "rosterd serve makes one in a fresh folder; where there was one, restore its backup"
        yield CheckLine(False, f"there is no ledger: {quote(str(file))}", fix)


def own_certificate(settings: Settings) -> CheckLine:
    """The key that signs our sign-in requests has its certificate, and when that ends."""
    from connector.sso.saml.key_status import KeyStatus
    from rosterd.own_side import own_keys

    try:
        keys = own_keys(settings)
    except RosterdError as error:
        return failed("the key that signs sign-in requests", error)
    if keys is None:
        return CheckLine(True, "the key that signs sign-in requests is made at its first use")
    found = KeyStatus(keys, utc_now())
    if found.forecast:
        return CheckLine(not found.expired, f"{found.forecast}: {found.next_step}", found.next_step)
    ends = keys.signing.certificate.value.not_after
    return CheckLine(True, f"our own signing certificate is good until {ends:%Y-%m-%d} ({keys.state.value})")
