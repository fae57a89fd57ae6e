"""WRITES THE BOOK: reads directories, proves sign-in, reconciles, takes in usage, publishes.

Arrows inside: admin → reconcile.run, usage, delivery → directory, scim, sso → clients → pure reconcile files.
Never imports ``reporting_api`` or ``rosterd``.
"""
