"""Who is asking, and what the HTTP faces of both programs have in common. Knows nothing of either program."""
