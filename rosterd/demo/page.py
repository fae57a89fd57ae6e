"""The frame of the pages of the demo and the lab, which only who runs them sees: readable, English, without script."""

from __future__ import annotations

from html import escape

_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 40rem; margin: 0 auto; padding: 2rem 1.25rem; font: 1rem/1.5 system-ui, Roboto, Arial, sans-serif;
    overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; }
input { display: block; box-sizing: border-box; width: 100%; margin: 0.25rem 0 1rem; padding: 0.6rem; font: inherit; }
button { padding: 0.75rem 1.5rem; border: 0; border-radius: 0.5rem; font: inherit; background: #1a4fa3; color: white; }
td, th { padding: 0.25rem 0.75rem 0.25rem 0; text-align: left; vertical-align: top; }
td:first-child { white-space: nowrap; }
.small { font-size: 0.875rem; }
"""


def page(title: str, body: str) -> str:
    """A whole page; ``body`` is markup."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )
