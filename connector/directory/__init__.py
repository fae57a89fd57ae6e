"""Reading corporate directories: completely, or knowingly not (D1–D16).

Sources are unaware of each other and of the book; they return a ``Reading`` and decide nothing.
"""
