"""A small company, its identity provider and DNS resolvers as separate processes, and a story in eight acts.

Everything here talks to the product through its real entry points; nothing in the product imports it.
"""
