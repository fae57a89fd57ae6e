"""The verbs of the command line, one file per subject. Thin: read arguments, call a room, print what it answered.

Imports stand inside functions here: help, completion and the man page import every file of this room, and no library of
the product. At module level stands only what is light: typer, errors, and the enums that typer shows as choices.
"""
