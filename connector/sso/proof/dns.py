"""Looks for the TXT record of a domain's proof, by several resolvers, and says what that proves.

Prohibition: silence, SERVFAIL and disagreement are never a negative; only two authoritative answers are (sso.md §1), or
one that was validated (DNSSEC) by a resolver whose answer nobody can have changed on the way (N13).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from connector.sso.domain_names import registered
from connector.sso.gate.domains import Answer, Finding, file_counts, record_name, tokens_of
from connector.sso.settings import DnsSettings, Resolver
from ledger.counted import counted

NEEDED = 2
"""So many resolvers must say the same, positive or negative."""
_MAX_TEXTS = 100
_MOST_ZONES = 4


class Outcome(StrEnum):
    """What one resolver said: records · authoritatively none · nothing usable."""

    RECORDS = "records"
    NONE = "none"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class ResolverAnswer:
    """One resolver's answer. ``texts``: TXT values with their strings joined; ``ad``: it says it validated DNSSEC;
    ``trusted``: nobody can have changed that on the way."""

    resolver: str
    outcome: Outcome
    texts: tuple[str, ...] = ()
    rcode: str = ""
    ad: bool = False
    ttl: int = 0
    why: str = ""
    trusted: bool = False

    @property
    def counts(self) -> int:
        """For how many resolvers it speaks: validated by one that is trusted, it needs no second (N13)."""
        return NEEDED if self.ad and self.trusted else 1

    def to_facts(self, token_found: bool) -> dict[str, Any]:
        """What is kept as evidence: everything but the texts of others."""
        facts = {name: getattr(self, name) for name in ("resolver", "rcode", "ad", "trusted", "ttl", "why")}
        return {**facts, "outcome": self.outcome.value, "records": len(self.texts), "token": token_found}


async def look_up(domain: str, settings: DnsSettings) -> tuple[ResolverAnswer, ...]:
    """Ask every configured resolver for the record of ``domain``, at once. Never raises for what a server does."""
    return await _ask_all(record_name(domain), settings)


async def look_elsewhere(domain: str, settings: DnsSettings) -> dict[str, tuple[ResolverAnswer, ...]]:
    """The same for the names where a record ends up by mistake, by name: the domain itself, and the zone twice."""
    places = wrong_places(domain)
    answers = await asyncio.gather(*(_ask_all(name, settings) for name in places))
    return dict(zip(places, answers, strict=True))


def wrong_places(domain: str) -> tuple[str, ...]:
    """Where a record for ``domain`` ends up by mistake: at the domain itself; and under its zone once more, because
    many consoles add the zone to what is typed. Which parent is the zone is not known here, so each is tried. Pure."""
    labels = domain.split(".")
    zones = [".".join(labels[start:]) for start in range(len(labels) - 1)]
    return (domain, *(f"{record_name(domain)}.{zone}" for zone in zones[:_MOST_ZONES]))


async def _ask_all(name: str, settings: DnsSettings) -> tuple[ResolverAnswer, ...]:
    try:
        asked = dns.name.from_text(name)
    except dns.exception.DNSException:  # the zone twice may be longer than a name can be
        return ()
    seconds = settings.timeout.total_seconds()
    return tuple(await asyncio.gather(*(_ask(asked, resolver, seconds) for resolver in settings.each())))


async def _ask(name: dns.name.Name, resolver: Resolver, seconds: float) -> ResolverAnswer:
    query = dns.message.make_query(name, dns.rdatatype.TXT, use_edns=True, payload=1232)
    query.flags |= dns.flags.AD
    nothing = ResolverAnswer(resolver.where, Outcome.UNREADABLE, trusted=resolver.trusted)
    try:
        async with asyncio.timeout(seconds):
            response = await _exchange(query, resolver, seconds)
    except (TimeoutError, dns.exception.Timeout):
        return replace(nothing, why="no answer in time")
    except ssl.SSLCertVerificationError:
        return replace(nothing, why=f"its certificate is not that of {resolver.tls_name}")
    except (dns.exception.DNSException, OSError, ValueError, EOFError) as error:
        return replace(nothing, why=f"no usable answer: {type(error).__name__}")
    return _read(nothing, response, name)


async def _exchange(query: dns.message.Message, resolver: Resolver, seconds: float) -> dns.message.Message:
    if resolver.tls_name:
        return await dns.asyncquery.tls(
            query, resolver.address, timeout=seconds, port=resolver.port, server_hostname=resolver.tls_name
        )
    response, _ = await dns.asyncquery.udp_with_fallback(query, resolver.address, timeout=seconds, port=resolver.port)
    return response


def _read(nothing: ResolverAnswer, response: dns.message.Message, name: dns.name.Name) -> ResolverAnswer:
    rcode = dns.rcode.to_text(response.rcode())
    answer = replace(nothing, outcome=Outcome.NONE, rcode=rcode, ad=bool(response.flags & dns.flags.AD))
    if response.rcode() == dns.rcode.NXDOMAIN:
        return replace(answer, why="the name does not exist (NXDOMAIN)")
    if response.rcode() != dns.rcode.NOERROR:
        return replace(answer, outcome=Outcome.UNREADABLE, why=f"the resolver answered {rcode}")
    found = response.get_rrset(response.answer, name, response.question[0].rdclass, dns.rdatatype.TXT)
    if found is None:
        alias = any(rrset.name == name and rrset.rdtype == dns.rdatatype.CNAME for rrset in response.answer)
        # whoever the alias points to, not the owner of the domain, would write the proof (wildcards pointing outside)
        why = "the name is an alias (CNAME); publish the TXT record itself" if alias else "there is no TXT record"
        return replace(answer, why=why)
    texts = tuple(b"".join(rdata.strings).decode("utf-8", "replace") for rdata in list(found)[:_MAX_TEXTS])
    return replace(answer, outcome=Outcome.RECORDS, texts=texts, ttl=int(found.ttl))


def judge(answers: Sequence[ResolverAnswer], expected_hash: str) -> Finding:
    """FOUND when two resolvers show the token, ABSENT when two say it is not there and none shows it. Pure."""
    holding = [answer for answer in answers if shows(answer, expected_hash)]
    without = [answer for answer in answers if answer.outcome is not Outcome.UNREADABLE and answer not in holding]
    if _enough(holding):
        return Finding(Answer.FOUND)
    if holding and without:
        seen, unseen = holding[0].resolver, without[0].resolver
        why = f"the resolvers disagree: {seen} shows the record, {unseen} does not (yet)"
        return Finding(Answer.UNREADABLE, why)
    if _enough(without):
        why = "; ".join(dict.fromkeys(_absence(answer) for answer in without))
        return Finding(Answer.ABSENT, why, _enough([answer for answer in without if tokens_of(answer.texts)]))
    unreadable = [f"{answer.resolver}: {answer.why}" for answer in answers if answer.outcome is Outcome.UNREADABLE]
    return Finding(Answer.UNREADABLE, f"fewer than {NEEDED} resolvers could answer ({'; '.join(unreadable)})")


def shows(answer: ResolverAnswer, expected_hash: str) -> bool:
    """Whether a resolver shows the token. Pure."""
    return expected_hash in tokens_of(answer.texts)


def why_not_web(domain: str, answers: Sequence[ResolverAnswer]) -> str:
    """Why a file at the web server may not speak for the domain, empty when it may: it proves a registered domain
    alone, and TXT has the last word (N13), so that it must have been read, and no resolver may show another token.
    Pure."""
    if not file_counts(domain):
        return (
            f"the file was not asked for, because a file proves no name below {registered(domain)}: publish the same"
            f" token as the TXT record {record_name(domain)}"
        )
    if other := next((answer for answer in answers if tokens_of(answer.texts)), None):
        return f"the file was not asked for, because {other.resolver} shows a TXT record with another token"
    if all(answer.outcome is Outcome.UNREADABLE for answer in answers):
        return "the file was not asked for, because nobody could say that no TXT record says otherwise"
    return ""


def misplaced(
    domain: str,
    answers: Sequence[ResolverAnswer],
    elsewhere: Mapping[str, Sequence[ResolverAnswer]],
    expected_hash: str,
    earlier: Collection[str],
) -> str:
    """What is wrong with a record that was published, and how to mend it, in one sentence; empty when nothing of it is
    seen anywhere. ``earlier``: hashes of tokens that count no more. Pure."""
    name = record_name(domain)
    for place, found in elsewhere.items():
        if not any(shows(answer, expected_hash) for answer in found):
            continue
        if place == domain:
            return f"the token stands at {domain} itself, where it does not count: publish it at {name}"
        zone = place.removeprefix(f"{name}.")
        typed = name.removesuffix(f".{zone}")
        return f"the record is at {place}: the zone {zone} was added twice, enter only {typed} as its name"
    published = {token for answer in answers for token in tokens_of(answer.texts)}
    if published & set(earlier):
        return f"the record at {name} holds an earlier token: put the one there that rosterd sso add printed last"
    if published:
        return f"the record at {name} holds a token that was not made for this: put the one there that belongs"
    return ""


def _enough(answers: Sequence[ResolverAnswer]) -> bool:
    return sum(answer.counts for answer in answers) >= NEEDED


def _absence(answer: ResolverAnswer) -> str:
    if tokens_of(answer.texts):
        return "the TXT record holds another token"
    if answer.outcome is Outcome.RECORDS:
        return f"{counted(len(answer.texts), 'TXT record')}, none of them with the token"
    return answer.why
