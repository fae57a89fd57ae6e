"""What ``rosterd check`` looks at, step by step; each failed step carries its fix. Nothing here changes anything.

``offline`` and what it calls read files only; ``book`` asks the ledger; ``answers``, ``first_plan`` and ``mail``
connect.
"""
