"""One folder of revisions per store."""
