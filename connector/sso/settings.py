"""What the admin files say about single sign-on: ``[[domains]]``, ``[sso]``, ``[dns]``, ``[saml]``.

Pure: settings only; acts (proving, testing, turning on) are commands with an actor.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from connector.sso.domain_names import normalise
from ledger.secret import SecretRef
from ledger.settings import Duration, SettingsModel, require_clear_port


@dataclass(frozen=True, slots=True)
class Resolver:
    """One recursive resolver: IP address, port, and, when it is asked over TLS, the name in its certificate."""

    address: str
    port: int
    tls_name: str = ""

    @property
    def trusted(self) -> bool:
        """Whether nobody can have changed its answer on the way: then its AD bit is its own (N13)."""
        return bool(self.tls_name) or ip_address(self.address).is_loopback

    @property
    def where(self) -> str:
        """How evidence and messages name it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"tls://{host}:{self.port}#{self.tls_name}" if self.tls_name else f"{host}:{self.port}"

    @property
    def operator(self) -> tuple[str, int]:
        """What two resolvers must differ in: the address; on this host, where everything has the same, the port."""
        return self.address, self.port if ip_address(self.address).is_loopback else 0


def parse_resolver(text: str) -> Resolver:
    """``9.9.9.9:53``, ``[2620:fe::fe]:53`` or, over TLS, ``tls://9.9.9.9:853#dns.quad9.net``; the port may be left out.

    Raises ``ValueError`` saying what is wrong.
    """
    rest, usual, name = text, "53", ""
    if text.startswith("tls://"):
        rest, _, name = text.removeprefix("tls://").partition("#")
        usual = "853"
        if not name:
            raise ValueError(f"{text!r} lacks the name in its certificate, for example tls://9.9.9.9:853#dns.quad9.net")
    require_clear_port(rest)
    host, separator, port = rest.rpartition(":")
    if not separator or rest.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = rest, usual
    try:
        address = ip_address(host.strip("[]"))
        number = int(port)
    except ValueError as error:
        raise ValueError(f"{text!r} is not ADDRESS:PORT of a name server, for example 9.9.9.9:53") from error
    if not 0 < number < 65536:
        raise ValueError(f"{text!r}: the port is out of range")
    return Resolver(str(address), number, name)


def _resolver(text: str) -> str:
    parse_resolver(text)
    return text


class DnsSettings(SettingsModel):
    """``[dns]``: how domains are proved. Two resolvers must say the same, or one that nobody can have spoken for: the
    AD bit (DNSSEC) counts as the second where it comes from this host or over TLS, never over plain UDP."""

    resolvers: tuple[Annotated[str, AfterValidator(_resolver)], ...] = Field(
        default=("9.9.9.9:53", "1.1.1.1:53"), min_length=2
    )
    """Recursive resolvers that validate DNSSEC, of different operators; at least two. ADDRESS:PORT, or over TLS
    tls://ADDRESS:PORT#NAME with the name in the certificate."""

    timeout: Duration = timedelta(seconds=5)
    """How long one resolver may take; silence is never taken for a missing record."""

    @field_validator("resolvers")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({parse_resolver(text).operator for text in value}) < 2:
            raise ValueError("at least two different resolvers are needed: one alone proves nothing")
        return value

    def each(self) -> tuple[Resolver, ...]:
        """Every resolver, in order, without repetitions."""
        return tuple(dict.fromkeys(parse_resolver(text) for text in self.resolvers))


class DomainSettings(SettingsModel):
    """``[[domains]]``: one mail domain of the organization (R1); exactly this name, not what is below it."""

    name: str
    """The domain; international names as they are written or in their xn-- form."""

    grace: Duration = timedelta(hours=24)
    """How long the record or file may be missing (confirmed by a second look) before the proof is lost: 0 to 72h."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return normalise(value)

    @field_validator("grace")
    @classmethod
    def _grace(cls, value: timedelta) -> timedelta:
        if value > timedelta(hours=72):
            raise ValueError("grace is at most 72h")
        return value


class SsoSettings(SettingsModel):
    """``[sso]``: the organization's identity provider."""

    entity_id: str = ""
    """entityID of the identity provider; metadata that names another is refused. Empty: whatever the metadata says."""

    metadata: str = ""
    """Its SAML metadata, file:PATH or https://…; empty: given to `rosterd sso connect`."""

    mail_attribute: str = ""
    """Attribute that holds the mail address; empty: the NameID is the mail address."""

    subject_attribute: str = ""
    """Attribute that says who somebody is, whatever their address: Entra's objectidentifier, subject-id, objectGUID.
    Empty: the NameID says it. To change it is to connect and test again, and makes everybody another subject."""

    fold_subject: bool = False
    """true compares NameIDs that are neither an address nor persistent (a login name) without case."""

    response_signed_only: bool = False
    """For identity providers that sign the Response and not the Assertion (PingFederate): then the Response must be."""

    second_approver: bool = False
    """True: `rosterd sso on` by one person asks, by another within a day turns it on; so it is with metadata
    given by hand that adds a certificate or another address."""

    @field_validator("metadata")
    @classmethod
    def _metadata(cls, value: str) -> str:
        if value and not value.startswith(("file:", "https://")):
            raise ValueError("metadata is given as file:PATH or https://…")
        return value


class SamlSettings(SettingsModel):
    """``[saml]`` of the installation: our own side as a SAML service provider."""

    signing_key: SecretRef = SecretRef("file", "secrets/saml-key.pem")
    """RSA key in PEM that signs sign-in requests; made by set-up where the file does not exist. Of several the first
    signs; rosterd sso rotate-key replaces it."""

    signing_certificate: SecretRef = SecretRef("file", "secrets/saml-certificate.pem")
    """Its self-signed certificate, part of our metadata; identity providers pin it. All in it are published."""

    deadline: Duration = timedelta(seconds=10)
    """How long judging one sign-in response may take."""

    allow_http_on_loopback: bool = False
    """Danger: true accepts identity providers at http://127.0.0.1; for the demo and tests on one machine."""
