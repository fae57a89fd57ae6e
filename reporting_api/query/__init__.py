"""One query value for every face: what is asked, how it becomes SQL, which engine answers, how pages follow each other.

Prohibition: knows no HTTP and no credential; a ``Query`` arrives with its scope already in it.
"""
