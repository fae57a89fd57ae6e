"""The organization's identity provider: what of its metadata is connected, live, and fetched again."""
