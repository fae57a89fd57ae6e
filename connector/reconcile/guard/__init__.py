"""Which changes may go and which wait for a named approval: limits, protected people, freed addresses (G1–G4).

Pure: no I/O, no clock here.
"""
