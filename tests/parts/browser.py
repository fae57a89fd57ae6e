"""A person's browser as far as signing in needs one: redirects, cookies, a log-in form, a form that posts itself.

Runs no script and asks nobody but loopback: ``close_network`` sees to that.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode, urljoin

_SECONDS = 60
_MOST_PAGES = 6


@dataclass(slots=True)
class Form:
    """One form of a page; ``fields`` are those that its page filled in."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """What the browser shows: where it ended, the status, what can be read, and the page's forms."""

    url: str
    status: int
    text: str
    forms: tuple[Form, ...]

    @property
    def posts_itself(self) -> Form | None:
        """The form of a message between the two sides, which needs no person."""
        return next((form for form in self.forms if {"SAMLResponse", "SAMLRequest"} & set(form.fields)), None)

    @property
    def log_in(self) -> Form | None:
        """The form that asks for a password."""
        return next((form for form in self.forms if "password" in form.fields), None)


class Browser:
    """A browser with cookies of its own that trusts one certificate authority."""

    def __init__(self, ca: Path) -> None:
        trusting = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca)))
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting, cookies)

    def open(self, url: str, form: dict[str, str] | None = None) -> Page:
        """The page at ``url``, behind redirects; ``form`` is posted."""
        data = urlencode(form).encode() if form is not None else None
        try:
            answer = self._opener.open(url, data, _SECONDS)
        except urllib.error.HTTPError as error:
            answer = error  # it is the page, with another status
        with answer:
            reader = _Reader(answer.geturl())
            reader.feed(answer.read().decode())
            return Page(answer.geturl(), answer.status, " ".join(reader.words), tuple(reader.forms))

    def sign_in(self, url: str, name: str, password: str) -> Page:
        """Open ``url``, log in where that is asked for, once, and go on to where nothing is to be done."""
        page, asked = self.open(url), False
        for _ in range(_MOST_PAGES):
            form = page.posts_itself or (None if asked else page.log_in)
            if form is None:
                return page
            if form is page.log_in:
                asked, form.fields = True, {**form.fields, "username": name, "password": password}
            page = self.open(form.action, form.fields)
        raise AssertionError(f"{page.url} leads on and on: {page.text}")


class _Reader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.words: list[str] = []
        self._url = url
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(urljoin(self._url, found.get("action", ""))))
        elif tag == "input" and self.forms and "name" in found and found.get("type", "").lower() != "submit":
            self.forms[-1].fields[found["name"]] = found.get("value", "")
        elif tag in {"script", "style", "title"}:
            self._silent += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style", "title"}:
            self._silent -= 1

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words += data.split()
