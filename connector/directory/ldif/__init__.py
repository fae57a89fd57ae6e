"""An LDIF export as a directory source, and the text of LDIF (D15)."""
