"""N12: one GET through the door, against real servers, names and certificates on loopback."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from access.outbound.door import Caps, Door
from access.outbound.settings import OutboundSettings
from ledger.errors import BadInput, NotFound, Refused, RosterdError, Unavailable
from tests.parts.dns import changing_names
from tests.parts.https import Authority, Listening, Parts, document, listening

NAME = "idp.acme.example"
BODY = b"a document"
GUARD = 20.0
"""Seconds after which a test whose cap is missing fails instead of waiting for ever."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[Listening]:
    async with listening(document(BODY, "Text/Plain; charset=utf-8"), authority.issue(NAME)) as found:
        yield found


class Names:
    """A resolver that knows one name, and counts."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = [ip_address(text) for text in addresses]
        self.asked = 0

    async def addresses(self, host: str) -> Sequence[IPv4Address | IPv6Address]:
        assert host == NAME
        self.asked += 1
        return self._addresses


def door(authority: Authority, port: int, *addresses: str, allow: tuple[str, ...] = ()) -> Door:
    """A door to ``NAME`` at this port of 127.0.0.1, unless ``allow`` says otherwise."""
    settings = OutboundSettings(allow=allow or (f"127.0.0.1:{port}",), ca=str(authority.file))
    return Door(settings, Names(*(addresses or ("127.0.0.1",))))


async def failure(reached: Door, port: int, caps: Caps | None = None) -> RosterdError:
    """What the door raises for a URL that holds a secret; it is never repeated."""
    url = f"https://{NAME}:{port}/a/b?token=geheim"
    async with asyncio.timeout(GUARD):
        with pytest.raises(RosterdError) as caught:
            await (reached.get(url, caps) if caps else reached.get(url))
    assert caught.value.where == f"https://{NAME}:{port}/a/b"
    assert caught.value.next_step
    assert "geheim" not in str(caught.value)
    return caught.value


async def test_n12_a_document_comes_from_the_name_at_the_judged_address(
    authority: Authority, server: Listening
) -> None:
    found = await door(authority, server.port).get(f"https://{NAME}:{server.port}/a/b?c=d")
    assert (found.body, found.content_type, found.address) == (BODY, "text/plain", IPv4Address("127.0.0.1"))
    assert server.names == [NAME]
    head = server.heads[0].lower()
    assert head.startswith("get /a/b?c=d http/1.1\r\n")
    assert f"\r\nhost: {NAME}:{server.port}\r\n" in head
    assert "\r\naccept-encoding: identity\r\n" in head


async def test_n12_a_name_that_changes_its_answer_is_looked_up_once(authority: Authority) -> None:
    tls = authority.issue(NAME, "other.example")
    async with (
        listening(document(BODY), tls) as first,
        listening(document(b"inside"), tls, host="127.0.0.2", port=first.port) as inside,
        changing_names({NAME: [["127.0.0.1"], ["127.0.0.2"]]}) as names,
    ):
        settings = OutboundSettings(allow=(f"127.0.0.1:{first.port}",), ca=str(authority.file))
        reached = Door(settings, names)
        found = await reached.get(f"https://{NAME}:{first.port}/")
        assert (found.body, found.address) == (BODY, IPv4Address("127.0.0.1"))
        assert names.asked == [(NAME, "A"), (NAME, "AAAA")]
        refused = await failure(reached, first.port)
        assert isinstance(refused, Refused)
        assert "not public (loopback)" in refused.what
        assert (first.connections, inside.connections) == (1, 0)


@pytest.mark.parametrize("other", ["10.0.0.1", "::ffff:127.0.0.1", "::1", "169.254.169.254", "127.0.0.2"])
async def test_n12_one_address_that_is_shut_refuses_the_host(
    authority: Authority, server: Listening, other: str
) -> None:
    async with changing_names({NAME: [["127.0.0.1", other]]}) as names:
        settings = OutboundSettings(allow=(f"127.0.0.1:{server.port}",), ca=str(authority.file))
        refused = await failure(Door(settings, names), server.port)
    assert isinstance(refused, Refused)
    assert "not public" in refused.what
    assert server.connections == 0


async def test_n12_nothing_is_open_unless_the_operator_says_so(authority: Authority, server: Listening) -> None:
    closed = Door(OutboundSettings(ca=str(authority.file)), Names("127.0.0.1"))
    refused = await failure(closed, server.port)
    assert isinstance(refused, Refused)
    assert "allow in [outbound] of rosterd.toml" in refused.next_step
    with pytest.raises(Refused):
        await closed.get(f"https://127.0.0.1:{server.port}/")
    assert server.connections == 0


async def test_n12_a_name_that_cannot_be_looked_up_is_unavailable(authority: Authority) -> None:
    async with changing_names({}) as names:
        settings = OutboundSettings(ca=str(authority.file))
        with pytest.raises(Unavailable, match="cannot be looked up"):
            await Door(settings, names).get(f"https://{NAME}/")


async def test_the_next_address_is_tried_where_one_cannot_be_connected_to(
    authority: Authority, server: Listening
) -> None:
    reached = door(authority, server.port, "127.0.0.3", "127.0.0.1", allow=(f"127.0.0.0/8:{server.port}",))
    assert (await reached.get(f"https://{NAME}:{server.port}/")).address == IPv4Address("127.0.0.1")
    nowhere = door(authority, server.port, "127.0.0.3", allow=(f"127.0.0.0/8:{server.port}",))
    unreached = await failure(nowhere, server.port)
    assert unreached.what == "cannot be reached: Connection refused"


async def test_the_resolver_of_this_host_knows_all_addresses_of_localhost(authority: Authority) -> None:
    async with listening(document(BODY), authority.issue("localhost")) as server:
        allow = (f"127.0.0.1:{server.port}", f"[::1]:{server.port}")
        reached = Door(OutboundSettings(allow=allow, ca=str(authority.file)))
        found = await reached.get(f"https://localhost:{server.port}/")
    assert (found.body, str(found.address)) == (BODY, "127.0.0.1")


async def test_a_bare_address_needs_a_certificate_of_its_own(authority: Authority, server: Listening) -> None:
    reached = door(authority, server.port)
    with pytest.raises(Unavailable, match="certificate is not accepted"):
        await reached.get(f"https://127.0.0.1:{server.port}/")
    async with listening(document(BODY), authority.issue("127.0.0.1")) as named:
        found = await door(authority, named.port).get(f"https://127.0.0.1:{named.port}/")
    assert found.body == BODY


async def test_n12_http_is_fetched_from_an_opened_loopback_address_only(authority: Authority) -> None:
    async with listening(document(BODY)) as server:
        found = await door(authority, server.port).get(f"http://{NAME}:{server.port}/")
        assert found.body == BODY
        with pytest.raises(Refused, match="http is not fetched"):
            await door(authority, server.port, allow=("127.0.0.0/8",)).get(f"http://{NAME}:{server.port}/")
        assert server.connections == 1


@pytest.mark.parametrize("status", ["301 X", "302 X", "303 X", "307 X", "308 X"])
async def test_n12_a_redirect_is_not_followed(authority: Authority, server: Listening, status: str) -> None:
    location = f"Location: https://{NAME}:{server.port}/final\r\n"
    async with listening(document(b"", status=status, more=location), authority.issue(NAME)) as moved:
        allow = (f"127.0.0.1:{moved.port}", f"127.0.0.1:{server.port}")
        error = await failure(door(authority, moved.port, allow=allow), moved.port)
    assert isinstance(error, BadInput)
    assert "redirects (30" in error.what
    assert server.connections == 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [("404 X", NotFound), ("410 X", Unavailable), ("403 X", Unavailable), ("500 X", Unavailable),
     ("204 X", Unavailable), ("206 X", Unavailable)],
)  # fmt: skip
async def test_n12_only_404_says_that_there_is_none(
    authority: Authority, status: str, kind: type[RosterdError]
) -> None:
    async with listening(document(b"", status=status), authority.issue(NAME)) as server:
        error = await failure(door(authority, server.port), server.port)
    assert type(error) is kind
    assert error.what.startswith(f"answers {status[:3]}")


async def _endless() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"1000\r\n" + b"x" * 0x1000 + b"\r\n"


async def _one_byte_too_many() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 10_001


TOO_LARGE: dict[str, bytes | Parts] = {
    "endless": _endless,
    "one byte too many, unannounced": _one_byte_too_many,
    "announced": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx",
}


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_n12_a_body_beyond_its_cap_is_given_up(authority: Authority, what: str) -> None:
    async with listening(TOO_LARGE[what], authority.issue(NAME)) as server:
        error = await failure(door(authority, server.port), server.port, Caps(size=10_000))
    assert isinstance(error, BadInput)
    assert error.what == "is over 9 KiB"


async def test_a_body_of_exactly_its_cap_is_whole(authority: Authority) -> None:
    async with listening(document(b"x" * 10_000), authority.issue(NAME)) as server:
        url = f"https://{NAME}:{server.port}/"
        found = await door(authority, server.port).get(url, Caps(size=10_000))
    assert len(found.body) == 10_000


@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "br", "nobody-knows"])
async def test_n12_a_packed_body_is_not_unpacked(authority: Authority, coding: str) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    answer = document(bomb, more=f"Content-Encoding: {coding}\r\n")
    async with listening(answer, authority.issue(NAME)) as server:
        error = await failure(door(authority, server.port), server.port, Caps(size=1_000_000))
    assert isinstance(error, BadInput)
    assert "packed" in error.what


async def _dripping() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"
    while True:
        yield b"x"
        await asyncio.sleep(0.01)


async def _never_a_head() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"x: y\r\n"
        await asyncio.sleep(0.05)


async def _only_informed() -> AsyncIterator[bytes]:
    while True:
        yield b"HTTP/1.1 103 Early Hints\r\n\r\n"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [_dripping, _never_a_head, _only_informed])
async def test_n12_an_answer_that_does_not_come_to_its_end_is_given_up(authority: Authority, answer: Parts) -> None:
    async with listening(answer, authority.issue(NAME)) as server:
        error = await failure(door(authority, server.port), server.port, Caps(seconds=0.5))
    assert isinstance(error, Unavailable)
    assert error.what == "there was no whole answer within 0.5 s"


async def test_n12_a_server_that_never_speaks_tls_is_given_up(authority: Authority) -> None:
    async with listening(b"") as silent:
        caps = Caps(seconds=GUARD, connect=0.2)
        error = await failure(door(authority, silent.port), silent.port, caps)
    assert isinstance(error, Unavailable)
    assert error.what == "cannot be reached: no connection in time"


BROKEN = {
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx",
    "no HTTP": b"geheim\r\n\r\n",
    "nothing": b"",
    "a line without end": b"HTTP/1.1 200 OK\r\ngeheim: " + b"x" * 100_000,
    "very many lines": b"HTTP/1.1 200 OK\r\n" + b"geheim: x\r\n" * 10_000 + b"\r\n",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_n12_what_cannot_be_read_is_unavailable_and_not_repeated(authority: Authority, what: str) -> None:
    async with listening(BROKEN[what], authority.issue(NAME)) as server:
        error = await failure(door(authority, server.port), server.port)
    assert isinstance(error, Unavailable)
    assert error.what == "the connection broke, or what came is not HTTP"


async def test_n12_a_certificate_has_to_be_valid_for_the_name(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    for tls, said in (
        (authority.issue("other.example"), "Hostname mismatch"),
        (authority.issue("127.0.0.1"), "Hostname mismatch"),
        (stranger.issue(NAME), "unable to get local issuer"),
        (authority.issue(NAME, ended=timedelta(days=1)), "expired"),
    ):
        async with listening(document(BODY), tls) as server:
            error = await failure(door(authority, server.port), server.port)
        assert isinstance(error, Unavailable)
        assert said in error.what
        assert "ca in [outbound] of rosterd.toml" in error.next_step
        assert server.heads == []


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_a_file_of_authorities_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, encoding="ascii")
    reached = Door(OutboundSettings(allow=("127.0.0.1",), ca=str(file)), Names("127.0.0.1"))
    with pytest.raises(BadInput, match="cannot be used") as caught:
        await reached.get(f"https://{NAME}/")
    assert caught.value.next_step == "correct ca in [outbound] of rosterd.toml"


async def test_n12_proxies_and_passwords_of_the_environment_are_not_used(
    authority: Authority, server: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {NAME} login a password b\nmachine 127.0.0.1 login a password b\n", encoding="ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with listening(document(b"by the proxy")) as proxy, listening(document(BODY)) as clear:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{proxy.port}")
        found = await door(authority, server.port).get(f"https://{NAME}:{server.port}/")
        plain = await door(authority, clear.port).get(f"http://{NAME}:{clear.port}/")
        assert (found.body, plain.body) == (BODY, BODY)
        assert proxy.connections == 0
    assert not any("authorization" in head.lower() for head in (*server.heads, *clear.heads))
