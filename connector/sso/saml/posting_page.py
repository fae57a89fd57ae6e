"""The page that posts a sign-in request to an identity provider, and what a browser may do on it.

Pure: no I/O, no clock here. The address comes from metadata that others wrote, so nothing of it is markup here, and the
page's policy lets no script run but the one line of ours, whatever else the page should come to hold.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape

_SCRIPT = "document.forms[0].submit()"
_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode("ascii")

# ``form-action`` stays open: Chrome holds the redirects that answer a form against it too, and identity providers
# redirect a posted request to hosts that their metadata does not name (a tenant's own host, another provider)
POLICY = f"default-src 'none'; script-src 'sha256-{_DIGEST}'; form-action *; base-uri 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of the page."""


def posting_page(address: str, fields: Mapping[str, str]) -> str:
    """HTML that posts ``fields`` to ``address`` by itself, or by its button where scripts are off."""
    inputs = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}"/>' for name, value in fields.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"/><title>Sign-in</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/></head><body>'
        f'<form action="{escape(address)}" method="post">{inputs}'
        '<noscript><input type="submit" value="Continue"/></noscript></form>'
        f"<script>{_SCRIPT}</script></body></html>"
    )
