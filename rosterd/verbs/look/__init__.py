"""status · people: how an organization stands, for somebody at a terminal."""
