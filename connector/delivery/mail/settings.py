"""``[mail]`` of the installation (which server, which sender) and of an organization (how it presents itself)."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ledger.identity import Email
from ledger.secret import SecretRef
from ledger.settings import Duration, Language, SettingsModel


def _address(value: str) -> str:
    if not value:
        return value
    try:
        address = Email.parse(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a mail address: {error}") from error
    if why := address.refused_by_relays:
        raise ValueError(f"{value!r} is not a mail address: {why}")
    return address.text


def _one_line(value: str) -> str:
    if any(not character.isprintable() for character in value):
        raise ValueError("a name is one line of printable characters")
    return value


def _host_name(value: str) -> str:
    """A host name or an address, and nothing around it."""
    try:
        return str(ip_address(value.strip("[]")))
    except ValueError:
        pass
    name = value.partition("://")[2] or value
    bare = re.split(r"[:/]", name.rpartition("@")[2])[0]
    if bare != value:
        raise ValueError(f"{value!r} is no host name: write {bare!r} alone; a port of its own is port, TLS is security")
    return value


def _patience(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= timedelta(minutes=10):
        raise ValueError("longer than 0, and 10m at most")
    return value


class MailSettings(SettingsModel):
    """``[mail]``: the server that mail is handed to. Without a host nothing is mailed, and messages wait."""

    host: str = ""
    """Host name of the SMTP server (submission); its certificate has to be of this name."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """0: 587 with starttls, 465 with tls, 25 with none."""

    security: Literal["starttls", "tls", "none"] = "starttls"
    """starttls and tls are required and verified; none only for a server on this machine (loopback)."""

    ca_file: Path | None = None
    """Certificates to trust beside the system's, as PEM; relative to this file."""

    username: str = ""
    """Account at the server; empty: none is asked for."""

    password: SecretRef | None = None
    """Password of the account, by reference."""

    sender: str = ""
    """Address that mail comes from (From)."""

    sender_name: str = ""
    """Name that mail comes from; the page at / shows it."""

    return_path: str = ""
    """Address to which servers return what they cannot deliver later; empty: the sender's. Nobody reads it here."""

    operator: str = ""
    """Address of who operates this installation: told of what concerns no organization's admins."""

    language: Language = "en"
    """Language of mails, where an organization names none; and of pages, where a browser asks for neither."""

    rate: Annotated[int, Field(ge=1, le=100_000)] = 120
    """Mails a minute, at most."""

    connections: Annotated[int, Field(ge=1, le=20)] = 2
    """Connections to the server at a time, at most."""

    timeout: Duration = timedelta(seconds=30)
    """How long one answer of the server may take, 10m at most; the answer to a whole mail, ten times that."""

    digest: Duration = timedelta(hours=1)
    """Messages of one kind to the same admins are put together in one mail at most this often; 0: one mail each."""

    retry_for: Duration = timedelta(hours=48)
    """How long a message that the server puts off is tried again before it becomes a dead letter."""

    _host = field_validator("host")(_host_name)
    _wait = field_validator("timeout")(_patience)
    _lines = field_validator("sender_name", "username")(_one_line)
    _addresses = field_validator("sender", "return_path", "operator")(_address)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.host:
            return self
        if not self.sender:
            raise ValueError('a host needs a sender, for example sender = "accounts@vendor.example"')
        if self.security == "none" and not self.on_loopback:
            raise ValueError('security = "none" is only for a server on this machine, for example 127.0.0.1')
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password belong together")
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the server is on this machine: the name localhost, or a loopback address."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def port_used(self) -> int:
        """``port``, or the usual one."""
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.security]

    @property
    def envelope_sender(self) -> str:
        """Where bounces go."""
        return self.return_path or self.sender


class OrganizationMailSettings(SettingsModel):
    """``[mail]`` of an organization: how it presents itself to its people."""

    sender: str = ""
    """Address that its mail comes from, at one of [[domains]] or at the domain of [mail] sender in rosterd.toml; empty:
    that sender. The server has to be allowed to send for it."""

    sender_name: str = ""
    """Name that its mail comes from; empty: the installation's, or the organization's name."""

    reply_to: str = ""
    """Address that answers go to; empty: none is said."""

    language: Language | None = None
    """Language of its mails, and of pages where a browser asks for neither: en or pl; not set: the installation's."""

    templates: Path | None = None
    """Folder with templates of its own, by the names that rosterd outbox preview shows; relative to this file."""

    _lines = field_validator("sender_name")(_one_line)
    _addresses = field_validator("sender", "reply_to")(_address)
