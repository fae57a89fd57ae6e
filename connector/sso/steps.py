"""The steps an admin walks, in order, for the command line, the admin API and the demo (sso.md §0).

``add_domain`` → publish the TXT record or the file → ``verify_domain`` → ``connect`` → hand ours over
(``/sso/<org>/metadata``) → ``begin_test`` and open its page in a browser → ``turn_on`` → ``enable_sync``. ``status``
says what is missing at each.
"""

from __future__ import annotations

from connector.sso.gate.status import SsoStatus, status
from connector.sso.gate.sync import disable_sync, enable_sync, sync_status
from connector.sso.proof.domain_steps import (
    Challenge,
    DomainReport,
    add_domain,
    declare,
    next_look,
    recheck_domains,
    release_domain,
    verify_domain,
)
from connector.sso.provider.connection_steps import (
    ConnectionReport,
    confirm_certificate,
    connect,
    prove_key,
    turn_off,
    turn_on,
)
from connector.sso.provider.refresh import RefreshReport, refresh
from connector.sso.provider.release import release_provider
from connector.sso.refusals import explain
from connector.sso.sign_in import SignedIn, TestTicket, begin_test
from connector.sso.sign_in import finish as finish_test

__all__ = [
    "Challenge",
    "ConnectionReport",
    "DomainReport",
    "RefreshReport",
    "SignedIn",
    "SsoStatus",
    "TestTicket",
    "add_domain",
    "begin_test",
    "confirm_certificate",
    "connect",
    "declare",
    "disable_sync",
    "enable_sync",
    "explain",
    "finish_test",
    "prove_key",
    "next_look",
    "recheck_domains",
    "refresh",
    "release_domain",
    "release_provider",
    "status",
    "sync_status",
    "turn_off",
    "turn_on",
    "verify_domain",
]
