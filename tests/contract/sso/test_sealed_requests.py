"""Anonymous sign-ins are kept by the browser, sealed: nothing is written for a GET, nor for what was tampered (N10)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from connector.sso import refusals, sign_in
from connector.sso.routes import Entrance
from connector.sso.saml.request_seal import LOGIN, MAX_SEALED, OpenRequest, RequestSeal
from connector.sso.saml.response import SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.saml.signing import ensure_key
from connector.sso.settings import SamlSettings
from connector.sso.sign_in import Outgoing, SignedIn
from ledger.errors import NotFound
from ledger.secret import SecretRef
from ledger.store.engine import Ledger
from ledger.store.tables.audit import audit_event
from ledger.store.tables.sso import sso_spent
from tests.parts.ended import ended
from tests.parts.fences import ALONE
from tests.parts.idp import Key
from tests.parts.sso_organization import SsoOrganization, relay_state

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COOKIE = "__Host-rosterd-sign-in"
SECRET = b"a secret of the installation, long enough"
Client = TestClient[web.Request, web.Application]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SamlSettings:
    folder = tmp_path_factory.mktemp("saml")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    ensure_key(key, certificate, name="rosterd", now=NOW)
    return SamlSettings(
        signing_key=SecretRef("file", str(key)), signing_certificate=SecretRef("file", str(certificate))
    )


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.make(NOW)


@pytest.fixture
async def acme(ledger: Ledger, settings: SamlSettings, key: Key) -> AsyncIterator[SsoOrganization]:
    provider = ServiceProvider("https://rosterd.example", settings, workers=1, secret=SECRET)
    made = SsoOrganization(ledger, provider, key)
    await made.turned_on(NOW)
    yield made
    await provider.close()


async def refusal(attempt: object) -> SignInRefused:
    with pytest.raises(SignInRefused) as refused:
        await attempt  # type: ignore[misc]
    return refused.value


async def counts(ledger: Ledger) -> tuple[int, int]:
    """Rows of answered requests and of the audit."""
    async with ledger.read("acme") as reader:
        return (
            len(await reader.all(reader.select(sso_spent, "id"))),
            len(await reader.all(reader.select(audit_event, "seq"))),
        )


def test_n10_what_is_sealed_comes_back_and_nothing_else() -> None:
    seal = RequestSeal(SECRET)
    request = OpenRequest("id-1", "acme", LOGIN, "main", 3, "acme.example", "x" * 43, "ada ł", "p1", NOW, NOW)
    sealed = seal.seal(request)
    assert seal.opened(sealed, "acme") == request
    assert RequestSeal(SECRET).opened(sealed, "acme") == request, "another process of the installation"
    assert RequestSeal(SECRET + b"!").opened(sealed, "acme") is None, "another installation"
    assert seal.opened(sealed, "rival") is None
    for cut in range(len(sealed)):
        assert seal.opened(sealed[:cut], "acme") is None
    for place in range(len(sealed)):
        other = "A" if sealed[place] != "A" else "B"
        assert seal.opened(sealed[:place] + other + sealed[place + 1 :], "acme") is None, place
    for text in ("", ".", "ł.ł", "\udcff.", sealed + "A", sealed + ".", "." + sealed, "A" * MAX_SEALED, sealed * 99):
        assert seal.opened(text, "acme") is None


def test_n10_a_cookie_stays_far_below_what_browsers_keep() -> None:
    longest = OpenRequest(
        "id-" + "x" * 40, "o" * 64, LOGIN, "main", 10**6, "d" * 253, "x" * 43, "a" * 64, "i" * 64, NOW, NOW
    )
    assert len(RequestSeal(SECRET).seal(longest)) < 1500


async def test_n10_a_get_writes_nothing(acme: SsoOrganization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "write", None)
    monkeypatch.setattr(Ledger, "unscoped_write", None)
    going = [await acme.start_login(NOW, domain) for domain in ("", "acme.example")]
    assert len({found.request_id for found in going}) == 2
    with pytest.raises(NotFound):
        await acme.start_login(NOW, "other.example")


@pytest.mark.parametrize("domain", ["Acme.Example", "acme.example.", " ACME.EXAMPLE. ", "ａcme.example"])
async def test_a_domain_is_known_however_it_is_written(acme: SsoOrganization, domain: str) -> None:
    assert (await acme.start_login(NOW, domain)).location


@pytest.mark.parametrize("domain", ["acme", "acme.example:443", "*.acme.example", "a@acme.example", "..", "x" * 9999])
async def test_what_is_no_domain_is_not_on(acme: SsoOrganization, domain: str) -> None:
    with pytest.raises(NotFound):
        await acme.start_login(NOW, domain)


async def test_n10_a_request_is_spent_once_and_by_one_response(acme: SsoOrganization) -> None:
    going = await acme.start_login(NOW)
    posted = acme.forged(going, NOW, assertion_id="_a").post()
    before = await counts(acme.ledger)
    done = await asyncio.gather(*(acme.finish(going, posted, NOW) for _ in range(4)), return_exceptions=True)
    assert [found.reason for found in done if isinstance(found, SignInRefused)] == ["request_used"] * 3
    assert sum(isinstance(found, SignedIn) for found in done) == 1
    spent, told = await counts(acme.ledger)
    assert (spent - before[0], told - before[1]) == (1, 1)
    assert (await refusal(acme.finish(going, posted, NOW))).reason == "request_used"
    assert await counts(acme.ledger) == (spent, told), "a replay writes nothing"


async def test_n10_what_was_answered_is_remembered_as_long_as_it_could_be_answered(acme: SsoOrganization) -> None:
    """Also where the book was written ahead of this host's clock: its time is not the one that requests go by."""
    async with acme.ledger.write("acme", ALONE, at=NOW + timedelta(hours=1)):
        pass
    going = await acme.start_login(NOW)
    posted = acme.forged(going, NOW, assertion_id="_a").post()
    await acme.finish(going, posted, NOW)
    almost = NOW + sign_in.REQUEST_LIFE - timedelta(seconds=1)
    await acme.finish(
        other := await acme.start_login(almost), acme.forged(other, almost, assertion_id="_b").post(), almost
    )
    assert (await refusal(acme.finish(going, posted, almost))).reason == "request_used"
    assert (await refusal(acme.finish(going, posted, almost + timedelta(seconds=1)))).reason == "request_expired"


