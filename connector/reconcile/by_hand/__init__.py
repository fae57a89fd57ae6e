"""Edits by hand beside what directories grant: people, seats, links, restrictions, invites, the first sign-in.

Prohibition: never touches a synced row, asks no gate (R6 is not directory sync).
"""
