"""The files that settings name: whether they are there, can be read and are what they should be, and who else can.

Reads; changes no file and no right.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from os import geteuid, stat_result
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from connector.directory.base import CheckLine
from connector.directory.settings import LdapSettings, LdifSettings
from ledger.counted import counted
from ledger.errors import RosterdError
from ledger.modes import open_to_others
from ledger.secret import SecretRef
from rosterd.checks.keys import CustomerKeys, Keys, secrets_of
from rosterd.clock import utc_now
from rosterd.settings import Settings
from rosterd.toml_places import Path as Place
from rosterd.toml_places import show_path

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_AUTHORITIES = frozenset({"ca", "ca_file", "tls_ca"})
_HMAC_KEYS = frozenset({("secrets", "pepper"), ("secrets", "pseudonym_key")})
_SOON = timedelta(days=21)


def secrets(keys: Keys) -> Iterator[CheckLine]:
    """Every secret can be read; our SAML key is looked at by itself, since it is made at its first use."""
    for path, value in keys.values():
        if not isinstance(value, SecretRef) or path[0] == "saml":
            continue
        try:
            text = value.reveal_key("").decode() if path in _HMAC_KEYS else value.reveal()
        except RosterdError as error:
            yield keys.fault(path, error.what, error.next_step)
            continue
        yield CheckLine(True, f"{show_path(path)} can be read")
        where = quote(value.name) if value.scheme == "file" else f"the variable {value.name}"
        if text != text.strip() or "\n" in text:
            odd = "has more than one line" if "\n" in text.strip() else "begins or ends with a space"
            yield keys.note(path, f"the secret {odd}, which is taken for a part of it", f"look at {where}")


def named_files(keys: Keys) -> Iterator[CheckLine]:
    """Authorities are certificates in PEM that have not ended; what else a key names is a file that can be read."""
    for path, value in keys.values():
        if value and path[-1] in _AUTHORITIES:
            yield from _certificates(keys, path, keys.folder / str(value))
    if not isinstance(keys, CustomerKeys):
        return
    for position, item in enumerate(keys.settings.directories):
        place: Place = ("directories", position)
        if isinstance(item, LdapSettings) and item.tls_certificate:
            yield from _own_certificate(keys, place, item)
        if isinstance(item, LdifSettings):
            yield from _file(keys, (*place, "file"), keys.folder / item.file)
    sso = keys.settings.sso
    if sso is not None and sso.metadata.startswith("file:"):
        yield from _file(keys, ("sso", "metadata"), keys.folder / sso.metadata.removeprefix("file:"))


def open_files(settings: Settings) -> list[CheckLine]:
    """Databases, keys and published tables that others may read; one line that says so when there are none."""
    found = [path for path in _private(settings) if open_to_others(path)]
    shown = [
        CheckLine(False, f"{quote(str(path))} can be read by others", f"chmod go-rwx {quote(str(path))}")
        for path in found
    ]
    return shown or [CheckLine(True, "databases, keys and tables are readable by their owner only")]


def owners(settings: Settings) -> Iterator[CheckLine]:
    """Who else could put other files in the place of the admin files, of keys and of the ledger: whose they are, and
    in which folder. Whoever writes an admin file says which directory is believed, and whose keys are read."""
    admin = [settings.file.absolute(), *(item.file.absolute() for item in settings.customers.values())]
    ours = _ours(settings)
    open_folders: dict[Path, Path] = {}
    for path in dict.fromkeys([*admin, *_private(settings)]):
        try:
            found = path.stat()
        except OSError:
            continue  # a missing one is said elsewhere
        shown = quote(str(path))
        if found.st_uid not in ours:
            what = f"{shown} belongs to {_user(found.st_uid)}, who can change it at any time"
            yield CheckLine(False, what, f'sudo chown "$(id -un)" {shown}')
        if path in admin and found.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
            everybody = bool(found.st_mode & stat.S_IWOTH)
            who = "everybody" if everybody else f"the group {_group(found.st_gid)}"
            fix = f"chmod go-w {shown}"
            yield CheckLine(not everybody, f"{shown} can be written by {who}", fix, note=not everybody)
        elif path not in admin and path.is_file() and _shared(path, found):
            what = f"{shown} can be read by the group {_group(found.st_gid)}"
            yield CheckLine(True, what, f"chmod g-rwx {shown}", note=True)
        for folder in path.resolve().parents:
            if _replaceable(folder):
                open_folders.setdefault(folder, path)
    for folder, path in open_folders.items():
        what = f"everybody can write into {quote(str(folder))}, and so put another file in the place of {path.name}"
        yield CheckLine(False, what, f"chmod o-w {quote(str(folder))}")


def passed_over(settings: Settings) -> Iterator[CheckLine]:
    """Files beside those of the organizations that nobody reads because of how their name ends."""
    pattern = Path(settings.installation.organizations)
    if pattern.name != "*.toml":
        return
    folder = settings.file.absolute().parent / pattern.parent
    if any(character in str(pattern.parent) for character in "*?["):
        return
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if ".toml" in path.name.lower() and path.suffix != ".toml" and not path.name.endswith(("~", ".new")):
            name = path.name[: path.name.lower().index(".toml")] + ".toml"
            fix = f"if it is meant: mv {quote(str(path))} {quote(str(folder / name))}"
            yield CheckLine(True, f"{quote(str(path))} is not read: its name does not end in .toml", fix, note=True)


def _private(settings: Settings) -> list[Path]:
    """Databases, published tables, and every secret that is a file; our own certificate is none."""
    installation = settings.installation
    databases, tables = installation.database.folder, installation.storage.folder
    models = [installation, *(item.settings for item in settings.customers.values())]
    paths = [Path(item.name) for item in secrets_of(*models) if item.scheme == "file"]
    paths += sorted(databases.glob("*.db*")) if databases else []
    paths += [tables] if tables else []
    certificate = Path(installation.saml.signing_certificate.name)
    return [path for path in dict.fromkeys(paths) if path != certificate]


def _ours(settings: Settings) -> frozenset[int]:
    """Users whose files are trusted: root, whoever runs this, and, where root runs it, whose the ledger is."""
    ours = {0, geteuid()}
    folder = settings.installation.database.folder
    if geteuid() == 0 and folder is not None and folder.exists():
        ours.add(folder.stat().st_uid)
    return frozenset(ours)


def _shared(path: Path, found: stat_result) -> bool:
    """Whether our own file is open to its group, though nobody but we need it; others' we may read by that right."""
    ours, read = found.st_uid == geteuid(), bool(found.st_mode & stat.S_IRGRP)
    return ours and read and not open_to_others(path) and bool(path.parent.stat().st_mode & stat.S_IXGRP)


