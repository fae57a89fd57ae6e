"""Asks every configured directory about one person (P6). Reads only; what cannot be asked is part of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from connector.directory.finding import Finder, Finding, FindRequest
from connector.directory.mapping import AttributeRules
from connector.directory.report import fix_for
from connector.reconcile.explain import directory_side
from connector.reconcile.explain.directory_side import Context, SourceSide
from connector.reconcile.policy.policy import Policy
from ledger.errors import RosterdError
from ledger.store import people
from ledger.store.book import Reader


@dataclass(frozen=True, slots=True)
class ConfiguredFinder:
    """A directory that can be asked for one person, and how its attributes become ours."""

    finder: Finder
    rules: AttributeRules


async def ask(
    finders: Sequence[ConfiguredFinder],
    policy: Policy,
    mails: tuple[str, ...],
    anchors: Mapping[str, tuple[str, ...]],
    now: datetime,
) -> tuple[Finding, ...]:
    """All directories at once. ``anchors``: source id → what the ledger links to the person there."""
    return tuple(await asyncio.gather(*(_ask(item.finder, policy, mails, anchors, now) for item in finders)))


async def _ask(
    finder: Finder, policy: Policy, mails: tuple[str, ...], anchors: Mapping[str, tuple[str, ...]], now: datetime
) -> Finding:
    request = FindRequest(mails, anchors.get(finder.id, ()), policy.groups_of(finder.id))
    try:
        return await finder.find(request, now=now)
    except RosterdError as error:
        return Finding(finder.id, unread=error.what)


def sides(finders: Sequence[ConfiguredFinder], findings: Sequence[Finding], context: Context) -> tuple[SourceSide, ...]:
    """Each answer beside the ledger, in the order of the organization file."""
    pairs = zip(finders, findings, strict=True)
    return tuple(directory_side.compare(found, item.rules, context, fix=fix_for(found.unread)) for item, found in pairs)


async def holders(reader: Reader, findings: Sequence[Finding]) -> dict[tuple[str, str], str]:
    """(source, anchor) → mail address of whom the ledger links to it, for every entry that was found."""
    found: dict[tuple[str, str], str] = {}
    for finding in findings:
        anchors = [item.entry.anchor for item in finding.entries if item.entry.anchor]
        for anchor, mail in (await people.holders_of(reader, finding.source_id, anchors)).items():
            found[finding.source_id, anchor] = mail
    return found
