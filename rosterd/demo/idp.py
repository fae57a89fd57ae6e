"""The demo company's identity provider: a real pysaml2 one, in its own process, on loopback.

``python -m rosterd.demo.idp --port P --folder DIR --sp-metadata ADDRESS [--person MAIL] [--signs-in TEXT]
[--ahead FILE] [--with-starter]``. Makes a key and a certificate in DIR at the first start and writes
``idp-metadata.xml`` beside them.
``/sso`` checks our signed request and answers for ``--person`` at once, or asks who is signing in. Prohibition: no
passwords; loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as calendar
import html
import shutil
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, time_util
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_EMAILADDRESS, NameID
from saml2.server import Server

from connector.sso.saml.signing import make_certificate
from rosterd.demo.children import LISTENING, WITH_STARTER, starter_gone
from rosterd.demo.page import page

_HOST = "127.0.0.1"
_RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"  # noqa: S105 (a SAML name)
_LIFE = calendar.timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Idp:
    """What the process was started with. ``sp_metadata``: address of the service provider's metadata, or a file;
    ``signs_in``: whom, as its page says."""

    address: str
    folder: Path
    sp_metadata: str
    person: str = ""
    signs_in: str = ""

    @property
    def entity_id(self) -> str:
        """entityID, and address of the metadata."""
        return f"{self.address}/metadata"

    def make_key(self, now: calendar.datetime) -> None:
        """Key and certificate, once."""
        if (self.folder / "idp-key.pem").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        key, certificate = make_certificate(
            "Acme demo identity provider", now - calendar.timedelta(days=1), now + _LIFE
        )
        (self.folder / "idp-certificate.pem").write_bytes(certificate)
        (self.folder / "idp-key.pem").touch(mode=0o600)
        (self.folder / "idp-key.pem").write_bytes(key)

    def config(self, sp_metadata: str = "") -> IdPConfig:
        """pysaml2's configuration; knows the service provider when its metadata (XML) is given."""
        values: dict[str, Any] = {
            "entityid": self.entity_id,
            "service": {
                "idp": {
                    "name": "Acme demo identity provider",
                    "endpoints": {
                        "single_sign_on_service": [
                            (f"{self.address}/sso", BINDING_HTTP_REDIRECT),
                            (f"{self.address}/sso", BINDING_HTTP_POST),
                        ]
                    },
                    "want_authn_requests_signed": True,
                    "name_id_format": [NAMEID_FORMAT_EMAILADDRESS],
                    "policy": {"default": {"lifetime": {"minutes": 5}}},
                }
            },
            "key_file": str(self.folder / "idp-key.pem"),
            "cert_file": str(self.folder / "idp-certificate.pem"),
            "metadata_key_usage": "signing",
            "xmlsec_binary": shutil.which("xmlsec1"),
        }
        if sp_metadata:
            values["metadata"] = {"inline": [sp_metadata]}
        return IdPConfig().load(values)

    def metadata(self) -> str:
        """Its own metadata."""
        return str(entity_descriptor(self.config()))

    def respond(self, sp_metadata: str, fields: Mapping[str, str], method: str, person: str) -> str:
        """Check the request and sign an answer for ``person``: a page that posts itself. Raises for a bad request."""
        server = Server(config=self.config(sp_metadata))
        binding = BINDING_HTTP_REDIRECT if "SigAlg" in fields or method == "GET" else BINDING_HTTP_POST
        request = server.parse_authn_request(
            fields["SAMLRequest"],
            binding,
            relay_state=fields.get("RelayState", ""),
            sigalg=fields.get("SigAlg"),
            signature=fields.get("Signature"),
        )
        wanted = server.response_args(request.message)
        response = server.create_authn_response(
            {"mail": person},
            wanted["in_response_to"],
            wanted["destination"],
            sp_entity_id=wanted["sp_entity_id"],
            name_id=NameID(format=NAMEID_FORMAT_EMAILADDRESS, text=person),
            authn={"class_ref": _PASSWORD, "authn_auth": self.entity_id},
            sign_assertion=True,
            sign_response=False,
            sign_alg=_RSA_SHA256,
            digest_alg=_SHA256,
        )
        posted = server.apply_binding(
            BINDING_HTTP_POST, str(response), wanted["destination"], fields.get("RelayState", ""), response=True
        )
        return str(posted["data"])


def seconds_ahead(file: Path | None) -> float:
    """By how much the demo has moved its time; 0 without a file."""
    try:
        return float(file.read_text(encoding="ascii")) if file else 0.0
    except (OSError, ValueError):
        return 0.0


