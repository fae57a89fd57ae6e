"""Puts an access control entry on an object of a domain controller; for the system's Python, which has samba.

``samba_allow.py SMB_CONF SAM_LDB DN ENTRY``: the entry in SDDL. Never imported: the tests' own Python has no samba.
"""

import sys

import ldb  # type: ignore[import-not-found]
from samba.auth import system_session  # type: ignore[import-not-found]
from samba.dcerpc import security  # type: ignore[import-not-found]
from samba.ndr import ndr_pack, ndr_unpack  # type: ignore[import-not-found]
from samba.param import LoadParm  # type: ignore[import-not-found]
from samba.samdb import SamDB  # type: ignore[import-not-found]

SHOW = "show_deleted:1"
ATTRIBUTE = "nTSecurityDescriptor"


def main(configuration: str, database: str, name: str, entry: str) -> None:
    """The entry comes first in the object's list."""
    parameters = LoadParm()
    parameters.load(configuration)
    opened = SamDB(url=database, lp=parameters, session_info=system_session(parameters))
    (found,) = opened.search(name, scope=ldb.SCOPE_BASE, attrs=[ATTRIBUTE], controls=[SHOW])
    domain = security.dom_sid(opened.get_domain_sid())
    text = ndr_unpack(security.descriptor, found[ATTRIBUTE][0]).as_sddl(domain)
    start = text.index("(", text.index("D:"))
    changed = security.descriptor.from_sddl(f"{text[:start]}{entry}{text[start:]}", domain)
    message = ldb.Message(ldb.Dn(opened, name))
    message[ATTRIBUTE] = ldb.MessageElement(ndr_pack(changed), ldb.FLAG_MOD_REPLACE, ATTRIBUTE)
    opened.modify(message, [SHOW, "sd_flags:1:4"])


if __name__ == "__main__":
    main(*sys.argv[1:])
