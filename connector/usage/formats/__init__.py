"""Bytes become rows: one decoder per format, for HTTP and files alike.

Prohibition: judges no value; what a field may hold is said in ``connector.usage.rows``.
"""
