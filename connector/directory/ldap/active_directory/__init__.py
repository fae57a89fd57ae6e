"""What a domain controller does otherwise than any LDAP server (D5–D7, D13)."""
