"""Our side of SAML: signs requests, has responses judged. The only file that speaks pysaml2.

pysaml2 and xmlsec1 block, so they run in a bounded executor of their own with a deadline. One client per connection
version, one identity provider in its store, and no memory of people between calls (sso.md §2).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import secrets
import shutil
import traceback
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Any, TypeVar

from saml2 import BINDING_HTTP_POST, class_name
from saml2.client import Saml2Client
from saml2.config import SPConfig
from saml2.samlp import response_from_string
from saml2.sigver import SigverError

from connector.sso.saml import response as steps
from connector.sso.saml.metadata import MOST_CERTIFICATES, Peer, Wants, clean_copy
from connector.sso.saml.own_metadata import OwnSide
from connector.sso.saml.posting_page import posting_page
from connector.sso.saml.request_seal import RequestSeal, Seal
from connector.sso.saml.response import Accepted, Document, Expected, SignInRefused
from connector.sso.saml.signatures import check_signatures, named_certificates
from connector.sso.saml.signing import OwnKeys, Pair, read_keys
from connector.sso.settings import SamlSettings, SsoSettings
from ledger.errors import BadInput, Busy, Unavailable
from ledger.secret import SecretRef

_log = logging.getLogger("rosterd.sso")

T = TypeVar("T")

_CONTENT = "content"
"""The reason of what pysaml2 refused for something else than the signature, which is right."""
_ENDS = b"rosterd sso: how sign-ins ended, 1"
_CLIENTS = 256
_WAITING = 128
_OF_ONE = _WAITING // 2
"""How many may wait, and how many of them of one organization."""
_OWN_CLOCK = int(timedelta(days=3650).total_seconds())
"""pysaml2 reads the machine's clock; we check every instant ourselves, against ours, so its checks never bind."""


@dataclass(frozen=True, slots=True)
class SignInRequest:
    """A signed request on its way: ``location`` to redirect to, or ``form`` (HTML) to show when it is posted."""

    id: str
    location: str = ""
    form: str = ""


@dataclass
class _Share:
    """What one organization has of the workers: how many are free for it, and how many calls wait or are at work."""

    workers: asyncio.Semaphore
    waiting: int = 0


