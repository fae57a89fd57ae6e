"""A real Active Directory domain controller (Samba) on a loopback address of its own; stopped by process group.

It has the standard ports, so the address is made from the process id: two test processes never meet. Needs root, like
Samba itself.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ldap3

from tests.parts import company
from tests.parts.slapd import Authority

SAMBA = "/usr/sbin/samba"
SAMBA_TOOL = "/usr/bin/samba-tool"
SYSTEM_PYTHON = "/usr/bin/python3"
ADMIN_PASSWORD = "Admin-secret-1"
STRANGER = "S-1-5-21-1-2-3-1234"
FOREIGN = f"CN={STRANGER},CN=ForeignSecurityPrincipals,{company.SUFFIX.replace('dc=', 'DC=')}"
LEFT_LONG_AGO = "116531136000000000"
"""accountExpires of 1970-04-11, which is shadowExpire 100."""
_STARTS = itertools.count()
_START_SECONDS = 40.0
_NORMAL, _DISABLED = "544", "546"

Lines = list[tuple[str, str | bytes]]


@dataclass(slots=True)
class DomainController:
    """A running domain controller of ``company.SUFFIX``; ``tls_name`` is the name in its certificate."""

    folder: Path
    address: str
    ca: Path
    process: subprocess.Popen[bytes]
    tls_name: str = "localhost"

    @property
    def url(self) -> str:
        """ldap://, where StartTLS is offered."""
        return f"ldap://{self.address}"

    @property
    def tls_url(self) -> str:
        """ldaps:// with a certificate of the test's authority."""
        return f"ldaps://{self.address}"

    @contextlib.contextmanager
    def administrator(self) -> Iterator[Any]:
        """An ldap3 connection that may change everything; a change that fails raises."""
        tls = ldap3.Tls(validate=ssl.CERT_NONE)  # ldap3's own check of names is deprecated; the server is ours
        server = ldap3.Server(self.tls_url, get_info=ldap3.NONE, tls=tls)
        user = f"CN=Administrator,CN=Users,{company.SUFFIX}"
        with ldap3.Connection(server, user, ADMIN_PASSWORD, raise_exceptions=True, auto_range=False) as connection:
            yield connection

    def allow(self, name: str, entry: str) -> None:
        """Put an access control entry (SDDL) on an object, a deleted one too, in the database itself."""
        script = Path(__file__).with_name("samba_allow.py")
        settings, database = self.folder / "etc" / "smb.conf", self.folder / "private" / "sam.ldb"
        _run(SYSTEM_PYTHON, "-I", str(script), str(settings), str(database), name, entry)

    def stop(self) -> None:
        """End the server with all its processes and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@contextlib.contextmanager
def running(entries: Sequence[Lines], changes: str = "") -> Iterator[DomainController]:
    """A domain controller that holds ``entries`` (DN first) and has taken ``changes`` (LDIF, changetype: modify)."""
    folder = Path(tempfile.mkdtemp(prefix="rosterd-samba-"))
    try:
        _provision(folder)
        _load(folder, "\n".join(company.record(entry) for entry in entries), changes)
        server = _start(folder, Authority(folder / "tls"))
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _provision(folder: Path) -> None:
    realm = ".".join(part.partition("=")[2] for part in company.SUFFIX.split(","))
    _run(
        SAMBA_TOOL, "domain", "provision", "--use-rfc2307", f"--realm={realm.upper()}",
        f"--domain={realm.partition('.')[0].upper()}", "--server-role=dc", "--dns-backend=NONE", "--host-name=dc1",
        f"--adminpass={ADMIN_PASSWORD}", f"--targetdir={folder}",
    )  # fmt: skip


def _load(folder: Path, adds: str, changes: str) -> None:
    files = [folder / "adds.ldif", folder / "changes.ldif"]
    for file, text in zip(files, (adds, changes), strict=True):
        file.write_text(text, encoding="utf-8")
    script = Path(__file__).with_name("samba_load.py")
    database = folder / "private" / "sam.ldb"
    _run(SYSTEM_PYTHON, "-I", str(script), str(folder / "etc" / "smb.conf"), str(database), *map(str, files))


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def _start(folder: Path, authority: Authority) -> DomainController:
    number = os.getpid()
    # an address of its own for every one that this process starts: one of the session may still run
    address = f"127.{64 + ((number >> 16) * 32 + next(_STARTS)) % 128}.{number >> 8 & 255}.{number & 255}"
    authority.key.chmod(0o600)
    (folder / "run").mkdir()
    options = {
        "server services": "ldap",
        "interfaces": f"{address}/8",
        "bind interfaces only": "yes",
        "pid directory": folder / "run",
        "log file": folder / "samba.log",
        "ncalrpc dir": folder / "run" / "ncalrpc",
        "ldap server require strong auth": "no",  # the proxy of the tests must see what is said
        "tls cafile": authority.ca,
        "tls certfile": authority.certificate,
        "tls keyfile": authority.key,
    }
    command = [SAMBA, "-i", "-M", "single", "-s", str(folder / "etc" / "smb.conf")]
    command += [f"--option={name}={value}" for name, value in options.items()]
    with (folder / "log").open("wb") as log:
        # It ends by itself when its stdin does, so that it does not outlive a test process that was killed.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    server = DomainController(folder, address, authority.ca, process)
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if _answers(address, 389) and _answers(address, 636):
            return server
        time.sleep(0.05)
    server.stop()
    raise AssertionError(f"samba did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}")


def _answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


def firm_entries(firm: company.Firm) -> list[Lines]:
    """The company as far as Active Directory's schema takes it, with the same anchors; groups are still empty."""
    entries: list[Lines] = [unit(name) for name in ("People", "Groups")]
    entries.append([*user("reader", company.SUFFIX), ("userAccountControl", "512"), password(company.PASSWORD)])
    entries += [_person(human) for human in firm.people]
    for number, name in enumerate([*firm.groups, *firm.unique, *firm.posix]):
        lines = group(f"g{number}", company.group_dn(name))
        lines += [("objectGUID", company.anchor(company.group_dn(name)))]
        entries.append([*lines, *(("memberUid", uid) for uid in firm.posix.get(name, ()))])
    return entries


