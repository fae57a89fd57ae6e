"""Log lines: stable verbs, one line each, no secrets, mail addresses only at debug."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator

import pytest

from rosterd import logs

LOG = logging.getLogger("rosterd.test")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: str = "text", level: str = "info", **fields: object) -> str:
    stream = io.StringIO()
    logs.configure(form=form, level=level, stream=stream)
    logs.event(LOG, "run.applied", **fields)
    return stream.getvalue()


def test_text_lines_carry_the_verb_and_quoted_values() -> None:
    line = written(organization="acme", added=12, why="two words")
    assert line.endswith(' info run.applied organization=acme added=12 why="two words"\n')


def test_json_lines_are_one_object_each() -> None:
    found = json.loads(written("json", organization="acme", lines="a\nb"))
    assert found["event"] == "run.applied"
    assert found["lines"] == "a\nb"


def test_mail_addresses_are_masked_above_debug() -> None:
    assert "a…@acme.example" in written(who="anna.kowalska@acme.example")
    assert "anna.kowalska@acme.example" in written(level="debug", who="anna.kowalska@acme.example")


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_address_in_quotes_is_masked_and_the_line_stays_whole(form: str) -> None:
    line = written(form, who='"mallory.k"@acme.example', why={"mail": 'no "jane doe"@acme.example', "at": "@b.example"})
    assert "mallory" not in line
    assert "jane" not in line
    assert line.count("…@acme.example") == 2
    assert "@b.example" in line
    if form == "json":
        assert json.loads(line)["who"] == "…@acme.example"
    started = time.monotonic()
    written(form, who='\\"' * 2000 + "\\" * 2000)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_never_written(form: str) -> None:
    line = written(form, header="Bearer abc.def", query="?api_key=abc&x=1", url="postgresql://u:abc@h/db")
    assert "abc" not in line


def test_lines_of_libraries_keep_their_text() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("some.library").warning("it is %s", "late")
    assert ' warning log message="it is late" logger=some.library\n' in stream.getvalue()


def test_drivers_log_no_values_even_at_debug() -> None:
    stream = io.StringIO()
    logs.configure(level="debug", stream=stream)
    for name in ("aiosqlite", "sqlalchemy.engine", "ldap3"):
        logging.getLogger(name).info("INSERT … VALUES (%s)", "value")
        logging.getLogger(name).debug("INSERT … VALUES (%s)", "value")
    assert stream.getvalue() == ""


def test_a_line_that_names_its_event_in_words_keeps_it_as_the_verb() -> None:
    stream = io.StringIO()
    logs.configure(form="json", stream=stream)
    logging.getLogger("access.trail").warning("event=access_log_not_written waiting=%d", 3)
    found = json.loads(stream.getvalue())
    assert (found["event"], found["message"]) == ("access_log_not_written", "waiting=3")


def test_an_error_is_one_line() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        LOG.exception("job.failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError" in stream.getvalue()


def test_a_token_is_never_shown_whatever_stands_before_it() -> None:
    line = written(path="/v1/rpt_ABCDEFGH_secret", error=repr(b"Bearer\r\n rpt_ABCDEFGH_secret"))
    assert "secret" not in line
    assert line.count("rpt_***") == 2
    line = written(path="/xrpt_ABCDEFGH_secret/%20rpt_ABCDEFGH_secret", name="RPT_ABCDEFGH_secret")
    assert "secret" not in line


@pytest.mark.parametrize(
    "text", ["a" * 4000 + "@" + "a" * 4000, "a" * 8000, "a.b@" * 2000, "a://" * 2000, "token=" * 1500]
)
def test_no_long_value_keeps_others_waiting(text: str) -> None:
    """Masking goes through a line once; from every character of it, this would take a second and more."""
    began = time.process_time()
    written(path=text * 10)
    assert time.process_time() - began < 0.25


def test_a_value_without_end_is_cut() -> None:
    assert len(written(path="x" * 100_000, error="y" * 100_000)) < 10_000
