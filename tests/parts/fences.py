"""By what right a test writes where nobody else does."""

from __future__ import annotations

from ledger.jobs import Unleased

ALONE = Unleased.BY_HAND
