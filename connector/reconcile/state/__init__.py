"""The ledger as planning needs it: recorded rows, windows, the gate, Teams.

Prohibition: decides nothing about anybody.
"""
