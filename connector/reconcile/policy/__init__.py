"""What the organization file wants: mappings, their contradictions, fields of people, invites.

Pure: no I/O, no clock here.
"""
