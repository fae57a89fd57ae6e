"""One run decided and committed in one transaction: rows, held sets, notices (A1–A4).

Prohibition: reads no directory.
"""
