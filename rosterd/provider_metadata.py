"""Where an identity provider's metadata is read from: a file, or an address through the one door out (N12)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ledger.errors import BadInput
from rosterd.service import Service
from rosterd.settings import Customer


async def given(service: Service, reference: str, folder: Path) -> bytes:
    """Metadata of an address, or of a file whose relative path begins at ``folder``; 5 MiB at most. Raises
    ``BadInput`` and what the door raises."""
    if reference.lower().startswith(("https://", "http://")):
        return await service.fetch_metadata(reference)
    path = folder / reference.removeprefix("file:")
    try:
        return await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path), next_step="check the path") from error


async def configured(service: Service, customer: Customer) -> bytes:
    """Metadata of where the organization's file says; raises as ``given`` does."""
    reference = customer.settings.sso.metadata if customer.settings.sso else ""
    if not reference:
        raise BadInput(
            "no metadata is given", where="sso.metadata", next_step="rosterd sso connect FILE, or set sso.metadata"
        )
    return await given(service, reference, customer.file.parent)
