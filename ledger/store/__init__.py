"""Where the book is kept: SQLite (three files) or PostgreSQL (three schemas), behind handles bound to one organization.

Only ``engine``, ``book`` and ``bulk`` speak SQLAlchemy's execution API; the aggregate modules beside them build their
statements from a handle, so an unscoped query cannot be written by forgetting something.
"""
