"""A page per identity provider, in Markdown: the source of ``docs/guides`` and of ``rosterd sso guide``.

Their examples are those of ``acme``: https://rosterd.acme.example, acme.example. The command puts others in.
"""
