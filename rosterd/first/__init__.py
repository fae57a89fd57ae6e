"""The first configuration of an installation, or of one more customer: what is asked, what is written, what is missing.

Prohibition: overwrites nothing that somebody may have edited, and asks nobody but who sits at the terminal.
"""
