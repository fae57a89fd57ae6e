"""Reads the files again under a running daemon: each good one is taken, each broken one keeps its settings of before.

Prohibition: what is wrong with one organization's file names no other organization.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import BadInput, RosterdError
from rosterd.loading import CustomerFile, read_customers, read_installation
from rosterd.settings import Customer, InstallationSettings, Settings

_NEXT_STEP = "name it in one file only; the operator's rosterd check names both"


@dataclass(frozen=True, slots=True)
class Kept:
    """A broken file. ``organization``: whose settings of before stay in force; empty for ``rosterd.toml``, and for a
    file that was never read."""

    file: Path
    organization: str
    faults: tuple[RosterdError, ...]


@dataclass(frozen=True, slots=True)
class Reread:
    """What is in force now, and what was not taken."""

    settings: Settings
    kept: tuple[Kept, ...]

    def faults_of(self, organization: str) -> tuple[RosterdError, ...]:
        """What is wrong with this organization's own file."""
        return tuple(fault for item in self.kept if item.organization == organization for fault in item.faults)


def reread(before: Settings, variables: Mapping[str, str] | None = None) -> Reread:
    """Read every file again. Two files that claim the same: who held it before keeps it, and the other is broken."""
    variables = os.environ if variables is None else variables
    found = read_installation(before.file, variables)
    faults, loaded = list(found.faults), found.settings
    pattern = before.installation.organizations if loaded is None else loaded.organizations
    files = read_customers(before.file.parent, pattern, loaded or before.installation)
    faults += found.unknown_variables(files)
    faults += [] if loaded is None else _fixed(before.installation, loaded)
    kept = [Kept(before.file, "", tuple(faults))] if faults else []
    installation = before.installation if faults or loaded is None else loaded
    choice = _Choice(before, files)
    choice.settle()
    kept += [
        Kept(item.file, old.organization.id if (old := choice.old(item)) else "", tuple(choice.broken[item.file]))
        for item in files
        if item.file in choice.broken
    ]
    customers = {chosen.organization.id: chosen for item in files if (chosen := choice.of(item))}
    return Reread(Settings(installation, customers, before.file), tuple(kept))


def _fixed(old: InstallationSettings, new: InstallationSettings) -> list[RosterdError]:
    """Some keys only count at start; changing them under a running daemon would be a lie."""
    pairs = {
        "server.listen": (old.server.listen, new.server.listen),
        "server.operator_listen": (old.server.operator_listen, new.server.operator_listen),
        "database.url": (old.database.url, new.database.url),
        "server.public_url": (old.server.public_url, new.server.public_url),
        "saml.signing_key": (old.saml.signing_key, new.saml.signing_key),
        "saml.signing_certificate": (old.saml.signing_certificate, new.saml.signing_certificate),
        "storage.warehouse": (old.storage.warehouse, new.storage.warehouse),
    }
    changed = [key for key, (first, second) in pairs.items() if first != second]
    if not changed:
        return []
    return [BadInput(f"{', '.join(changed)} cannot change while running", next_step="restart the daemon")]


class _Choice:
    """For each file: the new settings, or those of before."""

    def __init__(self, before: Settings, files: Sequence[CustomerFile]) -> None:
        self._files = files
        self._named = before.customers
        self._by_file = {customer.file: customer for customer in before.customers.values()}
        self._there = {item.file for item in files}
        self.broken = {item.file: list(item.faults) for item in files if item.faults}

    def of(self, item: CustomerFile) -> Customer | None:
        """What is in force for the file."""
        return self.old(item) if item.file in self.broken else item.customer

    def old(self, item: CustomerFile) -> Customer | None:
        """What was in force for it, or for its organization in a file that is there no more."""
        named = self._named.get(item.id)
        moved = named is not None and named.file not in self._there
        return self._by_file.get(item.file) or (named if moved else None)

    def settle(self) -> None:
        """Until no two files in force claim the same. Whoever falls back may claim again what it gave up."""
        held = {key: customer.file for customer in self._named.values() for key in customer.claims()}
        while True:
            claimed: dict[str, list[CustomerFile]] = {}
            for item in self._files:
                if chosen := self.of(item):
                    for key in chosen.claims():
                        claimed.setdefault(key, []).append(item)
            losing = []
            for key, claimants in claimed.items():
                claimants.sort(key=lambda one: (one.file not in self.broken, one.file != held.get(key)))
                losing += [(key, item) for item in claimants[1:] if item.file not in self.broken]
            if not losing:
                return
            for key, item in losing:
                fault = BadInput(f"{key} is claimed by another organization", where=item.where, next_step=_NEXT_STEP)
                self.broken.setdefault(item.file, []).append(fault)
