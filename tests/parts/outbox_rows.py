"""What stands in an organization's outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from ledger.store.engine import Ledger
from ledger.store.tables.outbox import outbox


async def written(
    ledger: Ledger, *kinds: str, organization: str = "acme", since: datetime | None = None
) -> Sequence[Row[Any]]:
    """Messages of these kinds, oldest first."""
    async with ledger.read(organization) as reader:
        statement = reader.select(outbox).where(outbox.c.kind.in_(kinds))
        statement = statement.where(outbox.c.created_at >= since) if since else statement
        return await reader.all(statement.order_by(outbox.c.id))
