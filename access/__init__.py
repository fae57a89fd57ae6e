"""Who is asking, what the HTTP faces of both programs have in common, and the one door out (``outbound``).

Knows nothing of either program.
"""
