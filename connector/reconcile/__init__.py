"""Who should have what, what changes, what must wait, and doing exactly that. ``run.py`` is the file to read first.

Pure: ``plan policy desired diff guard outlook show`` and ``pipeline``. The other rooms read or write the ledger.
"""
