"""``rosterd check`` and the address that browsers are sent back to."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosterd.checks.addresses import public_address
from rosterd.settings import InstallationSettings, ServerSettings, Settings


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("https://rosterd.acme.example", ""),
        ("http://127.0.0.1:8080", ""),
        ("http://127.8.0.1", ""),
        ("http://[::1]:8080", ""),
        ("http://localhost:8080", ""),
        ("http://rosterd.localhost", ""),
        ("http://rosterd.acme.example", "https://rosterd.acme.example"),
        ("http://rosterd.acme.example/sub", "https://rosterd.acme.example/sub"),
        ("http://10.0.0.7:8080", "https://10.0.0.7:8080"),
        ("http://localhost.acme.example", "https://localhost.acme.example"),
        ("http://notlocalhost", "https://notlocalhost"),
    ],
)
def test_plain_http_is_for_one_machine_alone(url: str, fix: str) -> None:
    """No browser sends a Secure cookie there with the identity provider's answer, so that nobody could sign in."""
    settings = Settings(InstallationSettings(server=ServerSettings(public_url=url)), {}, Path("rosterd.toml"))
    found = public_address(settings)
    assert found.ok == (not fix)
    assert not fix or f'public_url = "{fix}"' in found.fix
