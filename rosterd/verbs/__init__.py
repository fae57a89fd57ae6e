"""The verbs of the command line, one file per subject. Thin: read arguments, call a room, print what it answered."""