def firm_members(firm: company.Firm) -> str:
    """The company's memberships as changes: somebody of another domain stands for the stranger of partners."""
    unique = {name: tuple(value.partition("#")[0] for value in values) for name, values in firm.unique.items()}
    changes = []
    for name, values in {**firm.groups, **unique}.items():
        members = [f"<SID={STRANGER}>" if "Stranger" in value else user_dn(value) for value in values]
        changes.append(adding(company.group_dn(name), members))
    return "\n".join(changes)


def adding(name: str, members: Sequence[str]) -> str:
    """The change that adds members to a group."""
    lines: Lines = [("dn", name), ("changetype", "modify"), ("add", "member")]
    return company.record([*lines, *(("member", member) for member in members)])


def user_dn(name: str) -> str:
    """Active Directory names people by cn only; Samba takes no space around the sign."""
    name = name.replace(" = ", "=")
    return f"cn={name[4:]}" if name.lower().startswith("uid=") else name


def unit(name: str, under: str = company.SUFFIX) -> Lines:
    """An organizational unit."""
    return [("dn", f"ou={name},{under}"), ("objectClass", "organizationalUnit")]


def user(name: str, under: str) -> Lines:
    """A user without a password."""
    return [("dn", f"cn={name},{under}"), ("objectClass", "user"), ("sAMAccountName", name)]


def group(login: str, name: str) -> Lines:
    """A global security group, still empty."""
    return [("dn", name), ("objectClass", "group"), ("sAMAccountName", login)]


def password(text: str) -> tuple[str, bytes]:
    """The attribute that sets a password before the server runs."""
    return "clearTextPassword", text.encode("utf-16-le")


def _person(human: company.Human) -> Lines:
    lines: dict[str, str | bytes] = {
        "objectGUID": human.anchor,
        "sAMAccountName": human.uid,
        "userAccountControl": _NORMAL,
        "uid": human.uid,
        "displayName": f"{human.given} {human.family}",
        "givenName": human.given,
        "sn": human.family,
        "mail": human.mail,
        "employeeNumber": human.number,
        "departmentNumber": "D1",
    }
    for name, value in human.extra:
        if name == "shadowExpire":
            lines["accountExpires"] = LEFT_LONG_AGO
        elif name == "pwdAccountLockedTime":
            lines["userAccountControl"] = _DISABLED
        elif name in {"mail", "employeeType"}:
            lines[name] = value
    return [("dn", user_dn(human.dn)), ("objectClass", "user"), *lines.items()]
