"""One bound connection, and searches whose end is proved (D1, D12). ldap3 is spoken here."""
