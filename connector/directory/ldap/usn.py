"""What changed in a domain controller by its update sequence numbers (D13): needs no control and no right to replicate.

Says which objects, not what of them. The numbers are those of one database: whoever asks has compared invocationId.
"""

from __future__ import annotations

from connector.directory.changes import MOST
from connector.directory.ldap import dirsync_control, domain, search
from connector.directory.ldap.connection import Failed, Session
from connector.directory.ldap.touched import Touch, Touched

_PAGE = 1000


def since(session: Session, root: domain.RootEntry, usn: int, page_timeout: float) -> Touched:
    """Every object of the domain with a higher number, deleted ones as far as they are shown. Raises ``Failed``."""
    query = search.Query(
        root.domain, f"(uSNChanged>={usn + 1})", ["objectGUID", "isDeleted", "uSNCreated"], _PAGE,
        elsewhere=domain.anywhere, controls=dirsync_control.SHOW_DELETED, most=MOST,
    )  # fmt: skip
    found, proof = domain.gather(session, query, page_timeout)
    if proof.reason:
        raise Failed(f"what changed was not read: {proof.reason}", transient=proof.transient)
    touched = Touched()
    for name, attributes in found:
        guid = b"".join(attributes.get("objectguid", ()))
        if len(guid) != 16:
            raise Failed(f"the objectGUID of {name} is not visible, so it is not known what changed", transient=False)
        if attributes.get("isdeleted") == (b"TRUE",):
            touched.deleted.add(guid)
            continue
        touched.live[guid] = Touch(name, domain.number(attributes, "usncreated") > usn)
    return touched
