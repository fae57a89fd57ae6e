"""Revisions of this store, oldest first."""
