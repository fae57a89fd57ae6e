"""Tells elsewhere what the outbox holds: at least once, in order per person, and late rather than never (R4).

Prohibition: decides nothing about accounts. What a run, an edit or a lapse has to tell is written with the change
itself (``ledger.store.outbox``); here it is only carried to its targets.
"""
