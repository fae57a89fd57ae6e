"""Is single sign-on really configured and tested for a domain? Evidence in, one pure decision out (R1, R5)."""
