"""Who is who, who is here, and what each mapping gives them: readings × policy × recorded links.

Pure: no I/O, no clock here. Whatever cannot be proved ends frozen with its reason, never in an absence.
"""
