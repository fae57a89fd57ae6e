"""Acts one, two and seven: no sync without proven sign-on; proving it; a lapse that removes nobody."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta

import aiohttp

from connector.sso import steps
from connector.sso.gate import evidence
from connector.sso.settings import SsoSettings
from ledger.errors import Refused, Unavailable
from rosterd.demo import files
from rosterd.demo.company import DOMAIN
from rosterd.demo.files import ORGANIZATION
from rosterd.demo.stage import Stage

_ADMIN = "operator:demo"
_ENGLISH = {"Accept-Language": "en"}


async def refused(stage: Stage) -> None:
    """Act 1: sync is refused while single sign-on is not proved (R5)."""
    tell = stage.teller
    tell.say(
        f"The organization file names a directory of {len(stage.company.people)} people. Sync is asked for at once:"
    )
    try:
        await steps.enable_sync(stage.service.ledger, ORGANIZATION, actor=_ADMIN, now=stage.clock())
    except Refused as error:
        tell.quote(str(error).splitlines())
    else:
        raise Unavailable("sync was enabled without single sign-on", where="act 1", next_step="report this")
    async with stage.service.ledger.read(ORGANIZATION) as reader:
        status = await steps.sync_status(reader, now=stage.clock())
    tell.fact(f"sync is {status.state.value}; nobody was read, nobody invited")


async def prove(stage: Stage) -> None:
    """Act 2: domain by DNS through two resolvers, identity provider by a real signed sign-in, then on."""
    tell, ledger = stage.teller, stage.service.ledger
    settings = stage.service.settings
    challenge = await steps.add_domain(ledger, ORGANIZATION, DOMAIN, actor=_ADMIN, now=stage.clock())
    tell.fact(f"publish in DNS: {challenge.record_name} TXT “{challenge.record_value[:28]}…”")
    publish_record(stage, challenge.record_name, challenge.record_value)
    proof = await steps.verify_domain(
        ledger, ORGANIZATION, DOMAIN, dns=settings.installation.dns, actor=_ADMIN, now=stage.clock()
    )
    tell.fact(f"{proof.domain}: {proof.standing.state.value}, by two resolvers", ok=proof.proved)
    metadata = (stage.folder / "idp-metadata.xml").read_bytes()
    connected = await steps.connect(
        ledger,
        ORGANIZATION,
        metadata,
        settings=settings.customer(ORGANIZATION).settings.sso or SsoSettings(),
        actor=_ADMIN,
        now=stage.clock(),
        allow_http_on_loopback=settings.installation.saml.allow_http_on_loopback,
    )
    tell.fact(f"identity provider {connected.entity_id} connected, fingerprint {connected.fingerprint[:12]}…")
    ticket = await steps.begin_test(
        ledger, stage.service.provider(), ORGANIZATION, DOMAIN, actor=_ADMIN, now=stage.clock()
    )
    answer = await sign_in(ticket.url, files.first_of(stage.company, "Design"))
    tell.fact(f"test sign-in through the identity provider: {answer}", ok="passed" in answer)
    await steps.turn_on(ledger, ORGANIZATION, actor=_ADMIN, now=stage.clock())
    await steps.enable_sync(ledger, ORGANIZATION, actor=_ADMIN, now=stage.clock())
    await _show_gate(stage)


async def lapse(stage: Stage) -> None:
    """Act 7: the domain's proof disappears; sync suspends, nobody loses anything; it returns."""
    tell = stage.teller
    before = await stage.standing()
    records = stage.zones[0].read_text(encoding="utf-8")
    _write_zones(stage, "{}")
    tell.say("The TXT record disappears from DNS; two looks, a day and more apart, do not find it.")
    await stage.keep_evidence()
    stage.clock.advance(timedelta(hours=26))
    await stage.keep_evidence()
    await _show_gate(stage)
    whole = stage.company
    design = [person.uid for person in whole.in_group("design")]
    stage.publish_directory(whole.without(*design[len(design) // 2 :]))
    outcome = await stage.apply()
    tell.quote(outcome.lines, limit=3)
    during = await stage.standing()
    tell.fact(f"run {outcome.state.value}; everybody keeps everything", ok=during == before)
    _write_zones(stage, records)
    stage.publish_directory(whole)
    stage.clock.advance(timedelta(hours=1))
    await stage.keep_evidence()
    back = await stage.apply()
    await _show_gate(stage)
    after = await stage.standing()
    tell.fact(f"the record is back, the next run is {back.state.value}", ok=after.members == before.members)


def publish_record(stage: Stage, name: str, value: str) -> None:
    """Put one TXT record into both zones."""
    _write_zones(stage, json.dumps({name: [value]}))


def _write_zones(stage: Stage, text: str) -> None:
    for zone in stage.zones:
        fresh = zone.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(zone)


async def _show_gate(stage: Stage) -> None:
    async with stage.service.ledger.read(ORGANIZATION) as reader:
        gates = await evidence.gates(reader, now=stage.clock())
        status = await steps.sync_status(reader, now=stage.clock())
    for gate in gates.values():
        reasons = f" ({', '.join(gate.reasons)})" if gate.reasons else ""
        stage.teller.fact(f"gate of {gate.domain}: {gate.state.value}{reasons}; sync is {status.state.value}")


async def sign_in(url: str, person: str) -> str:
    """What a browser does: our page → identity provider → its form → posted back to us, and on to where that leads.
    Returns our page's text."""
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of a bare address, as on loopback
    async with aiohttp.ClientSession(cookie_jar=jar, headers=_ENGLISH) as browser:
        page, address = await _follow(browser, url)
        for _ in range(3):
            action, fields = _form(page)
            if not action:
                break
            if "person" in page and "SAMLRequest" in fields:
                fields["person"] = person
            target = action if action.startswith("http") else f"{address}{action}"
            async with browser.post(target, data=fields) as answer:
                page, address = await answer.text(), str(answer.url.origin())
        return _text(page)


async def claim(link: str, person: str) -> str:
    """Follow the link of an invite to its page, and from there as ``sign_in``."""
    async with aiohttp.ClientSession(headers=_ENGLISH) as browser:
        page, _ = await _follow(browser, link)
    found = re.search(r'href="([^"]+)"', page)
    return await sign_in(html.unescape(found[1]), person) if found else _text(page)


async def _follow(browser: aiohttp.ClientSession, url: str) -> tuple[str, str]:
    async with browser.get(url) as answer:
        return await answer.text(), str(answer.url.origin())


def _text(page: str) -> str:
    """What a page says, on one line: of ours its main part, of another's all of it."""
    ours = re.search(r"<main>(.*?)</main>", page, re.DOTALL)
    body = ours[1] if ours else re.sub(r"<title>.*?</title>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body))).strip()


def _form(page: str) -> tuple[str, dict[str, str]]:
    """Action and hidden fields of the page's one form; no action when it has none."""
    action = re.search(r'<form[^>]*action="([^"]+)"', page)
    inputs = [dict(re.findall(r'(\w+)="([^"]*)"', tag)) for tag in re.findall(r"<input[^>]*>", page)]
    fields = {html.unescape(tag["name"]): html.unescape(tag.get("value", "")) for tag in inputs if "name" in tag}
    return (html.unescape(action[1]) if action else "", fields)