async def test_n10_an_assertion_is_remembered_where_the_book_is_ahead(acme: SsoOrganization) -> None:
    async with acme.ledger.write("acme", ALONE, at=NOW + timedelta(hours=1)):
        pass
    first, second, third = [await acme.start_login(NOW) for _ in range(3)]
    await acme.finish(first, acme.forged(first, NOW, assertion_id="_same").post(), NOW)
    await acme.finish(second, acme.forged(second, NOW, assertion_id="_other").post(), NOW)  # forgets what has run out
    assert (
        await refusal(acme.finish(third, acme.forged(third, NOW, assertion_id="_same").post(), NOW))
    ).reason == "replay"


async def test_n10_answered_requests_are_forgotten_in_the_end(acme: SsoOrganization) -> None:
    for number in range(3):
        going = await acme.start_login(NOW)
        await acme.finish(going, acme.forged(going, NOW, assertion_id=f"_{number}").post(), NOW)
    later = NOW + 3 * sign_in.REQUEST_LIFE
    going = await acme.start_login(later)
    await acme.finish(going, acme.forged(going, later, assertion_id="_later").post(), later)
    assert (await counts(acme.ledger))[0] == 1


def _changed(cookie: str) -> str:
    """The same with a version of the forger's choice, under the old mark."""
    body, _, mark = cookie.partition(".")
    fields = json.loads(base64.urlsafe_b64decode(body + "=="))
    fields[4] = 99
    return f"{base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip('=')}.{mark}"


