"""Loads LDIF into the database of a domain controller that is not running; for the system's Python, which has samba.

``samba_load.py SMB_CONF SAM_LDB ADDS CHANGES``: the adds may set objectGUID (control relax), the changes may not.
Passwords need no complexity afterwards. Never imported: the tests' own Python has no samba module.
"""

import sys
from pathlib import Path

import ldb  # type: ignore[import-not-found]
from samba.auth import system_session  # type: ignore[import-not-found]
from samba.param import LoadParm  # type: ignore[import-not-found]
from samba.samdb import SamDB  # type: ignore[import-not-found]


def main(configuration: str, database: str, adds: str, changes: str) -> None:
    """Everything in one transaction."""
    parameters = LoadParm()
    parameters.load(configuration)
    opened = SamDB(url=database, lp=parameters, session_info=system_session(parameters), options=["nosync:1"])
    opened.transaction_start()
    easy = ldb.Message(ldb.Dn(opened, str(opened.domain_dn())))
    for name in ("pwdProperties", "minPwdLength"):
        easy[name] = ldb.MessageElement("0", ldb.FLAG_MOD_REPLACE, name)
    opened.modify(easy)
    opened.add_ldif(Path(adds).read_text(encoding="utf-8"), ["relax:0"])
    opened.modify_ldif(Path(changes).read_text(encoding="utf-8"))
    opened.transaction_commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
