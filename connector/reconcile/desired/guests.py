"""Whom the gate and the ``[[guests]]`` rules let through: people of open domains, and named guests (D11, R5).

Pure: no I/O here. A guest's own domain is none of the organization's, so no gate is asked about it; somebody of a
registered domain is never a guest, whatever a rule says.
"""

from __future__ import annotations

from connector.reconcile.desired.seen import Domains
from connector.reconcile.policy.policy import Policy


def frozen(domains: Domains, policy: Policy, mail_key: str) -> str:
    """Why the person with this address is kept as they are; empty when they may be changed."""
    domain = mail_key.rpartition("@")[2]
    if domain in domains.open:
        return ""
    reason = domains.reason(domain)
    if domain in domains.closed or not any(domain in rule.domains for rule in policy.guests):
        return reason
    if policy.guest(mail_key) is None:
        return f"{reason}, and its guests rule does not name this address"
    return "" if domains.open else f"{reason}, and no domain of the organization is open: no guest is admitted"


def only(domains: Domains, policy: Policy, mail_key: str) -> frozenset[str] | None:
    """The mappings that count for somebody who is not frozen; None: all of them."""
    return None if mail_key.rpartition("@")[2] in domains.open else policy.guest(mail_key)
