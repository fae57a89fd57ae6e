"""What a plan means beyond its changes: seats ahead, full coverage (P4, P5).

Pure: no I/O, no clock here.
"""
