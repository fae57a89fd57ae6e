"""The native face ``/v1``: teams, meta, freshness, datasets as JSON and CSV.

Prohibition: builds no SQL and opens no dataset but through ``reporting_api.auth``.
"""
