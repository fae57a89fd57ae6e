"""The values of a plan, and what travels with them: changes, the recorded state, settings, orders.

Pure: no I/O, no clock here.
"""
