"""The steps by which our signing key is replaced, on its two files (N17).

``announce`` → providers import our metadata again → ``switch`` → ``drop``; ``back`` undoes the switch. We go on signing
with the old key until ``switch``: a provider that verifies our requests knows only what it imported, so the new
certificate has to be there before the first request that it must verify. Between any two of the writes below both
files together mean one of the three states of ``KeyState``; ``signing`` says how they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from connector.sso.saml.signing import (
    BACKDATED,
    BITS,
    LIFE,
    KeyState,
    OwnKeys,
    held,
    make_certificate,
    read_keys,
    write_whole,
)
from connector.sso.settings import SamlSettings
from ledger.errors import BadInput, Refused

_MODE = 0o600
_COMMAND = "rosterd sso rotate-key"


class Step(StrEnum):
    """What is asked for, by the word that is written to the audit after ``own_key.``."""

    ANNOUNCE = "announced"
    SWITCH = "switched"
    BACK = "switched_back"
    DROP = "dropped"


@dataclass(frozen=True, slots=True)
class Stepped:
    """The keys after a step; ``changed`` is False where it had been done already."""

    keys: OwnKeys
    changed: bool


def take_step(settings: SamlSettings, step: Step, *, name: str, now: datetime, sure: bool = False) -> Stepped:
    """Do one step; doing it twice is doing it once. ``name``: the new certificate's common name.

    ``sure``: drop a next key that has never signed. Raises ``Refused`` for a step out of order, ``Busy`` while another
    process does one, ``BadInput`` for keys that are not in two files that we may write.
    """
    files = _Files.of(settings)
    with _writing(), held(files.key):
        keys = read_keys(settings)
        act: dict[Step, Callable[[], bool]] = {
            Step.ANNOUNCE: lambda: _announce(files, keys, name, now),
            Step.SWITCH: lambda: _switch(files, keys),
            Step.BACK: lambda: _back(files, keys),
            Step.DROP: lambda: _drop(files, keys, sure),
        }
        changed = act[step]()
        return Stepped(read_keys(settings), changed)


@dataclass(frozen=True, slots=True)
class _Files:
    key: Path
    certificate: Path

    @classmethod
    def of(cls, settings: SamlSettings) -> _Files:
        """Where both files really are: what a link points at is replaced, not the link."""
        references = (settings.signing_key, settings.signing_certificate)
        for setting, reference in zip(("saml.signing_key", "saml.signing_certificate"), references, strict=True):
            if reference.scheme != "file":
                raise BadInput(
                    f"{reference} cannot be written from here: whoever keeps that secret changes it",
                    where=setting,
                    next_step=f"add the next certificate to {settings.signing_certificate} below the present one and"
                    " restart; when every provider has imported our metadata again, put the next key first into"
                    f" {settings.signing_key} and restart; then take the former certificate and key out",
                )
        key, certificate = (Path(reference.name).resolve() for reference in references)
        if key == certificate:
            raise BadInput(
                "key and certificate are in one file: each step is one file that is replaced",
                where=str(key),
                next_step="put them into two files and name these in [saml] signing_key and signing_certificate",
            )
        return cls(key, certificate)

    def put_keys(self, *blocks: bytes) -> None:
        """Replace the key file; a group that may read it still may (mode 0640 stays, others never)."""
        write_whole(self.key, b"".join(blocks), _MODE | (self.key.stat().st_mode & 0o040))

    def put_certificates(self, *blocks: bytes) -> None:
        """Replace the certificate file; it keeps its mode."""
        write_whole(self.certificate, b"".join(blocks), self.certificate.stat().st_mode & 0o777)


def _announce(files: _Files, keys: OwnKeys, name: str, now: datetime) -> bool:
    if keys.state is KeyState.ANNOUNCED:
        return False
    if keys.state is KeyState.SWITCHED:
        raise Refused(
            "the former key's certificate is still published",
            where=str(files.certificate),
            next_step=f"{_COMMAND} --drop, then {_COMMAND}",
        )
    present = keys.signing.certificate
    starts = max(now - BACKDATED, present.value.not_before + timedelta(seconds=1))  # the order tells what is next
    key, certificate = make_certificate(name, starts, now + LIFE, bits=BITS)
    files.put_keys(keys.signing.key, key)  # first: nothing is announced whose key is not kept
    files.put_certificates(present.pem, certificate)
    return True


def _switch(files: _Files, keys: OwnKeys) -> bool:
    if keys.state is KeyState.SWITCHED:
        return False
    if keys.state is KeyState.STEADY:
        raise Refused("no next key is announced", where=str(files.certificate), next_step=_COMMAND)
    return _exchange(files, keys)


def _back(files: _Files, keys: OwnKeys) -> bool:
    if keys.state is KeyState.ANNOUNCED:
        return False
    if keys.state is KeyState.STEADY:
        raise Refused(
            "there is no former key any more", where=str(files.key), next_step=f"{_COMMAND} begins a new rotation"
        )
    return _exchange(files, keys)


def _exchange(files: _Files, keys: OwnKeys) -> bool:
    """Let the other key sign: one rename."""
    if keys.waiting is None:
        raise BadInput(
            "the key of the certificate that is published beside ours is not here",
            where=str(files.key),
            next_step=f"add it below the key that signs; or {_COMMAND} --drop --yes takes its certificate away",
        )
    files.put_keys(keys.waiting.key, keys.signing.key)
    return True


def _drop(files: _Files, keys: OwnKeys, sure: bool) -> bool:
    if keys.state is KeyState.ANNOUNCED and not sure:
        raise Refused(
            "the other certificate is the next key's, which has not signed yet",
            where=str(files.certificate),
            next_step=f"{_COMMAND} --finish signs with it; {_COMMAND} --drop --yes gives it up",
        )
    if keys.beside:
        files.put_certificates(keys.signing.certificate.pem)  # first: nothing is published whose key is gone
    files.put_keys(keys.signing.key)
    return bool(keys.beside)


@contextmanager
def _writing() -> Iterator[None]:
    """Say what to do where a file cannot be written: read-only mounts, single mounted files, another owner."""
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"cannot be written: {error.strerror}",
            where=str(error.filename or "the signing key"),
            next_step="run it as the owner of the file, on the host or volume where it can be written",
        ) from error
