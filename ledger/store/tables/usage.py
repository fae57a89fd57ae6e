"""Legal basis, staged usage events, quarantine, publications."""