class _NoMemory:
    """In place of pysaml2's cache of people, which grows for ever: whatever is called, nothing is kept."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


class ServiceProvider:
    """Our service-provider side for every organization of the installation. ``close`` ends its threads and files."""

    def __init__(
        self,
        public_url: str,
        settings: SamlSettings,
        *,
        workers: int = 0,
        sso_of: Callable[[str], SsoSettings] = lambda _: SsoSettings(),
        secret: bytes = b"",
    ) -> None:
        """Opens nothing yet; the signing key is read at the first use, and again whenever its file is another.
        ``workers`` 0: as many as processors. ``sso_of``: an organization's ``[sso]`` as it is now. ``secret``: the
        installation's, which requests are sealed by; without one they are good in this process alone."""
        self.public_url = public_url.rstrip("/")
        secret = secret or secrets.token_bytes(32)
        self.seal, self.ends = RequestSeal(secret), Seal(secret, _ENDS)
        self.settings = settings
        self._sso_of = sso_of
        count = workers or min(8, max(2, os.cpu_count() or 2))
        self._executor = ThreadPoolExecutor(max_workers=count, thread_name_prefix="saml")
        self._shares: defaultdict[str, _Share] = defaultdict(lambda: _Share(asyncio.Semaphore(max(1, count - 1))))
        self._lock = Lock()
        self._signers: dict[str, str] = {}  # organization → the key that signed last
        self._clients: OrderedDict[tuple[str, ...], Saml2Client] = OrderedDict()
        self._keyring = _Keyring(settings)
        logging.getLogger("saml2").setLevel(logging.CRITICAL + 1)  # it logs whole responses: people's names and mail

    def entity_id(self, organization: str) -> str:
        """Our entityID for one organization; also the address of our metadata."""
        return self._own(organization).entity_id

    def acs(self, organization: str) -> str:
        """Where identity providers post responses for one organization."""
        return self._own(organization).acs

    async def metadata(self, organization: str) -> bytes:
        """Our metadata for one organization, with every certificate that is published now (N17)."""
        own = self._own(organization)
        return await self._run(
            organization, lambda _: own.metadata([one.base64 for one in self._keyring.keys().certificates])
        )

    async def request(self, peer: Peer, *, relay_state: str, force: bool, now: datetime) -> SignInRequest:
        """A signed request to the identity provider; ``force`` asks it to authenticate anew (tests)."""
        return await self._run(peer.organization, lambda _: self._request(peer, relay_state, force, now))

    async def judge(self, peer: Peer, document: Document, expected: Expected) -> Accepted:
        """Steps ② to ⑨ and ⑪ (⑩, replay, is the ledger's). Raises ``SignInRefused`` with the reason, ``Busy``."""
        return await self._run(peer.organization, lambda given_up: self._judge(peer, document, expected, given_up))

    async def close(self) -> None:
        """End the threads once what runs is done, and let go of the keys."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
        self._keyring.close()

    def _own(self, organization: str) -> OwnSide:
        return OwnSide(self.public_url, organization, self._sso_of(organization))

    async def _run(self, organization: str, work: Callable[[Event], T]) -> T:
        """Have it done by a worker. ``work`` is handed what is set once nobody waits for it any more.

        One organization has all workers but one at most, until they are really done: whatever its identity provider
        or its responses cost, somebody else's sign-in finds one free.
        """
        share, given_up = self._shares[organization], Event()
        if share.waiting >= _OF_ONE or sum(one.waiting for one in self._shares.values()) >= _WAITING:
            raise Busy("too many sign-ins are being judged", next_step="try again in a moment")
        share.waiting += 1
        try:
            async with asyncio.timeout(self.settings.deadline.total_seconds()):
                await share.workers.acquire()
                return await asyncio.wrap_future(self._begin(share, lambda: work(given_up)))
        except TimeoutError as error:
            raise Busy("judging a sign-in took too long", next_step="try again in a moment") from error
        finally:
            given_up.set()
            share.waiting -= 1

    def _begin(self, share: _Share, work: Callable[[], T]) -> Future[T]:
        """Hand it to the executor; the worker counts as the organization's until it is done or was never begun."""
        loop = asyncio.get_running_loop()
        try:
            begun = self._executor.submit(work)
        except BaseException:
            share.workers.release()
            raise

        def release(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(share.workers.release)

        begun.add_done_callback(release)
        return begun

    def _judge(self, peer: Peer, document: Document, expected: Expected, given_up: Event) -> Accepted:
        steps.check_envelope(document, expected)
        steps.check_shape(document)
        check_signatures(document, expected)
        try:
            verified_id, signed, signer = self._verify(peer, document, expected, given_up)
        except SignInRefused as error:
            if error.reason == _CONTENT:
                _claims(document, expected)  # our own reason; what pysaml2 refuses stays refused without one
            raise
        steps.check_verified(document, verified_id, signed)
        return replace(_claims(document, expected), signer=signer)

    def _verify(self, peer: Peer, document: Document, expected: Expected, given_up: Event) -> tuple[str, bool, str]:
        """④ Is the signature right, and by which key of this identity provider (``spki``)?

        First alone: the key that the response names, or else the one that signed last. Then the others together, so
        that what none of them signed costs each key once; ten keys at most, however many an older version has.
        """
        named = named_certificates(document)
        hinted = {one.value.spki for one in peer.metadata.certificates if one.base64 in named}
        last = self._signers.get(peer.organization, "")
        keys = sorted(peer.keys(expected.now), key=lambda key: (key not in hinted, key != last))[:MOST_CERTIFICATES]
        if len(keys) < 2:
            return (*self._verify_by(peer, document, expected), next(iter(keys), ""))
        first, *others = keys
        if (found := self._tried_alone(peer, first, document, expected)) is not None:
            return found
        if len(others) > 1:
            _require_awaited(given_up)
            self._verify_by(peer.with_keys(others), document, expected)  # refuses what none of them signed
        for key in others[:-1]:
            _require_awaited(given_up)
            if (found := self._tried_alone(peer, key, document, expected)) is not None:
                return found
        _require_awaited(given_up)
        return (*self._verified_alone(peer, others[-1], document, expected), others[-1])

    def _tried_alone(
        self, peer: Peer, key: str, document: Document, expected: Expected
    ) -> tuple[str, bool, str] | None:
        """As ``_verify`` by one key; None where it did not sign this."""
        try:
            return (*self._verified_alone(peer, key, document, expected), key)
        except SignInRefused as error:
            if error.reason == _CONTENT:
                raise
            return None

    def _verified_alone(self, peer: Peer, key: str, document: Document, expected: Expected) -> tuple[str, bool]:
        found = self._verify_by(peer.with_keys({key}), document, expected)
        self._signers[peer.organization] = key
        return found

    def _verify_by(self, peer: Peer, document: Document, expected: Expected) -> tuple[str, bool]:
        """pysaml2 and xmlsec1, with every key of ``peer``."""
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
            if isinstance(error, SigverError):
                raise SignInRefused(4, "not_verified", type(error).__name__) from error
            raise self._why(client, document, type(error).__name__) from error
        if found is None or found.assertion is None:
            raise self._why(client, document, "no assertion")
        signed = found.response if peer.wants.response_signed_only else found.assertion
        return str(found.assertion.id), bool(signed.signature)

    def _why(self, client: Saml2Client, document: Document, detail: str) -> SignInRefused:
        """What pysaml2 refused without saying whether for its signature or for what it says: the signatures alone are
        looked at once more. Only where every one of them is right is anything said of the content."""
        try:
            text = document.data.decode("utf-8")
            whole = response_from_string(text)
            if [item.id for item in whole.assertion] != [document.assertion.get("ID")]:
                return SignInRefused(4, "not_verified", detail)
            for item in (whole, *whole.assertion):
                if item.signature is not None:
                    client.sec.check_signature(item, class_name(item), text)
        except Exception as error:
            _forget_frames(error)
            return SignInRefused(4, "not_verified", detail)
        return SignInRefused(4, "content", detail)

    def _request(self, peer: Peer, relay_state: str, force: bool, now: datetime) -> SignInRequest:
        client = self._client(peer, now)
        more = {"force_authn": "true"} if force else {}
        if peer.metadata.binding == BINDING_HTTP_POST:
            # a page of our own: pysaml2's does not escape the address
            address = peer.metadata.services[BINDING_HTTP_POST]
            request_id, message = client.create_authn_request(address, sign=True, **more)
            posted = base64.b64encode(str(message).encode()).decode("ascii")
            page = posting_page(address, {"SAMLRequest": posted, "RelayState": relay_state})
            return SignInRequest(str(request_id), form=page)
        request_id, info = client.prepare_for_authenticate(
            entityid=peer.metadata.entity_id,
            binding=peer.metadata.binding,
            relay_state=relay_state,
            sign=True,
            **more,
        )
        return SignInRequest(str(request_id), dict(info["headers"])["Location"])

    def _client(self, peer: Peer, now: datetime) -> Saml2Client:
        signing = self._keyring.keys().signing
        key = (*peer.cache_key(now), signing.certificate.sha256)
        with self._lock:
            if key in self._clients:
                self._clients.move_to_end(key)
                return self._clients[key]
        config = self._config(peer.organization, clean_copy(peer.metadata, now), peer.wants, signing)
        client = Saml2Client(config=config, identity_cache=_NoMemory())
        with self._lock:
            self._clients[key] = client
            if len(self._clients) > _CLIENTS:
                self._clients.popitem(last=False)
        return client

    def _config(self, organization: str, idp: str, wants: Wants, signing: Pair) -> SPConfig:
        key_file, certificate_file = self._keyring.paths(signing)
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
            "key_file": key_file,
            "cert_file": certificate_file,
            "xmlsec_binary": _xmlsec1(),
            "accepted_time_diff": _OWN_CLOCK,
            "allow_unknown_attributes": True,
            "only_use_keys_in_metadata": True,
            "metadata": {"inline": [idp]},
        }
        return SPConfig().load(values)


