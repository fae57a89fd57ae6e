"""The bytes of LDAP: what we send and what comes back, nothing of what it means. Pure: no I/O here."""
