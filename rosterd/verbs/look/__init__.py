"""status · people · explain: how an organization stands, for somebody at a terminal."""
