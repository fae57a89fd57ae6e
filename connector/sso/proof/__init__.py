"""Proves that a mail domain is the organization's own (R1)."""
