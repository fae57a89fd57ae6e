"""Where the daemon is reached: the address that others know, and the two it listens at."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from connector.directory.base import CheckLine
from rosterd.checks.keys import Keys
from rosterd.settings import Settings


def public_address(settings: Settings) -> CheckLine:
    """Browsers keep no cookie for an identity provider's answer at a plain http address, but on this machine."""
    url = settings.installation.server.public_url
    parts = urlsplit(url)
    ok = parts.scheme == "https" or is_loopback(parts.hostname or "")
    fix = f'put a proxy with TLS in front and set [server] public_url = "https://{parts.netloc}{parts.path}"'
    said = f"public_url {url}" + ("" if ok else ": nobody can sign in over plain http (a Secure cookie is needed)")
    return CheckLine(ok, said, fix)


def is_loopback(host: str) -> bool:
    """Whether a host of an address is this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def listeners(settings: Settings, keys: Keys) -> Iterator[CheckLine]:
    """The public and the operator's listener are two, and the operator's is for nobody else."""
    server, path = settings.installation.server, ("server", "operator_listen")
    if server.listen == server.operator_listen and server.address[1]:
        what = f"{server.operator_listen} is the address of listen too, and only one of them can have it"
        yield keys.fault(path, what, 'write another port, for example "127.0.0.1:8081"')
    elif not is_loopback(server.operator_address[0]):
        what = f"{server.operator_listen} shows metrics and health to other machines"
        yield keys.note(path, what, "nothing, if a firewall lets only your monitoring in; else 127.0.0.1")
