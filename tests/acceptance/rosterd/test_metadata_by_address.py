"""``rosterd sso connect https://…``: metadata comes through the one door out, as far as rosterd.toml opens it (N12)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from tests.parts.https import Authority, document, listening
from tests.parts.idp import Key, metadata
from tests.parts.installation import Installation, run

IDP = "https://idp.acme.example/metadata"


async def test_n12_metadata_is_taken_from_an_address_that_the_operator_opened(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    authority = Authority(acme.folder)
    answer = document(metadata(IDP, Key.make(datetime.now(UTC))), "application/samlmetadata+xml")
    async with listening(answer, authority.issue("localhost")) as server:

        async def connect(scheme: str = "https") -> tuple[int, str]:
            url = f"{scheme}://localhost:{server.port}/metadata?token=geheim"
            done = await asyncio.to_thread(run, "--config", str(acme.file), "sso", "connect", url)
            return done.code, done.out + done.err

        code, said = await connect()
        assert code == 3
        assert "localhost has an address that is not public (loopback)" in said
        assert "allow in [outbound] of rosterd.toml" in said
        assert server.connections == 0

        outbound = f'allow = ["127.0.0.1:{server.port}", "[::1]:{server.port}"]\n'
        with acme.file.open("a", encoding="utf-8") as file:
            file.write(f"\n[outbound]\n{outbound}")
        code, said = await connect()
        assert code == 4
        assert "its certificate is not accepted" in said

        acme.edit("rosterd.toml", outbound, f'{outbound}ca = "{authority.file.name}"\n')
        code, said = await connect()
        assert code == 0, said
        assert f"{IDP}, version 1" in said
        assert "geheim" not in said
        assert len(server.heads) == 1

        code, said = await connect("http")
        assert code == 4  # there is no http at that port
        assert "cannot be reached" in said or "not HTTP" in said


def test_authorities_that_cannot_be_read_are_found_by_check(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    with acme.file.open("a", encoding="utf-8") as file:
        file.write('\n[outbound]\nca = "missing.pem"\n')
    done = acme.rosterd("check")
    assert done.code != 0
    assert f"outbound.ca: there is no file {acme.folder / 'missing.pem'}" in done.out
    Authority(acme.folder, "missing")
    done = acme.rosterd("check")
    assert done.code == 0
    assert "missing.pem end soon" in done.out, "the authority of a test lives a day"
