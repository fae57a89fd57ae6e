"""The first configuration that ``rosterd init`` writes: small, valid, and ready to be edited.

Makes text and keys; writes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

INSTALLATION = """\
# rosterd.toml: one per installation. Every other key, with its meaning: config/rosterd.example.toml
# (`python -m rosterd.settings_docs --write` writes config/ here, out of the rosterd that is installed)
organizations = "organizations/*.toml"

[server]
listen = "127.0.0.1:8080"
public_url = "http://127.0.0.1:8080"

[database]
url = "sqlite:///var"

[storage]
warehouse = "file:var/warehouse"

[secrets]
pepper = "file:secrets/pepper"
pseudonym_key = "file:secrets/pseudonym-key"
"""

ORGANIZATION = """\
# One file per customer. Every other key, with its meaning: config/organizations/acme.example.toml

[organization]
id = "{organization}"
name = "{organization}"
report_zone = "UTC"

[[domains]]
name = "{domain}"

[[teams]]
name = "Design"
primary_admin = "admin@{domain}"

# [[directories]]
# id = "corp"
# kind = "ldif"
# file = "people.ldif"

# [[mappings]]
# id = "design"
# directory = "corp"
# group = "design"
# team = "Design"
# offerings = ["CAD"]
"""

SAML_KEY = "secrets/saml-key.pem"
SAML_CERTIFICATE = "secrets/saml-certificate.pem"
"""Where ``[saml]`` expects the key that signs our sign-in requests, unless set otherwise."""


@dataclass(frozen=True, slots=True)
class FirstFiles:
    """Path → text of the configuration; path → maker of each key file (mode 0600)."""

    configuration: Mapping[str, str]
    secrets: Mapping[str, Callable[[], bytes]]


def first_files(organization: str, domain: str) -> FirstFiles:
    """What ``rosterd init`` writes for one customer."""
    text = ORGANIZATION.format(organization=organization, domain=domain)
    return FirstFiles(
        configuration={"rosterd.toml": INSTALLATION, f"organizations/{organization}.toml": text},
        secrets={"secrets/pepper": key, "secrets/pseudonym-key": key},
    )


def key() -> bytes:
    """A fresh key as text: 43 characters, 256 bits."""
    return secrets.token_urlsafe(32).encode("ascii") + b"\n"
