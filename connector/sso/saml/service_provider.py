"""Our side of SAML: signs requests, has responses judged. The only file that speaks pysaml2.

pysaml2 and xmlsec1 block, so they run in a bounded executor of their own with a deadline. One client per connection
version, one identity provider in its store, and no memory of people between calls (sso.md §2).
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import secrets
import shutil
import tempfile
import traceback
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from saml2 import BINDING_HTTP_POST
from saml2.client import Saml2Client
from saml2.config import SPConfig
from saml2.metadata import entity_descriptor

from connector.sso.saml import response as steps
from connector.sso.saml.metadata import IdpMetadata, Wants, clean_copy
from connector.sso.saml.request_seal import RequestSeal
from connector.sso.saml.response import Accepted, Document, Expected, SignInRefused
from connector.sso.saml.signatures import check_signatures
from connector.sso.settings import SamlSettings
from ledger.errors import Busy, Unavailable

T = TypeVar("T")

_CLIENTS = 256
_WAITING = 64
_OWN_CLOCK = int(timedelta(days=3650).total_seconds())
"""pysaml2 reads the machine's clock; we check every instant ourselves, against ours, so its checks never bind."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One connection version as pysaml2 needs it. ``key`` names it (organization and fingerprint)."""

    organization: str
    fingerprint: str
    metadata: IdpMetadata
    wants: Wants

    def cache_key(self, now: datetime) -> tuple[str, ...]:
        """Another key as soon as one of its certificates starts or stops being valid."""
        valid = (found.value.spki for found in self.metadata.certificates if found.value.valid(now))
        return (self.organization, self.fingerprint, *sorted(valid))


@dataclass(frozen=True, slots=True)
class SignInRequest:
    """A signed request on its way: ``location`` to redirect to, or ``form`` (HTML) to show when it is posted."""

    id: str
    location: str = ""
    form: str = ""


