"""What one run changed, restored as a new audited run (A3).

Prohibition: reads no directory; keeps what was edited since.
"""
