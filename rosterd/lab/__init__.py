"""The lab: an identity provider, name servers and a copy of one's own configuration, to try single sign-on alone.

Everything is on loopback. Prohibition: it writes in its folder only, and never into a ledger but by the commands that
it prints.
"""
