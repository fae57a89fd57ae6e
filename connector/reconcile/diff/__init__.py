"""Desired × recorded → changes: memberships, off-boarding, seats, roles, kept groups.

Pure: no I/O, no clock here.
"""
