"""Manual memberships and grants come under a mapping's care, as a plan of its own (P3).

Prohibition: moves no cursor and settles no absence or held set; those belong to runs.
"""
