"""A SCIM provider that is read, and the inbox that one pushes to, as directory sources (D16, G6)."""
