"""How each directory is read, what it showed last time, and who has to be looked at (D13, D14).

Prohibition: decides nothing about anybody.
"""
