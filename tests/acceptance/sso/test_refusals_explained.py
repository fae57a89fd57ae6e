"""What an admin reads at the command line after a refused sign-in: why, what came, and the next command (N17)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connector.sso.sign_in import RequestRefused
from rosterd.clock import utc_now
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.idp import Key
from tests.parts.installation import Installation
from tests.parts.sso_organization import SsoOrganization


def refused_test(installation: Installation) -> str:
    """A test sign-in by somebody of another domain; the reference that its page showed."""

    async def walk() -> str:
        async with Service.opened(load(installation.file, {}), makes=True) as service:
            await service.register()
            now = utc_now()
            acme = SsoOrganization(service.ledger, service.provider(), Key.make(now))
            await acme.connect(now)
            going = await acme.start_test(now)
            with pytest.raises(RequestRefused) as refused:
                await acme.finish(going, acme.forged(going, now, name_id="ceo@other.example").post(), now)
            return refused.value.refusal.reference

    return asyncio.run(walk())


def test_n17_status_and_explain_say_why_and_what_to_do(tmp_path: Path) -> None:
    installation = Installation.make(tmp_path / "rosterd")
    reference = refused_test(installation)
    for answer in (installation.rosterd("sso", "status"), installation.rosterd("sso", "explain", reference)):
        assert answer.code == 0, answer.err
        assert "of no proved domain of this connection" in answer.out
        assert "(mail_domain, step 11: it is of other.example; proved of this connection: acme.example)" in answer.out
        assert "NameID format: urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress" in answer.out
        assert "→ sign in as somebody of acme.example" in answer.out
        assert "ceo" not in answer.out
    assert installation.rosterd("sso", "explain", reference, "--json").document["reason"] == "mail_domain"
    missing = installation.rosterd("sso", "explain", "0123456789")
    assert missing.code == 2
    assert "no refused sign-in with this reference" in missing.err
