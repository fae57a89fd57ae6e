"""THE BOOK: the words of the product, the rules over them, and where they are kept.

Both programs meet only here. Values and rules are pure; only ``store`` and ``published`` touch a disk.
This room never imports ``access``, ``connector``, ``reporting_api`` or ``rosterd``.
"""
