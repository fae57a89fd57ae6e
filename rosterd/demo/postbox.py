"""A mail server for the demo and the lab: its own process on loopback that keeps every mail and shows them on a page.

``python -m rosterd.demo.postbox --port P --page-port Q --folder F [--with-starter]``. Mails are files, in the order in
which they came: 0001.eml, 0002.eml … Prohibition: passes nothing on, and takes mail from this machine only.
"""

from __future__ import annotations

import argparse
import asyncio
import email
import email.policy
import sys
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from rosterd.demo.children import LISTENING, WITH_STARTER, starter_gone
from rosterd.demo.page import page

_LOOPBACK = "127.0.0.1"
_LARGEST = 2**20
_POLICY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cache-Control": "no-store",
}


class Postbox:
    """The mails in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep one mail; written whole, or not at all."""
        number = len(list(self._folder.glob("*.eml"))) + 1
        fresh = self._folder / f"{number:04}.new"
        fresh.write_bytes(cast(bytes, envelope.original_content))
        fresh.replace(fresh.with_suffix(".eml"))
        return f"250 2.0.0 kept as {number:04}"

    def routes(self) -> list[web.RouteDef]:
        """The page: every mail, and one."""
        return [web.get("/", self.all), web.get(r"/{number:\d+}", self.one)]

    async def all(self, request: web.Request) -> web.Response:
        """Every mail, newest first."""
        rows = "".join(
            f"<tr><td><a href='/{number}'>{number}</a><td>{escape(str(mail['To']))}<td>{escape(str(mail['Subject']))}"
            for number, mail in reversed(list(mails(self._folder)))
        )
        shown = (
            f"<table><tr><th><th>to<th>subject{rows}</table>" if rows else "<p>No mail has come yet: load it again.</p>"
        )
        text = page("Mails", f"<h1>Mails</h1><p>Whatever was sent to anybody; nothing leaves this machine.</p>{shown}")
        return web.Response(text=text, content_type="text/html", headers=_POLICY)

    async def one(self, request: web.Request) -> web.Response:
        """One mail as a mail program shows it."""
        found = dict(mails(self._folder)).get(request.match_info["number"])
        if found is None:
            raise web.HTTPNotFound(text="there is no such mail")
        head = "".join(
            f"{name}: {escape(str(found[name]))}<br>"
            for name in ("From", "Reply-To", "To", "Date", "Subject")
            if name in found
        )
        body = f"<p><a href='/'>Mails</a></p><p>{head}</p><hr>{html_of(found)}"
        return web.Response(text=page(str(found["Subject"]), body), content_type="text/html", headers=_POLICY)


def mails(folder: Path) -> Iterator[tuple[str, EmailMessage]]:
    """Number → mail, in the order in which they came."""
    for path in sorted(folder.glob("*.eml")):
        yield path.stem, _mail(path)


@lru_cache(maxsize=1000)
def _mail(path: Path) -> EmailMessage:
    """One mail; it never changes, and whoever waits for the next one looks again and again."""
    return email.message_from_bytes(path.read_bytes(), policy=email.policy.default)


def text_of(mail: EmailMessage) -> str:
    """What a mail says, as plain text."""
    part = mail.get_body(("plain",))
    return str(part.get_content()) if part is not None else ""


def html_of(mail: EmailMessage) -> str:
    """The page of a mail."""
    part = mail.get_body(("html",))
    return str(part.get_content()) if part is not None else ""


async def serve(port: int, page_port: int, folder: Path, *, with_starter: bool) -> None:
    """Answer until the starter has gone."""
    loop, postbox = asyncio.get_running_loop(), Postbox(folder)
    server = await loop.create_server(
        lambda: SMTP(postbox, hostname="postbox.example", enable_SMTPUTF8=True, data_size_limit=_LARGEST, loop=loop),
        _LOOPBACK,
        port,
    )
    app = web.Application()
    app.add_routes(postbox.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, _LOOPBACK, page_port).start()
    sys.stdout.write(f"{LISTENING}{_LOOPBACK}:{port}\n")
    sys.stdout.flush()
    try:
        await starter_gone(with_starter)
    finally:
        server.close()
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and serve."""
    parser = argparse.ArgumentParser(prog="python -m rosterd.demo.postbox")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--page-port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument(WITH_STARTER, action="store_true")
    chosen = parser.parse_args(arguments)
    asyncio.run(serve(chosen.port, chosen.page_port, chosen.folder, with_starter=chosen.with_starter))


if __name__ == "__main__":
    main()
