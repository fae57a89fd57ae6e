"""Our own side at the command line and in the real daemon: metadata before anything, a rotated key, a moved address."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import pytest
from defusedxml.ElementTree import fromstring

from connector.sso.saml.metadata import DS
from connector.sso.saml.signing import make_certificate
from rosterd.clock import utc_now
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.idp import posted_form, running_idp
from tests.parts.installation import Answer, Daemon, Installation
from tests.parts.sso_organization import prove


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """It is reached where it listens, and its provider is on this machine."""
    made = Installation.make(tmp_path / "here")
    listen = load(made.file, {}).installation.server.listen
    made.edit("rosterd.toml", 'public_url = "http://127.0.0.1:8080"', f'public_url = "http://{listen}"')
    with made.file.open("a", encoding="utf-8") as handle:
        handle.write("\n[saml]\nallow_http_on_loopback = true\n")
    return made


def prove_domain(installation: Installation) -> None:
    async def work() -> None:
        async with Service.opened(load(installation.file, {})) as service:
            await service.register()
            await prove(service.ledger, "acme", "acme.example", utc_now())

    asyncio.run(work())


def good(answer: Answer) -> str:
    assert answer.code == 0, (answer.out, answer.err)
    return answer.out


def sign_in_once(installation: Installation) -> str:
    """One test sign-in as a browser does it; the last page, ours or the provider's refusal."""
    url = good(installation.rosterd("sso", "test", "acme.example")).splitlines()[0]

    async def browse() -> str:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            async with browser.get(url) as page:
                text = await page.text()
                if page.status != 200:
                    return text
            action, fields = posted_form(text)
            async with browser.post(action, data=fields) as done:
                return await done.text()

    return asyncio.run(browse())


def certificates(document: bytes | str) -> list[str | None]:
    return [node.text for node in fromstring(document).iter(f"{DS}X509Certificate")]


def served(daemon: Daemon) -> bytes:
    with urlopen(f"{daemon.url}/sso/acme/metadata") as answer:  # noqa: S310 (on this machine)
        return bytes(answer.read())


def test_n17_metadata_is_printed_before_anything_else(installation: Installation, tmp_path: Path) -> None:
    """No daemon, no provider, not even a ledger."""
    for file in (installation.folder / "var").iterdir():
        file.unlink()
    printed = good(installation.rosterd("sso", "metadata"))
    assert len(certificates(printed)) == 1
    assert printed == good(installation.rosterd("sso", "metadata", "--organization", "acme")), "the same bytes"
    out = tmp_path / "ours.xml"
    said = good(installation.rosterd("sso", "metadata", "--out", str(out)))
    assert out.read_text(encoding="utf-8") == printed
    document = installation.rosterd("sso", "metadata", "--json").document
    assert document["metadata"] == printed
    for part in (str(out), document["entity_id"], document["acs"], document["name_id_format"]):
        assert part in said
    assert installation.rosterd("sso", "metadata", "--organization", "other").code == 2
    assert installation.rosterd("sso", "metadata", "--out", str(tmp_path / "no" / "ours.xml")).code == 2
    assert list((installation.folder / "var").iterdir()) == []


def test_n17_a_key_is_replaced_under_a_running_daemon_and_its_provider(
    installation: Installation, tmp_path: Path
) -> None:
    prove_domain(installation)
    idp_folder, ours = tmp_path / "idp", tmp_path / "ours.xml"
    good(installation.rosterd("sso", "metadata", "--out", str(ours)))
    rotate = ("sso", "rotate-key")
    provider = {"person": "anna@acme.example", "now": datetime.now(UTC)}
    with installation.serving() as daemon:
        assert served(daemon) == ours.read_bytes(), "the daemon says what was printed"
        with running_idp(idp_folder, str(ours), **provider) as idp:
            port = int(idp.address.rpartition(":")[2])
            good(installation.rosterd("sso", "connect", str(idp_folder / "idp-metadata.xml")))
            assert "passed" in sign_in_once(installation)
            good(installation.rosterd("sso", "on"))
            said = good(installation.rosterd(*rotate))
            assert f"{idp.address}/metadata verifies our requests: it must import" in said
            assert len(certificates(served(daemon))) == 2, "without a restart"
            assert "passed" in sign_in_once(installation), "who has not imported again notices nothing"
            early = installation.rosterd(*rotate, "--finish")
            assert (early.code, "--finish --yes" in early.err) == (3, True)
            good(installation.rosterd(*rotate, "--finish", "--yes"))
            assert "refused" in sign_in_once(installation), "too early: the provider knows the old key only"
            good(installation.rosterd(*rotate, "--back"))
            assert "passed" in sign_in_once(installation)
        good(installation.rosterd("sso", "metadata", "--out", str(ours)))
        with running_idp(idp_folder, str(ours), port=port, **provider):  # imported again
            assert "passed" in sign_in_once(installation), "the old key"
            good(installation.rosterd(*rotate, "--finish", "--yes"))
            assert "passed" in sign_in_once(installation), "the new key"
            assert "still published beside it" in good(installation.rosterd("sso", "status"))
            good(installation.rosterd(*rotate, "--drop"))
            assert certificates(served(daemon)) == certificates(ours.read_bytes())[1:]
            assert "passed" in sign_in_once(installation)
    status = installation.rosterd("sso", "status", "--json").document["ours"]
    assert (status["key"]["state"], status["moved"]) == ("steady", [])


