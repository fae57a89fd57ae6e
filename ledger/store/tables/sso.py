"""Domains, connections, evidence, sign-in requests, the gate rows."""
