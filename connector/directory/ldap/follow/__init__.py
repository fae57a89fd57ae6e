"""What a server says has changed since it was last read, and single look-ups (D13)."""
