"""Brings an installation's organization to enabled sync without DNS or a browser, by the evidence a real way leaves."""

from __future__ import annotations

import asyncio

from connector.sso import steps
from rosterd.clock import utc_now
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.idp import Key
from tests.parts.installation import Installation
from tests.parts.sso_organization import SsoOrganization


def enable_sync(installation: Installation, organization: str = "acme") -> None:
    """Domain proved, identity provider tested and on, sync enabled (R5); the ledger is made where there is none."""

    async def walk() -> None:
        async with Service.opened(load(installation.file, {}), makes=True) as service:
            await service.register()
            now = utc_now()
            signed_on = SsoOrganization(service.ledger, service.provider(), Key.make(now), name=organization)
            await signed_on.turned_on(now)
            await steps.enable_sync(service.ledger, organization, actor="ada", now=now)

    asyncio.run(walk())
