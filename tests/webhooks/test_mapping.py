"""Paths into the payload of a delivery."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.webhooks.mapping import MISSING, find, parse_path, payload_of

PAYLOAD = {"a": {"b": [{"c": 1}, None]}, "x.y": 2, "": 3, 'q"r': 4, "m/n": 5, "0": 6}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b[0].c", 1),
        ("$.a.b[0].c", 1),
        ("/a/b/0/c", 1),
        ("a.b[1]", None),
        ('["x.y"]', 2),
        ("/", 3),
        ('["q\\"r"]', 4),
        ("/m~1n", 5),
        ("0", 6),
        ("$", PAYLOAD),
        ("a.b[2]", MISSING),
        ("a.b.c", MISSING),
        ("a.b[0].c.d", MISSING),
    ],
)
def test_a_path_names_a_value_of_the_payload(path: str, expected: Any) -> None:
    assert find(PAYLOAD, path) == expected


@pytest.mark.parametrize("path", ["a..b", "a[", "a[x]", "[1", 'a["b]', ".a", "a" * 201])
def test_a_malformed_path_is_refused_with_a_sentence(path: str) -> None:
    with pytest.raises(ValueError, match="Enter"):
        parse_path(path)


def test_a_form_has_the_payload_in_a_field() -> None:
    body = "payload=%7B%22a%22%3A1%7D"
    assert payload_of(body, "application/x-www-form-urlencoded; charset=utf-8") == {
        "a": 1
    }
