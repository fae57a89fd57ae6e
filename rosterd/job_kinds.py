"""The kinds of jobs by name, apart from ``schedule`` and ``worker``: whoever enqueues one loads neither.

Pure: names only.
"""

from __future__ import annotations

RECONCILE = "reconcile"
PUBLISH = "publish"
EVIDENCE = "evidence"
SEAL = "seal"
APPROVE = "approve"
PLAN = "plan"
UNDO = "undo"
KINDS = (RECONCILE, PUBLISH, EVIDENCE, SEAL, APPROVE, PLAN, UNDO)
"""Every kind of job; ``worker`` has a function for each."""
