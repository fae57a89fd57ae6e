"""Judges where a host may be fetched from: every one of its addresses, the port, and whether in the clear (N12).

Pure. One address that is not open refuses the host with all the others: it is not skipped, because whoever answers
so for a name has mixed them on purpose or by a mistake that somebody should see.
"""

from __future__ import annotations

from collections.abc import Sequence

from access.outbound.addresses import Address, inner, why_not_global
from access.outbound.settings import Opening
from access.outbound.urls import Target
from ledger.errors import Refused, Unavailable

_SETTING = "allow in [outbound] of rosterd.toml"


def judge(target: Target, addresses: Sequence[Address], openings: Sequence[Opening]) -> tuple[Address, ...]:
    """The addresses to connect to, in order and each once; raises ``Refused``, or ``Unavailable`` for none at all.

    The reasons do not repeat the addresses: who reads them may not know the names of the operator's network.
    """
    distinct = tuple(dict.fromkeys(addresses))
    if not distinct:
        raise Unavailable(f"{target.host} has no address", where=target.shown, next_step="correct the name")
    for address in distinct:
        _require_open_address(target, address, openings)
    for address in distinct:
        _require_open_port(target, address, openings)
    return distinct


def _require_open_address(target: Target, address: Address, openings: Sequence[Opening]) -> None:
    ends_at = inner(address)
    # packets to 64:ff9b::a01:203 end at 10.1.2.3, so that both have to be open
    for part in (address,) if ends_at is None else (address, ends_at):
        kind = why_not_global(part)
        if kind and not any(opening.opens_address(target.port, part) for opening in openings):
            raise Refused(
                f"{target.host} has an address that is not public ({kind})",
                where=target.shown,
                next_step=f"if that is meant, the operator adds the network of the address to {_SETTING}",
            )


def _require_open_port(target: Target, address: Address, openings: Sequence[Opening]) -> None:
    opened = any(opening.opens_port(target.host, target.port, address) for opening in openings)
    if target.scheme == "http" and not (opened and address.is_loopback):
        raise Refused(
            "http is not fetched",
            where=target.shown,
            next_step=f"write https://; for tests, ADDRESS:PORT of a loopback address in {_SETTING}",
        )
    if target.port != 443 and not opened:
        raise Refused(
            f"port {target.port} is not open, only 443 is",
            where=target.shown,
            next_step=f"the operator adds {target.authority} to {_SETTING}",
        )
