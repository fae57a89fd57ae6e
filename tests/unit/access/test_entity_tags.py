"""Which headers name which version: strong and weak tags, lists, the star (RFC 9110 §13.1)."""

from __future__ import annotations

import pytest

from access.entity_tags import names


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ('W/"7"', True),
        ('"7"', True),
        ('"6", W/"7"', True),
        (' "6" ,"7" ', True),
        ("*", True),
        ('"6", *', True),
        ("", False),
        (",", False),
        ('"70"', False),
        ("7", False),
        ('w/"7"', False),
    ],
)
def test_a_header_names_a_version_whatever_its_strength(header: str, named: bool) -> None:
    assert names(header, 'W/"7"') is named
    assert names(header, '"7"') is named