def _replaceable(folder: Path) -> bool:
    """Whether everybody may rename what lies in the folder; a sticky one (as /tmp is) lets only owners."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _group(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return f"{number}"


def _file(keys: Keys, path: Place, file: Path) -> Iterator[CheckLine]:
    """One line where the file is missing, empty or cannot be read."""
    if isinstance(content := _content(keys, path, file), CheckLine):
        yield content
    elif not content.strip():
        yield keys.fault(path, f"{quote(str(file))} is empty", "put its content there, or correct the path")


def _content(keys: Keys, path: Place, file: Path) -> bytes | CheckLine:
    """What the file holds, or the line that says why it cannot be read."""
    shown = quote(str(file))
    try:
        if not file.exists():
            beside = sorted(item.name for item in file.parent.glob("*")) if file.parent.is_dir() else []
            near = next((name for name in beside if name.lower() == file.name.lower()), "")
            hint = f"write {near!r}: letters count in capitals too" if near else "put it there, or correct the path"
            return keys.fault(path, f"there is no file {shown}", hint)
        if not file.is_file():
            return keys.fault(path, f"{shown} is no file", "name the file itself")
        return file.read_bytes()
    except OSError as error:
        fix = f"let whoever runs rosterd read it: ls -ld {quote(str(file.parent))} {shown}"
        return keys.fault(path, f"{shown} cannot be read: {error.strerror}", fix)


def _certificates(keys: Keys, path: Place, file: Path) -> Iterator[CheckLine]:
    """The authorities in a PEM file: at least one that has not ended."""
    from cryptography import x509

    content = _content(keys, path, file)
    if isinstance(content, CheckLine):
        yield content
        return
    shown = quote(str(file))
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError:
        yield keys.fault(path, f"{shown} holds no certificate in PEM", _pem_fix(content, file))
        return
    yield from _terms(keys, path, shown, [(item.subject.rfc4514_string(), item) for item in found], utc_now())


def _terms(
    keys: Keys, path: Place, shown: str, found: Sequence[tuple[str, Certificate]], now: datetime
) -> Iterator[CheckLine]:
    """What has ended, or will soon."""
    name = show_path(path)
    ended = [f"{who} on {item.not_valid_after_utc:%Y-%m-%d}" for who, item in found if item.not_valid_after_utc < now]
    fix = f"put the current certificate into {shown}"
    if len(ended) == len(found):
        yield keys.fault(path, f"the certificate in {shown} has ended: {_some(ended)}", fix)
        return
    soon = [
        f"{who} on {item.not_valid_after_utc:%Y-%m-%d}"
        for who, item in found
        if now <= item.not_valid_after_utc < now + _SOON
    ]
    if ended:
        yield keys.note(path, f"certificates in {shown} have ended: {_some(ended)}", fix)
    elif soon:
        yield keys.note(path, f"certificates in {shown} end soon: {_some(soon)}", fix)
    else:
        yield CheckLine(True, f"{name}: {counted(len(found), 'certificate')}, none of which ends soon")


def _own_certificate(keys: Keys, place: Place, item: LdapSettings) -> Iterator[CheckLine]:
    """A certificate of ours and its key: both can be read without a passphrase, and belong together."""
    import ssl

    files = {name: keys.folder / getattr(item, name) for name in ("tls_certificate", "tls_key")}
    for name, file in files.items():
        if isinstance(content := _content(keys, (*place, name), file), CheckLine):
            yield content
            return
        if name == "tls_key" and b"ENCRYPTED" in content:
            what = f"{quote(str(file))} has a passphrase, which nobody is there to type"
            fix = f"openssl pkey -in {quote(str(file))} -out {quote(f'{file}.open')}, and name that file (chmod 600)"
            yield keys.fault((*place, name), what, fix)
            return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(files["tls_certificate"], files["tls_key"])
    except OSError as error:  # SSLError is one
        said = (
            "the key is of another certificate"
            if "MISMATCH" in str(error)
            else "they are no certificate and key in PEM"
        )
        fix = "name a certificate in PEM and the key it was made for"
        yield keys.fault((*place, "tls_key"), f"tls_certificate and tls_key cannot be used: {said}", fix)
        return
    yield from _certificates(keys, (*place, "tls_certificate"), files["tls_certificate"])


def _pem_fix(content: bytes, file: Path) -> str:
    if b"PRIVATE KEY-----" in content:
        return "it holds a private key: name the file of the authority's certificate instead"
    if content[:1] == b"\x30":  # a DER sequence
        return f"openssl x509 -inform DER -in {quote(str(file))} -out {quote(f'{file}.pem')}, and name that file"
    return "export the authority's certificate as PEM (it begins with -----BEGIN CERTIFICATE-----), or correct the path"


def _some(found: Iterable[str]) -> str:
    names = list(found)
    return "; ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