def _claims(document: Document, expected: Expected) -> Accepted:
    """⑥ to ⑨ and ⑪: what a response says whose signature is right."""
    steps.check_issuer(document, expected)
    steps.check_conditions(document, expected)
    ends = steps.check_subject(document, expected)
    at = steps.check_authentication(document, expected)
    return steps.accepted(document, expected, ends, at)


class _Keyring:
    """Our keys as the references show them now, and as files that pysaml2 can open."""

    def __init__(self, settings: SamlSettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._keys: OwnKeys | None = None
        self._seen: tuple[object, ...] = ()
        self._open: dict[str, tuple[int, int]] = {}

    def keys(self) -> OwnKeys:
        """Read again when a file is another than before. Once read, unreadable files change nothing and are logged:
        a rotation gone wrong must not end sign-ins that worked. Raises ``BadInput`` at the first reading."""
        with self._lock:
            references = (self._settings.signing_key, self._settings.signing_certificate)
            seen = tuple(_stamp(reference) for reference in references)
            if self._keys is not None and seen == self._seen:
                return self._keys
            try:
                found = read_keys(self._settings)
            except BadInput as error:
                if self._keys is None:
                    raise
                _log.error("own_key_unreadable where=%s what=%s", error.where, error.what)
                found = self._keys
            self._keys, self._seen = found, seen
            return found

    def paths(self, pair: Pair) -> tuple[str, str]:
        """A pair as two files in memory that only this process's user opens: no second copy of a key on a disk."""
        with self._lock:
            name = pair.certificate.sha256
            if name not in self._open:
                self._open[name] = (_in_memory(pair.key), _in_memory(pair.certificate.pem))
            key, certificate = self._open[name]
        return f"/proc/{os.getpid()}/fd/{key}", f"/proc/{os.getpid()}/fd/{certificate}"

    def close(self) -> None:
        """Forget the files in memory."""
        with self._lock:
            while self._open:
                for descriptor in self._open.popitem()[1]:
                    os.close(descriptor)


def _require_awaited(given_up: Event) -> None:
    """Go on with nothing that nobody waits for."""
    if given_up.is_set():
        raise Busy("judging a sign-in took too long", next_step="try again in a moment")


def _stamp(reference: SecretRef) -> object:
    """Changes whenever a file is replaced or written; what comes by environment stays as long as the process."""
    if reference.scheme != "file":
        return None
    try:
        found = os.stat(reference.name)
    except OSError as error:
        return error.errno
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("rosterd-saml", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as handle:
        handle.write(content)
    return descriptor


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
