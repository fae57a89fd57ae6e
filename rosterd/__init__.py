"""THE COMPOSITION: settings, command line, daemon. It constructs and connects; it decides nothing.

Nothing imports this room.
"""
