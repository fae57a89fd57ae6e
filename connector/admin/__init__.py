"""The admin HTTP API: routes only, no rules. Whoever asks is authenticated by a personal token."""