def shift_clock(ahead: Path) -> None:
    """Make pysaml2's clock, in this process, run ahead by the seconds that stand in a file (the demo moves time)."""

    def seconds() -> float:
        return seconds_ahead(ahead)

    class Shifted(calendar.datetime):
        @classmethod
        def now(cls, tz: calendar.tzinfo | None = None) -> Any:
            return calendar.datetime.now(tz) + calendar.timedelta(seconds=seconds())

    moved = types.SimpleNamespace(**{name: getattr(time, name) for name in ("strftime", "strptime", "mktime")})
    moved.gmtime = lambda at=None: time.gmtime(time.time() + seconds() if at is None else at)
    time_util.datetime = Shifted
    time_util.time = moved


_SP_METADATA: web.AppKey[dict[str, str]] = web.AppKey("sp_metadata", dict)


def make_app(idp: Idp) -> web.Application:
    """``/metadata`` and ``/sso``."""
    app = web.Application()
    app[_SP_METADATA] = {}

    async def metadata(_: web.Request) -> web.Response:
        return web.Response(text=await asyncio.to_thread(idp.metadata), content_type="application/samlmetadata+xml")

    async def sso(request: web.Request) -> web.Response:
        fields = {**request.query, **{key: str(value) for key, value in (await request.post()).items()}}
        person = fields.pop("person", "").strip().rstrip(".") or idp.person
        if not person:
            return web.Response(text=_ask(fields, idp.signs_in), content_type="text/html")
        sp_metadata = await _sp_metadata(request.app, idp.sp_metadata)
        try:
            posting = await asyncio.to_thread(idp.respond, sp_metadata, fields, request.method, person)
        except Exception as error:  # pysaml2 raises many kinds; the demo shows which
            raise web.HTTPBadRequest(text=f"the request was refused: {type(error).__name__}") from error
        return web.Response(text=posting, content_type="text/html")

    app.router.add_get("/metadata", metadata)
    app.router.add_get("/sso", sso)
    app.router.add_post("/sso", sso)
    return app


async def _sp_metadata(app: web.Application, source: str) -> str:
    """The service provider's metadata, asked for once, when the first person comes."""
    known = app[_SP_METADATA]
    if source not in known:
        if source.startswith("http"):
            async with aiohttp.ClientSession() as session, session.get(source, raise_for_status=True) as answer:
                known[source] = await answer.text()
        else:
            known[source] = await asyncio.to_thread(Path(source).read_text, encoding="utf-8")
    return known[source]


# no type="email": browsers refuse a dot at the end, which is read all the same
def _ask(fields: Mapping[str, str], signs_in: str) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(key)}" value="{html.escape(value)}">' for key, value in fields.items()
    )
    label = '<label>Your mail address <input name="person" inputmode="email" autocomplete="email" required></label>'
    return page(
        "Sign-in for trying",
        f"<h1>Sign-in for trying</h1><p>This identity provider signs in {html.escape(signs_in)}: it asks for no"
        " password and proves nothing to the world.</p>"
        f'<form method="post" action="/sso">{hidden}{label} <button>Sign in</button></form>'
        '<p class="small">It runs on this machine alone. Ctrl-C, in the terminal that it was started in, ends it.</p>',
    )


async def serve(idp: Idp, port: int, *, with_starter: bool = False) -> None:
    """Serve until cancelled, or until the starter has gone; prints its address once it listens."""
    runner = web.AppRunner(make_app(idp), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, port).start()
        print(f"{LISTENING}{_HOST}:{port}", flush=True)  # noqa: T201 (the one line its starter waits for)
        await starter_gone(with_starter)
    finally:
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="rosterd.demo.idp", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sp-metadata", required=True)
    parser.add_argument("--person", default="")
    parser.add_argument("--signs-in", default="whoever you say you are")
    parser.add_argument("--ahead", type=Path, default=None)
    parser.add_argument(WITH_STARTER, action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.ahead is not None:
        shift_clock(chosen.ahead)
    idp = Idp(f"http://{_HOST}:{chosen.port}", chosen.folder, chosen.sp_metadata, chosen.person, chosen.signs_in)
    ahead = calendar.timedelta(seconds=seconds_ahead(chosen.ahead))
    idp.make_key(calendar.datetime.now(calendar.UTC) + ahead)
    (chosen.folder / "idp-metadata.xml").write_text(idp.metadata(), encoding="utf-8")
    asyncio.run(serve(idp, chosen.port, with_starter=chosen.with_starter))


if __name__ == "__main__":
    main()
