"""Every key of a TOML file is found at its line, whatever stands between."""

from __future__ import annotations

from rosterd.toml_places import line_of, locate, show_path

TEXT = '''\
title = "x"            # 1
[server]
listen = "a"           # 3
note = """
[not_a_table]
key = 1
"""
list = [
  "[[no]]",            # 9
  "b = 2",
]
[[directories]]
id = "one"             # 13
[directories.attributes]
mail = ["mail"]        # 15
[[directories]]
"id" = "two"           # 17
servers.first = "s"    # 18
[[mappings]]
inline = { a = 1, b = [1, 2] }  # 20
last = 1               # 21
[directories.disabled]
attribute = "x"        # 23
'''


def test_keys_stand_at_their_lines() -> None:
    places = locate(TEXT)
    assert places["title",] == 1
    assert places["server", "listen"] == 3
    assert places["server", "list"] == 8
    assert places["directories", 0, "id"] == 13
    assert places["directories", 0, "attributes", "mail"] == 15
    assert places["directories", 1, "id"] == 17
    assert places["directories", 1, "servers", "first"] == 18
    assert places["mappings", 0, "last"] == 21
    assert places["directories", 1, "disabled", "attribute"] == 23
    assert ("server", "not_a_table") not in places
    assert ("not_a_table",) not in places


def test_a_missing_key_is_placed_at_what_surrounds_it() -> None:
    places = locate(TEXT)
    assert line_of(places, ("mappings", 0, "inline", "b")) == 20
    assert line_of(places, ("directories", 1, "nothing")) == 16
    assert line_of(places, ("elsewhere", "x")) == 1


def test_paths_are_shown_as_people_count() -> None:
    assert show_path(("mappings", 2, "team")) == "mappings[3].team"
