"""API tokens and the access log."""