def test_n17_an_address_that_moved_is_refused_until_it_is_meant(installation: Installation, tmp_path: Path) -> None:
    prove_domain(installation)
    before = load(installation.file, {}).installation.server.public_url
    with (
        installation.serving() as daemon,
        running_idp(
            tmp_path / "idp", f"{daemon.url}/sso/acme/metadata", person="anna@acme.example", now=datetime.now(UTC)
        ),
    ):
        installation.append('\n[sso]\nmetadata = "file:other.xml"\n')
        (installation.folder / "organizations" / "other.xml").write_text("<another/>", encoding="utf-8")
        connected = good(installation.rosterd("sso", "connect", str(tmp_path / "idp" / "idp-metadata.xml")))
        assert "  certificate SHA-256 " in connected
        assert "fingerprint" not in connected
        assert "is another source (file:other.xml): the next rosterd sso connect" in connected
        assert "warning" not in good(installation.rosterd("sso", "test", "acme.example"))
        assert "passed" in sign_in_once(installation)
        assert _checked(installation) == [True]
        installation.edit("rosterd.toml", f'public_url = "{before}"', 'public_url = "https://new.acme.example"')
        daemon.signal(signal.SIGHUP)
        assert "server.public_url cannot change while running" in daemon.wait_for("reload.fault")
        assert f'entityID="{before}'.encode() in served(daemon), "what runs goes on as it is"
    assert "warning: daemon: nothing answers at" in good(installation.rosterd("sso", "test", "acme.example"))
    assert _checked(installation) == [False]
    refused = installation.rosterd("check", "--audit")
    assert refused.code == 2
    for part in (before, "https://new.acme.example/sso/acme/acs", "rosterd check --moved"):
        assert part in refused.out
    assert "https://new.acme.example/sso/acme/acs" in good(installation.rosterd("sso", "status"))
    with installation.serving() as daemon:  # it serves, loudly
        assert "rosterd check --moved" in next(line for line in daemon.lines if "serve.address_moved" in line)
    moved = installation.rosterd("check", "--moved")
    assert "https://new.acme.example/sso/acme/metadata" in good(moved), "which providers have to be changed"
    assert _checked(installation) == [True]
    assert "waits for a test under the new address" in good(installation.rosterd("sso", "status")), "not silenced"
    assert "note  acme: its identity provider was not tested under the address" in good(
        installation.rosterd("check", "--audit")
    )


def _checked(installation: Installation) -> list[bool]:
    lines = installation.rosterd("check", "--audit", "--json").document["checks"]
    return [line["ok"] for line in lines if "address" in line["what"] and "acme" in line["what"]]


def test_a_plain_address_fails_the_check_with_its_fix(installation: Installation) -> None:
    before = load(installation.file, {}).installation.server.public_url
    assert installation.rosterd("check").code == 0
    installation.edit("rosterd.toml", f'public_url = "{before}"', 'public_url = "http://rosterd.acme.example"')
    found = installation.rosterd("check")
    assert (found.code, 'public_url = "https://rosterd.acme.example"' in found.out) == (2, True), found.out


@pytest.mark.parametrize(("days", "code", "says"), [(90, 0, "good until"), (20, 0, "in 19 days"), (-1, 2, "ended on")])
def test_n17_check_and_status_forecast_the_end_of_our_own_certificate(
    installation: Installation, days: int, code: int, says: str
) -> None:
    now = utc_now()
    key, certificate = make_certificate("rosterd", now - timedelta(days=3000), now + timedelta(days=days))
    (installation.folder / "secrets" / "saml-key.pem").write_bytes(key)
    (installation.folder / "secrets" / "saml-certificate.pem").write_bytes(certificate)
    found = installation.rosterd("check")
    assert (found.code, says in found.out) == (code, True), found.out
    assert ("rosterd sso rotate-key" in found.out) == (days < 60)
    assert ("rosterd sso rotate-key" in good(installation.rosterd("sso", "status"))) == (days < 60)


def test_n17_a_certificate_of_another_key_fails_the_check(installation: Installation) -> None:
    _, other = make_certificate("rosterd", utc_now(), utc_now() + timedelta(days=90))
    (installation.folder / "secrets" / "saml-certificate.pem").write_bytes(other)
    found = installation.rosterd("check")
    assert (found.code, "belongs to the key that signs" in found.out) == (2, True)
    (installation.folder / "secrets" / "saml-certificate.pem").unlink()
    for words in (("sso", "status"), ("check",)):
        found = installation.rosterd(*words)
        assert "saml-certificate.pem: there is no such file" in found.out
        assert "restore the key and its certificate from a backup" in found.out
