"""One directory server over LDAP: read whole, followed between whole readings, asked for one person (D1–D14).

Rooms, each below the one before: ``active_directory``, ``source`` and ``find``, ``follow``, ``whole``, ``session``,
``wire``.
"""
