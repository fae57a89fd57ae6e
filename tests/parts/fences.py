"""By what right a test writes where nobody else does."""

from __future__ import annotations

from ledger.fence import Unleased

ALONE = Unleased.BY_HAND
