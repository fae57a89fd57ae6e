"""``python -m rosterd``: the command line where the ``rosterd`` script is not on the path."""

from __future__ import annotations

from rosterd.cli import main

if __name__ == "__main__":
    main()
