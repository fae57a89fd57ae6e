"""A copy of one's own configuration in the lab's folder, with what the lab needs, a ledger and keys of its own.

Nothing is overwritten: what is there already stays, and has to fit. Prohibition: reads the original, never writes it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from connector.sso.settings import SsoSettings
from ledger.errors import BadInput, RosterdError
from ledger.modes import private_file
from rosterd.first.files import key
from rosterd.lab.place import HOST, Lab
from rosterd.loading import load
from rosterd.settings import OrganizationSettings, ServerSettings, Settings

_INSTALLATION = """\
# Made by rosterd lab out of {file}, to try single sign-on on this machine alone. It proves nothing to the world.
organizations = "organizations/*.toml"

[server]
listen = {listen}
operator_listen = {operator_listen}
public_url = {public_url}

[database]
url = "sqlite:///var"

[storage]
warehouse = "file:var/warehouse"

[secrets]
pepper = "file:secrets/pepper"
pseudonym_key = "file:secrets/pseudonym-key"

{lab}"""

_SSO = re.compile(r"^[ \t]*\[sso\][ \t]*(?:#.*)?\n(?:(?![ \t]*\[).*\n?)*", re.MULTILINE)
_FILES = {"file", "tls_ca", "tls_certificate", "tls_key"}
_PLACE = re.compile(rf'(\b(?:{"|".join(sorted(_FILES))})\s*=\s*")([^"\n]+)(")|(")file:([^"\n]+)(")')
_METADATA = "file:../idp-metadata.xml"


def installation_tables(lab: Lab) -> str:
    """What rosterd.toml has to say, as TOML."""
    resolvers = ", ".join(json.dumps(address) for address in lab.resolvers)
    mail = f'[mail]\nhost = "{HOST}"\nport = {lab.mail_port}\nsecurity = "none"\nsender = "accounts@vendor.example"\n'
    mail += 'operator = "operator@vendor.example"\n'
    return f"[dns]\nresolvers = [{resolvers}]\n\n[saml]\nallow_http_on_loopback = true\n\n{mail}"


def organization_table(metadata: str) -> str:
    """What the organization's file has to say of single sign-on, as TOML, and nothing else about it."""
    return f"[sso]\nmetadata = {json.dumps(metadata)}\n"


def fits(lab: Lab, settings: Settings) -> bool:
    """Whether a configuration says all that already."""
    sso = settings.customer(lab.organization).settings.sso
    folder = settings.customer(lab.organization).file.parent
    named = (folder / sso.metadata.removeprefix("file:")).resolve() if sso and sso.metadata else None
    mail = settings.installation.mail
    return (
        settings.installation.dns.resolvers == lab.resolvers
        and (mail.host, mail.port) == (HOST, lab.mail_port)
        and settings.installation.saml.allow_http_on_loopback
        and named == lab.metadata.resolve()
        and sso == SsoSettings(metadata=sso.metadata if sso else "")
    )


def write(lab: Lab, settings: Settings) -> Path:
    """Write the copy, or keep the one that is there; returns its rosterd.toml. Raises ``BadInput`` when it does not
    fit, or when the organization's file is written in a way that cannot be copied."""
    file = lab.folder / "rosterd.toml"
    if file.absolute() == settings.file.absolute():
        return file
    customer = settings.customer(lab.organization)
    server = settings.installation.server
    text = _INSTALLATION.format(
        file=settings.file.absolute(),
        listen=json.dumps(server.listen),
        operator_listen=json.dumps(operator_listen(server)),
        public_url=json.dumps(server.public_url),
        lab=installation_tables(lab),
    )
    copy = lab.folder / "organizations" / f"{lab.organization}.toml"
    private_file(copy, organization(customer.file.read_text(encoding="utf-8-sig"), customer.file.parent).encode())
    private_file(file, text.encode())
    for name in ("pepper", "pseudonym-key"):
        private_file(lab.folder / "secrets" / name, key())
    _require_fit(lab, settings, file)
    return file


def operator_listen(server: ServerSettings) -> str:
    """Where the copy's operator listens: as the original says, else at the port after its daemon's, so that labs of two
    people on one machine are in nobody's way."""
    if "operator_listen" in server.model_fields_set:
        return server.operator_listen
    host, _, port = server.listen.rpartition(":")
    return f"{host}:{int(port) + 1 if 0 < int(port) < 65535 else 0}"


def organization(text: str, folder: Path) -> str:
    """An organization's file with ``[sso]`` of the lab in place of its own, and paths that hold wherever it lies."""

    def whole(found: re.Match[str]) -> str:
        before, plain, after, quote, reference, end = found.groups()
        if plain is not None:
            return f"{before}{folder.absolute() / plain}{after}"
        return f"{quote}file:{folder.absolute() / reference}{end}"

    return f"{_PLACE.sub(whole, _SSO.sub('', text)).rstrip()}\n\n{organization_table(_METADATA)}"


def _require_fit(lab: Lab, settings: Settings, file: Path) -> None:
    anew = f"move {lab.folder} away, then run it again; or copy your files by hand and change what rosterd lab prints"
    try:
        found = load(file)
        copied = found.customer(lab.organization)
    except RosterdError as error:
        raise BadInput(f"the copy cannot be used: {error.what}", where=error.where, next_step=anew) from error
    ours = settings.customer(lab.organization)
    same = _plain(copied.settings, copied.file.parent) == _plain(ours.settings, ours.file.parent)
    server = settings.installation.server
    own = server.model_copy(update={"operator_listen": operator_listen(server)})
    if not fits(lab, found) or not same or found.installation.server != own:
        raise BadInput(
            "the copy in the lab's folder is of another configuration, or for other ports",
            where=str(file),
            next_step=anew,
        )


def _plain(settings: OrganizationSettings, folder: Path) -> Any:
    """Everything but ``[sso]``, with whole paths."""

    def whole(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {inner: whole(str(inner), item) for inner, item in value.items()}
        if isinstance(value, list | tuple):
            return [whole(name, item) for item in value]
        if isinstance(value, str) and name in _FILES and value:
            return str(folder.absolute() / value)
        return value

    return whole("", {**settings.model_dump(), "sso": None})
