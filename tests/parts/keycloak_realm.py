"""A realm of a real Keycloak as an identity provider of ours, and what its administrator does to it in the meantime."""

from __future__ import annotations

import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keycloak import KeycloakAdmin

KEYS = "org.keycloak.keys.KeyProvider"
_RSA = "rsa-generated"


@dataclass(frozen=True, slots=True)
class Realm:
    """One realm; ``admin`` may change everything in it."""

    server: str
    name: str
    ca: Path
    admin: KeycloakAdmin

    @property
    def entity_id(self) -> str:
        """How it calls itself."""
        return f"{self.server}/realms/{self.name}"

    @property
    def metadata_url(self) -> str:
        """Where it publishes its SAML metadata."""
        return f"{self.entity_id}/protocol/saml/descriptor"

    def metadata(self) -> bytes:
        """What it publishes now."""
        trusting = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(self.metadata_url, timeout=60, context=trusting) as answer:  # noqa: S310 - our own
            return bytes(answer.read())

    def add_person(self, mail: str, password: str, *, name: str = "") -> str:
        """Somebody with a password; ``name`` is what they log in with, their address unless said. Returns the id."""
        given, _, family = mail.partition("@")[0].partition(".")
        credential = {"type": "password", "value": password, "temporary": False}
        # without both names it asks for them at the first log-in
        person = {"username": name or mail, "email": mail, "emailVerified": True, "enabled": True}
        person |= {"firstName": given, "lastName": family or given, "credentials": [credential]}
        return str(self.admin.create_user(person))

    def disable_person(self, person: str) -> None:
        """Nobody logs in as them any more."""
        self.admin.update_user(person, {"enabled": False})

    def add_client(self, entity_id: str, acs: str, certificate: str, *, name_id: str) -> str:
        """Us. ``name_id``: persistent, email, transient or username; the mail address also comes as ``mail``.

        ``certificate``: PEM of the key that signs our requests, which it then insists on. Returns the client's id.
        """
        attributes = {
            "saml.assertion.signature": "true",
            "saml.server.signature": "false",
            "saml.signature.algorithm": "RSA_SHA256",
            "saml.client.signature": "true",
            "saml.signing.certificate": "".join(certificate.split("-----")[2].split()),
            "saml.authnstatement": "true",
            "saml.force.post.binding": "true",
            "saml_name_id_format": name_id,
            "saml_force_name_id_format": "true",
            "saml_assertion_consumer_url_post": acs,
        }
        mail = {
            "name": "mail",
            "protocol": "saml",
            "protocolMapper": "saml-user-property-mapper",
            "config": {"user.attribute": "email", "attribute.name": "mail", "attribute.nameformat": "Basic"},
        }
        client = {"clientId": entity_id, "protocol": "saml", "redirectUris": [acs], "attributes": attributes}
        return str(self.admin.create_client({**client, "protocolMappers": [mail], "fullScopeAllowed": False}))

    def disable_client(self, client: str) -> None:
        """It signs nobody in to us any more."""
        self.admin.update_client(client, {**self.admin.get_client(client), "enabled": False})

    def rotate_key(self) -> str:
        """A new signing key that wins over the old one, which stays published. Returns the old one's id."""
        old = max(self.signing_keys(), key=_priority)
        config = {"priority": [str(_priority(old) + 100)], "enabled": ["true"], "active": ["true"], "keySize": ["2048"]}
        self.admin.create_component(
            {"name": "rotated", "providerId": _RSA, "providerType": KEYS, "parentId": old["parentId"], "config": config}
        )
        return str(old["id"])

    def make_passive(self, key: str) -> None:
        """The key signs nothing any more and stays in the metadata."""
        [found] = [item for item in self.signing_keys() if item["id"] == key]
        self.admin.update_component(key, {**found, "config": {**found["config"], "active": ["false"]}})

    def remove_key(self, key: str) -> None:
        """The key leaves the metadata."""
        self.admin.delete_component(key)

    def signing_keys(self) -> list[dict[str, Any]]:
        """The components that hold them, as the admin API shows them."""
        found = self.admin.get_components({"type": KEYS})
        return [item for item in found if item["providerId"] == _RSA]


def _priority(key: dict[str, Any]) -> int:
    return int(key["config"].get("priority", ["0"])[0])
