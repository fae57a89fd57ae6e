"""What a supervisor hands to a worker process: the settings in force and one job, as one line of JSON.

The worker must not read the files again: a bad file keeps the old settings running, in workers too. Secrets travel as
references only. Pure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from ledger.jobs import Claim, Job
from rosterd.settings import Customer, InstallationSettings, OrganizationSettings, Settings


@dataclass(frozen=True, slots=True)
class Handover:
    """One piece of work for a worker process. ``claim``: the attempt at its job, which what it commits settles (A2)."""

    settings: Settings
    organization: str
    kind: str
    payload: dict[str, Any]
    claim: Claim

    @classmethod
    def of(cls, settings: Settings, job: Job) -> Handover:
        """The attempt at a job."""
        return cls(settings, job.organization, job.kind, dict(job.payload or {}), job.claim)

    def to_line(self) -> bytes:
        """One line."""
        settings = self.settings
        document = {
            "file": str(settings.file),
            "installation": settings.installation.model_dump(mode="json"),
            "customers": [
                {"file": str(customer.file), "settings": customer.settings.model_dump(mode="json", exclude_unset=True)}
                for customer in settings.customers.values()
            ],
            "job": {
                "organization": self.organization,
                "kind": self.kind,
                "payload": self.payload,
                "claim": asdict(self.claim),
            },
        }
        return msgspec.json.encode(document) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Handover:
        """The same value again."""
        document = msgspec.json.decode(line)
        customers = [
            Customer(OrganizationSettings.model_validate(item["settings"]), Path(item["file"]))
            for item in document["customers"]
        ]
        settings = Settings(
            InstallationSettings.model_validate(document["installation"]),
            {customer.organization.id: customer for customer in customers},
            Path(document["file"]),
        )
        job = document["job"]
        return cls(settings, job["organization"], job["kind"], job["payload"], Claim(**job["claim"]))
