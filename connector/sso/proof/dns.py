"""Looks for the TXT record of a domain's proof, by several resolvers, and says what that proves.

Prohibition: silence, SERVFAIL and disagreement are never a negative; only two authoritative answers are (sso.md §1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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

from connector.sso.gate.domains import Answer, holds_token, record_name
from connector.sso.settings import DnsSettings

NEEDED = 2
"""So many resolvers must say the same, positive or negative."""
_MAX_TEXTS = 100


class Outcome(StrEnum):
    """What one resolver said: records · authoritatively none · nothing usable."""

    RECORDS = "records"
    NONE = "none"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class ResolverAnswer:
    """One resolver's answer. ``texts``: TXT values with their strings joined; ``ad``: it says it validated DNSSEC."""

    resolver: str
    outcome: Outcome
    texts: tuple[str, ...] = ()
    rcode: str = ""
    ad: bool = False
    ttl: int = 0
    why: str = ""

    def to_facts(self, token_found: bool) -> dict[str, Any]:
        """What is kept as evidence: everything but the texts of others."""
        facts = {name: getattr(self, name) for name in ("resolver", "rcode", "ad", "ttl", "why")}
        return {**facts, "outcome": self.outcome.value, "records": len(self.texts), "token": token_found}


@dataclass(frozen=True, slots=True)
class Proof:
    """What all resolvers together prove about one token."""

    answer: Answer
    why: str
    facts: tuple[dict[str, Any], ...]


async def look_up(domain: str, settings: DnsSettings) -> tuple[ResolverAnswer, ...]:
    """Ask every configured resolver for the record of ``domain``, at once. Never raises for what a server does."""
    name = dns.name.from_text(record_name(domain))
    seconds = settings.timeout.total_seconds()
    return tuple(await asyncio.gather(*(_ask(name, host, port, seconds) for host, port in settings.addresses())))


async def _ask(name: dns.name.Name, host: str, port: int, seconds: float) -> ResolverAnswer:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    query = dns.message.make_query(name, dns.rdatatype.TXT, use_edns=True, payload=1232)
    query.flags |= dns.flags.AD
    try:
        async with asyncio.timeout(seconds):
            response, _ = await dns.asyncquery.udp_with_fallback(query, host, timeout=seconds, port=port)
    except (TimeoutError, dns.exception.Timeout):
        return ResolverAnswer(where, Outcome.UNREADABLE, why="no answer in time")
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return ResolverAnswer(where, Outcome.UNREADABLE, why=f"no usable answer: {type(error).__name__}")
    return _read(where, response, name)


def _read(where: str, response: dns.message.Message, name: dns.name.Name) -> ResolverAnswer:
    rcode = dns.rcode.to_text(response.rcode())
    answer = ResolverAnswer(where, Outcome.NONE, rcode=rcode, ad=bool(response.flags & dns.flags.AD))
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


def judge(answers: Sequence[ResolverAnswer], expected_hash: str) -> Proof:
    """FOUND when two resolvers show the token, ABSENT when two say it is not there and none shows it. Pure."""
    holding = [answer for answer in answers if holds_token(answer.texts, expected_hash)]
    without = [answer for answer in answers if answer.outcome is not Outcome.UNREADABLE and answer not in holding]
    facts = tuple(answer.to_facts(answer in holding) for answer in answers)
    if len(holding) >= NEEDED:
        return Proof(Answer.FOUND, "", facts)
    if holding and without:
        seen, unseen = holding[0].resolver, without[0].resolver
        why = f"the resolvers disagree: {seen} shows the record, {unseen} does not (yet)"
        return Proof(Answer.UNREADABLE, why, facts)
    if len(without) >= NEEDED:
        return Proof(Answer.ABSENT, "; ".join(dict.fromkeys(_absence(answer) for answer in without)), facts)
    unreadable = [f"{answer.resolver}: {answer.why}" for answer in answers if answer.outcome is Outcome.UNREADABLE]
    return Proof(Answer.UNREADABLE, f"fewer than {NEEDED} resolvers could answer ({'; '.join(unreadable)})", facts)


def _absence(answer: ResolverAnswer) -> str:
    if answer.outcome is Outcome.RECORDS:
        return f"{len(answer.texts)} TXT record(s), none of them with the token"
    return answer.why