class _NoMemory:
    """In place of pysaml2's cache of people, which grows for ever: whatever is called, nothing is kept."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


class ServiceProvider:
    """Our service-provider side for every organization of the installation. ``close`` ends its threads and files."""

    def __init__(self, public_url: str, settings: SamlSettings, *, workers: int = 0, secret: bytes = b"") -> None:
        """Opens nothing yet; the signing key is read at the first use. ``workers`` 0: as many as processors.

        ``secret``: the installation's, which requests are sealed by; without one they are good in this process alone.
        """
        self.public_url = public_url.rstrip("/")
        self.seal = RequestSeal(secret or secrets.token_bytes(32))
        self.settings = settings
        count = workers or min(8, os.cpu_count() or 2)
        self._executor = ThreadPoolExecutor(max_workers=count, thread_name_prefix="saml")
        self._waiting = 0
        self._lock = Lock()
        self._clients: OrderedDict[tuple[str, ...], Saml2Client] = OrderedDict()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        logging.getLogger("saml2").setLevel(logging.CRITICAL + 1)  # it logs whole responses: people's names and mail

    def entity_id(self, organization: str) -> str:
        """Our entityID for one organization; also the address of our metadata."""
        return f"{self.public_url}/sso/{organization}/metadata"

    def acs(self, organization: str) -> str:
        """Where identity providers post responses for one organization."""
        return f"{self.public_url}/sso/{organization}/acs"

    async def metadata(self, organization: str) -> bytes:
        """Our metadata for one organization."""
        return await self._run(lambda: self._own_metadata(organization))

    async def request(self, peer: Peer, *, relay_state: str, force: bool, now: datetime) -> SignInRequest:
        """A signed request to the identity provider; ``force`` asks it to authenticate anew (tests)."""
        return await self._run(lambda: self._request(peer, relay_state, force, now))

    async def judge(self, peer: Peer, document: Document, expected: Expected) -> Accepted:
        """Steps ② to ⑨ and ⑪ (⑩, replay, is the ledger's). Raises ``SignInRefused`` with the reason, ``Busy``."""
        return await self._run(lambda: self._judge(peer, document, expected))

    async def close(self) -> None:
        """End the threads once what runs is done, and remove the copy of a key that came by environment."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
        if self._folder is not None:
            self._folder.cleanup()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING:
            raise Busy("too many sign-ins are being judged", next_step="try again in a moment")
        self._waiting += 1
        try:
            async with asyncio.timeout(self.settings.deadline.total_seconds()):
                return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except TimeoutError as error:
            raise Busy("judging a sign-in took too long", next_step="try again in a moment") from error
        finally:
            self._waiting -= 1

    def _judge(self, peer: Peer, document: Document, expected: Expected) -> Accepted:
        steps.check_envelope(document, expected)
        steps.check_shape(document)
        check_signatures(document, expected)
        verified_id, signed = self._verify(peer, document, expected)
        steps.check_verified(document, verified_id, signed)
        steps.check_issuer(document, expected)
        steps.check_conditions(document, expected)
        ends = steps.check_subject(document, expected)
        at = steps.check_authentication(document, expected)
        return steps.accepted(document, expected, ends, at)

    def _verify(self, peer: Peer, document: Document, expected: Expected) -> tuple[str, bool]:
        """④ pysaml2 and xmlsec1: is the signature right, by a key of this identity provider?"""
        client = self._client(peer, expected.now)
        try:
            found = client.parse_authn_request_response(
                base64.b64encode(document.data).decode("ascii"),
                BINDING_HTTP_POST,
                outstanding={expected.request_id: "/"},
                conv_info={"entity_id": expected.audience},
            )
        except Exception as error:  # a dozen own types, and AttributeError, RecursionError … on junk
            _forget_frames(error)
            raise SignInRefused(4, "not_verified", type(error).__name__) from error
        if found is None or found.assertion is None:
            raise SignInRefused(4, "not_verified", "no assertion")
        signed = found.response if peer.wants.response_signed_only else found.assertion
        return str(found.assertion.id), bool(signed.signature)

    def _request(self, peer: Peer, relay_state: str, force: bool, now: datetime) -> SignInRequest:
        client = self._client(peer, now)
        more = {"force_authn": "true"} if force else {}
        request_id, info = client.prepare_for_authenticate(
            entityid=peer.metadata.entity_id,
            binding=peer.metadata.binding,
            relay_state=relay_state,
            sign=True,
            **more,
        )
        location = dict(info.get("headers", ())).get("Location", "")
        return SignInRequest(str(request_id), location, "" if location else str(info["data"]))

    def _client(self, peer: Peer, now: datetime) -> Saml2Client:
        key = peer.cache_key(now)
        with self._lock:
            if key in self._clients:
                self._clients.move_to_end(key)
                return self._clients[key]
        config = self._config(peer.organization, clean_copy(peer.metadata, now), peer.wants)
        client = Saml2Client(config=config, identity_cache=_NoMemory())
        with self._lock:
            self._clients[key] = client
            if len(self._clients) > _CLIENTS:
                self._clients.popitem(last=False)
        return client

    def _own_metadata(self, organization: str) -> bytes:
        return str(entity_descriptor(self._config(organization, "", Wants()))).encode()

    def _config(self, organization: str, idp: str, wants: Wants) -> SPConfig:
        key_file, certificate_file = self._key_files()
        whole = wants.response_signed_only
        values: dict[str, Any] = {
            "entityid": self.entity_id(organization),
            "service": {
                "sp": {
                    "endpoints": {"assertion_consumer_service": [(self.acs(organization), BINDING_HTTP_POST)]},
                    "allow_unsolicited": False,
                    "want_assertions_signed": not whole,
                    "want_response_signed": whole,
                    "authn_requests_signed": True,
                    # only inside service.sp: at top level pysaml2 ignores them and signs with SHA-1
                    "signing_algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
                    "digest_algorithm": "http://www.w3.org/2001/04/xmlenc#sha256",
                }
            },
            "key_file": str(key_file),
            "cert_file": str(certificate_file),
            "metadata_key_usage": "signing",
            "xmlsec_binary": _xmlsec1(),
            "accepted_time_diff": _OWN_CLOCK,
            "allow_unknown_attributes": True,
            "only_use_keys_in_metadata": True,
        }
        if idp:
            values["metadata"] = {"inline": [idp]}
        return SPConfig().load(values)

    def _key_files(self) -> tuple[Path, Path]:
        """pysaml2 wants files; a key that comes by environment is copied into a folder only we can read."""
        found = []
        for reference in (self.settings.signing_key, self.settings.signing_certificate):
            content = reference.reveal()
            if reference.scheme == "file":
                found.append(Path(reference.name))
                continue
            with self._lock:
                self._folder = self._folder or tempfile.TemporaryDirectory(prefix="rosterd-saml-")
            path = Path(self._folder.name) / f"{len(found)}.pem"
            path.touch(mode=0o600)
            path.write_text(content + "\n", encoding="ascii")
            found.append(path)
        return found[0], found[1]


def _forget_frames(error: BaseException) -> None:
    """Let go of what the failed frames hold: responses with people in them, and temporary files that stay open."""
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__context__


def _xmlsec1() -> str:
    found = shutil.which("xmlsec1")
    if found is None:
        raise Unavailable("the program xmlsec1 is not installed", next_step="apt-get install xmlsec1")
    return found
