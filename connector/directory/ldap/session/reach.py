"""How one directory is reached: what its source hands to whoever reads from it, in place of the source itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connector.directory.ldap.session.connection import Clock, Session
from connector.directory.settings import LdapSettings
from connector.directory.stand import Stand


@dataclass(frozen=True, slots=True)
class Reach:
    """``open``: a bound session with one of the servers; raises ``Failed``. ``place``: where a whole reading that
    begins now on a session stands, None where changes cannot be followed from it; raises nothing. ``stand``: how new
    the server's content is now, as far as it says; raises nothing.
    ``wait``: backs off before another attempt; False when there is no time for one."""

    id: str
    settings: LdapSettings
    open: Callable[[str, Clock], Session]
    place: Callable[[Session], Mapping[str, Any] | None]
    stand: Callable[[Session], Stand]
    wait: Callable[[int], bool]
