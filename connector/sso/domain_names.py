"""Which names may be registered as a mail domain: normal form, public suffixes, public mail providers (sso.md §0).

Pure: the lists come with the package publicsuffixlist and this file; no look-up here.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

import idna
from publicsuffixlist import PublicSuffixList

from ledger.errors import Refused
from ledger.identity import a_label

POLICY_VERSION = "2026-11"
"""Kept with the evidence: which version of these rules accepted the domain."""

_SPECIAL = frozenset({"localhost", "local", "onion", "arpa", "invalid", "internal", "home", "lan", "corp"})
"""Names nobody can prove in public DNS (RFC 6761, RFC 8375, ICANN SAC113)."""

_PUBLIC_MAIL = """
10minutemail.com 126.com 163.com abv.bg aim.com alice.it aliyun.com aol.com att.net azet.sk bellsouth.net
bigpond.com bk.ru bluewin.ch bol.com.br btinternet.com centrum.cz charter.net comcast.net cox.net daum.net
docomo.ne.jp duck.com email.com email.cz ezweb.ne.jp fastmail.com fastmail.fm foxmail.com free.fr freenet.de
gazeta.pl gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.net googlemail.com guerrillamail.com hanmail.net hey.com
home.nl hotmail.co.uk hotmail.com hotmail.de hotmail.es hotmail.fr hotmail.it hushmail.com i.ua icloud.com
inbox.ru interia.eu interia.pl kpnmail.nl laposte.net libero.it list.ru live.co.uk live.com live.fr live.nl
mac.com mail.com mail.ru mailbox.org mailinator.com me.com msn.com naver.com o2.pl onet.eu onet.pl op.pl
optusnet.com.au orange.fr outlook.com outlook.de outlook.es outlook.fr outlook.it outlook.jp passport.com
pm.me poczta.fm poczta.onet.pl posteo.de proton.me protonmail.ch protonmail.com qq.com rambler.ru
rediffmail.com rocketmail.com sbcglobal.net seznam.cz sfr.fr sharklasers.com sina.cn sina.com sky.com
skynet.be softbank.jp sohu.com t-online.de talktalk.net telenet.be telia.com temp-mail.org terra.com.br
tiscali.it tlen.pl trashmail.com tuta.com tuta.io tutanota.com tutanota.de ukr.net uol.com.br verizon.net
virgilio.it virginmedia.com vp.pl walla.co.il wanadoo.fr web.de wp.pl ya.ru yahoo.ca yahoo.co.in yahoo.co.jp
yahoo.co.uk yahoo.com yahoo.com.br yahoo.de yahoo.es yahoo.fr yahoo.it yandex.com yandex.ru yeah.net ymail.com
yopmail.com ziggo.nl zoho.com zohomail.com
"""
PUBLIC_MAIL = frozenset(_PUBLIC_MAIL.split())
"""Providers whose addresses anybody can have; nobody is their owner in the sense of R1."""


def normalise(raw: str) -> str:
    """The A-label of a domain as an admin may write it (any case, trailing dot, international letters).

    Raises ``ValueError`` saying what is wrong: a port, a wildcard, an address, a single label, a broken xn-- label.
    ``faß.de`` and ``fass.de`` stay two owners (IDNA 2008, never Python's own codec).
    """
    text = raw.strip()
    for sign, meaning in (
        ("://", "an address of a page"),
        ("@", "a mail address"),
        ("*", "a wildcard"),
        (":", "a port"),
    ):
        if sign in text:
            raise ValueError(f"{raw!r} holds {meaning}: write the bare domain, for example acme.com")
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        pass
    else:
        raise ValueError(f"{raw!r} is an IP address, not a domain")
    domain = a_label(text)
    labels = domain.split(".")
    if len(labels) < 2:
        raise ValueError(f"{raw!r} is a single label, not a registered domain")
    for label in labels:
        if label.startswith("xn--"):
            _check_a_label(raw, label)
    if labels[-1].isdigit():
        raise ValueError(f"{raw!r} is not a domain: the last label is a number")
    return domain


def _check_a_label(raw: str, label: str) -> None:
    try:
        idna.ulabel(label)
    except idna.IDNAError as error:
        raise ValueError(f"{raw!r}: {label} is no valid international label: {error}") from error


def require_registrable(raw: str) -> str:
    """``normalise`` plus policy; raises ``Refused`` for public suffixes, public mail providers and unprovable names."""
    try:
        domain = normalise(raw)
    except ValueError as error:
        raise Refused(str(error), where="domain") from error
    if domain.rpartition(".")[2] in _SPECIAL:
        raise Refused(f"{domain} cannot be proved in public DNS", where="domain", next_step="register a public domain")
    suffixes = _suffixes()
    if suffixes.is_public(domain):
        raise Refused(
            f"{domain} is a public suffix: others register names below it",
            where="domain",
            next_step="name your own domain",
        )
    registrable = suffixes.privatesuffix(domain) or domain
    if domain in PUBLIC_MAIL or registrable in PUBLIC_MAIL:
        raise Refused(
            f"{domain} belongs to a public mail provider: anybody can have an address there",
            where="domain",
            next_step="use the domain of the organization",
        )
    return domain


def registered(domain: str) -> str:
    """The part of an A-label that somebody registered with a registry: acme.co.uk of mail.acme.co.uk. Suffixes of
    companies are none here: who rents a.s3.amazonaws.com has registered nothing."""
    return _suffixes(icann=True).privatesuffix(domain) or domain


def overlaps(one: str, other: str) -> bool:
    """Equal, or one lies below the other."""
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


@lru_cache(maxsize=2)
def _suffixes(*, icann: bool = False) -> PublicSuffixList:
    return PublicSuffixList(only_icann=icann)
