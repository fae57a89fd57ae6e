"""Let go of snapshots nobody names and of the files only they needed.

``expire_snapshots`` alone leaves data files behind, and a publish that died leaves some that no snapshot ever held; so
what lies in a table's folder and is needed by no remaining snapshot is deleted. Prohibition: touches nothing younger
than ``before``: a publish under way has written files that nothing names yet.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow.fs as pafs
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import Table


@dataclass(frozen=True, slots=True)
class Swept:
    """What was let go: snapshots, files, bytes."""

    snapshots: int = 0
    files: int = 0
    size: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(self.snapshots + other.snapshots, self.files + other.files, self.size + other.size)


def sweep(table: Table, filesystem: Any, keep: Collection[int], before: datetime) -> Swept:
    """Expire snapshots of ``table`` not in ``keep`` and older than ``before``, then their files; the newest stays."""
    edge = before.timestamp() * 1000
    current = table.current_snapshot()
    newest = current.snapshot_id if current else None
    gone = [
        snapshot.snapshot_id
        for snapshot in table.snapshots()
        if snapshot.snapshot_id not in keep and snapshot.snapshot_id != newest and snapshot.timestamp_ms < edge
    ]
    if gone:
        table.maintenance.expire_snapshots().by_ids(gone).commit()
        table.refresh()
    needed = _needed(table)
    swept = Swept(snapshots=len(gone))
    folder = _bare(table.location())
    for info in filesystem.get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True)):
        young = info.mtime is None or info.mtime.replace(tzinfo=info.mtime.tzinfo or UTC) >= before
        if info.type is not pafs.FileType.File or young or info.path in needed:
            continue
        filesystem.delete_file(info.path)
        swept += Swept(files=1, size=info.size or 0)
    return swept


def _needed(table: Table) -> set[str]:
    """Every file a reader of any remaining snapshot may open."""
    found = {_bare(table.metadata_location)}
    for snapshot in table.snapshots():
        found.add(_bare(snapshot.manifest_list))
        for manifest in snapshot.manifests(table.io):
            if _bare(manifest.manifest_path) in found:
                continue
            found.add(_bare(manifest.manifest_path))
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                if entry.status is not ManifestEntryStatus.DELETED:
                    found.add(_bare(entry.data_file.file_path))
    return found


def _bare(address: str) -> str:
    """An address as pyarrow's file systems name it: without its scheme."""
    return address.split("://", 1)[-1]