async def test_n10_tampered_foreign_truncated_and_oversized_cookies_write_nothing(
    acme: SsoOrganization, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = await acme.start_login(NOW)
    posted = acme.forged(going, NOW, assertion_id="_a").post()
    seal = acme.provider.seal
    opened = seal.opened(going.cookie, "acme")
    assert opened is not None
    foreign = seal.seal(replace(opened, organization="rival"))
    elsewhere = RequestSeal(b"the secret of another installation, as long").seal(opened)
    monkeypatch.setattr(Ledger, "write", None)
    for cookie in (
        "",
        _changed(going.cookie),
        going.cookie[:-1],
        going.cookie[:40],
        going.cookie * 30,
        foreign,
        elsewhere,
        "\udcffł",
    ):
        assert (await refusal(acme.finish(going, posted, NOW, cookie=cookie))).reason == "unknown_request"
    late = NOW + sign_in.REQUEST_LIFE
    assert (await refusal(acme.finish(going, posted, late))).reason == "request_expired"
    monkeypatch.undo()
    assert (await acme.finish(going, posted, NOW)).purpose == LOGIN, "and none of it used the request up"


@pytest.mark.parametrize("state", ["ł", "\udcff", "x" * 10_000])
async def test_relay_states_of_any_letters(acme: SsoOrganization, state: str) -> None:
    going = await acme.start_login(NOW)
    posted = acme.forged(going, NOW, assertion_id="_a").post()
    attempt = sign_in.finish(
        acme.ledger, acme.provider, "acme", posted, cookies=[going.cookie], relay_state=state, now=NOW
    )
    assert (await refusal(attempt)).reason == "relay_state"


async def test_a_response_that_names_no_request_is_told_of_the_request_whose_relay_state_came(
    acme: SsoOrganization,
) -> None:
    """Also where nothing can be read of it: the admin who tests sees why, and a browser is not sent round and round."""

    def drop(root: object) -> None:
        del root.attrib["InResponseTo"]  # type: ignore[attr-defined]

    for reason in ("unsolicited", "not_base64"):
        going = await acme.start_test(NOW)
        posted = acme.forged(going, NOW, before_signing=drop).post() if reason == "unsolicited" else "%%%"
        refused = await refusal(acme.finish(going, posted, NOW))
        assert isinstance(refused, sign_in.RequestRefused)
        assert (refused.reason, refused.refusal.purpose) == (reason, "test")


async def test_what_anybody_can_cause_is_audited_so_many_times_an_hour(
    acme: SsoOrganization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MOST_TOLD", 3)
    before = (await counts(acme.ledger))[1]
    for _ in range(5):
        await refusal(acme.finish(await acme.start_login(NOW), "%%%", NOW))
    assert (await counts(acme.ledger))[1] - before == 3
    later = NOW + refusals.TOLD_WITHIN
    await refusal(acme.finish(await acme.start_login(later), "%%%", later))
    assert (await counts(acme.ledger))[1] - before == 4
    for _ in range(4):  # a test is an admin's, and each has its ticket
        await refusal(acme.finish(await acme.start_test(NOW), "%%%", NOW))
    assert (await counts(acme.ledger))[1] - before == 8


async def test_n17_what_anybody_can_cause_uses_up_no_reference_of_what_the_provider_signed(
    acme: SsoOrganization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who was refused is shown a reference that can be explained, whatever others post meanwhile."""
    monkeypatch.setattr(refusals, "MOST_TOLD", 3)
    for _ in range(5):
        await refusal(acme.finish(await acme.start_login(NOW), "%%%", NOW))

    async def turned_back(**changes: Any) -> str:
        going = await acme.start_login(NOW)
        refused = await refusal(acme.finish(going, acme.forged(going, NOW, **changes).post(), NOW))
        assert isinstance(refused, sign_in.RequestRefused)
        assert refused.refusal.signed is changes.get("sign_assertion", True)
        return refused.refusal.reference

    unsigned = await turned_back(sign_assertion=False)
    signed = [await turned_back(audience="another application") for _ in range(4)]
    explained = []
    async with acme.ledger.read("acme") as reader:
        for name in (unsigned, *signed):
            try:
                explained.append((await refusals.explain(reader, name)).reason)
            except NotFound:
                explained.append("")
    assert explained == ["", "audience", "audience", "audience", ""], "these are bounded too"


# in a browser ---


@pytest.fixture
async def browser(acme: SsoOrganization) -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(Entrance(acme.ledger, acme.provider, lambda: NOW, lambda: {"acme"}).routes())
    async with TestClient(TestServer(app)) as client:
        yield client


async def begin(browser: Client, kept: dict[str, str]) -> Outgoing:
    """A tab opens the login page; ``kept`` are the browser's cookies, and changed as it says."""
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
    async with browser.get("/sso/acme/login", headers=headers, allow_redirects=False) as answer:
        assert answer.status == 303
        for name, morsel in answer.cookies.items():
            assert morsel["secure"]
            assert morsel["httponly"]
            assert morsel["samesite"] == "None"
            assert morsel["path"] == "/"
            assert not morsel["domain"]
            assert name.startswith(COOKIE)
            if morsel["max-age"] == "0":
                kept.pop(name)
            else:
                kept[name], newest = morsel.value, morsel.value
        going = Outgoing(answer.headers["Location"], "", newest, "")
    return replace(going, request_id=json.loads(base64.urlsafe_b64decode(newest.partition(".")[0] + "=="))[0])


async def post(browser: Client, kept: dict[str, str], going: Outgoing, posted: str) -> int:
    form = {"SAMLResponse": posted, "RelayState": relay_state(going)}
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
    async with browser.post("/sso/acme/acs", data=form, headers=headers, allow_redirects=False) as answer:
        return (await ended(browser, answer))[0]


async def test_n10_sign_ins_begun_in_several_tabs_all_work(acme: SsoOrganization, browser: Client) -> None:
    kept: dict[str, str] = {}
    tabs = [await begin(browser, kept) for _ in range(3)]
    at_once: dict[str, str] = {}
    tabs += await asyncio.gather(*(begin(browser, dict(kept)) for _ in range(2)))
    for number, going in enumerate(tabs):
        at_once |= {f"{COOKIE}-{number}": going.cookie}
    for number, going in enumerate(reversed(tabs)):
        assert await post(browser, at_once, going, acme.forged(going, NOW, assertion_id=f"_{number}").post()) == 200


async def test_n10_a_browser_keeps_the_newest_few(acme: SsoOrganization, browser: Client) -> None:
    kept = {f"{COOKIE}-junk": "junk"}
    tabs = [await begin(browser, kept) for _ in range(9)]
    assert len(kept) <= 6
    assert f"{COOKIE}-junk" not in kept
    posts = [await post(browser, kept, going, acme.forged(going, NOW, assertion_id=f"_{n}").post())
             for n, going in enumerate(tabs)]  # fmt: skip
    assert posts.count(200) == 6
    assert posts[-1] == 200


async def test_n10_on_loopback_without_https_the_cookie_is_lax(
    ledger: Ledger, settings: SamlSettings, key: Key
) -> None:
    provider = ServiceProvider("http://127.0.0.1:8080", settings, workers=1)
    acme = SsoOrganization(ledger, provider, key)
    await acme.turned_on(NOW)
    app = web.Application()
    app.add_routes(Entrance(ledger, provider, lambda: NOW, lambda: {"acme"}).routes())
    server = TestClient(TestServer(app))
    async with server as client, client.get("/sso/acme/login", allow_redirects=False) as answer:
        (morsel,) = answer.cookies.values()
    assert morsel.key.startswith("rosterd-sign-in-")
    assert (morsel["secure"], morsel["samesite"], morsel["httponly"]) == ("", "Lax", True)
    await provider.close()
