"""Who should have what, what changes, what must wait, and doing exactly that. ``run.py`` is the file to read first.

Pure here: ``policy desired diff plan guard render explain`` import no asyncio, no clock, no client library.
"""
