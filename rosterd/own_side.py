"""Us towards identity providers, out of the settings: address, key, metadata. Loads no ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rosterd.clock import utc_now
from rosterd.settings import Settings

if TYPE_CHECKING:
    from connector.sso.saml.own_metadata import OwnSide
    from connector.sso.saml.signing import OwnKeys


def own_side(settings: Settings, organization: str) -> OwnSide:
    """Us towards an organization's identity provider, as the files say; the defaults when its file has gone."""
    from connector.sso.saml.own_metadata import OwnSide
    from connector.sso.settings import SsoSettings

    customer = settings.customers.get(organization)
    sso = customer.settings.sso if customer else None
    return OwnSide(settings.installation.server.public_url, organization, sso or SsoSettings())


def ensure_own_key(settings: Settings) -> None:
    """Make the key that signs our sign-in requests, where it is to be in two files and is not there yet."""
    from connector.sso.saml.signing import ensure_key

    saml = settings.installation.saml
    if saml.signing_key.scheme == saml.signing_certificate.scheme == "file":
        files = (Path(saml.signing_key.name), Path(saml.signing_certificate.name))
        ensure_key(*files, name=own_name(settings), now=utc_now())


def own_keys(settings: Settings) -> OwnKeys | None:
    """Our keys as they are; None where they are to be made at their first use. Raises ``BadInput``."""
    from connector.sso.saml.signing import read_keys

    saml = settings.installation.saml
    if (
        saml.signing_key.scheme == saml.signing_certificate.scheme == "file"
        and not Path(saml.signing_key.name).exists()
    ):
        return None
    return read_keys(saml)


def own_name(settings: Settings) -> str:
    """The common name of our certificates: the host of our address."""
    return urlsplit(settings.installation.server.public_url).hostname or "rosterd"
