"""The format of names, times, sizes and JSON on pages."""

from __future__ import annotations

import datetime as dt
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.pages.render.json_tree import tree
from workflows.pages.render.text import AGO_UNITS, ago, readable_name, size, span, wrap

NOW = dt.datetime(2026, 2, 28, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (-3, "0 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (4.21, "4.2 s"),
        (12, "12 s"),
        (59.96, "1 m"),
        (72, "1 m 12 s"),
        (3600, "1 h"),
        (3900, "1 h 5 m"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "just now"),
        (-3, "just now"),
        (59, "59 seconds ago"),
        (60, "60 seconds ago"),
        (119.6, "2 minutes ago"),
        (7200, "2 hours ago"),
        (-7200, "in 2 hours"),
        (-(2 * 86_400 - 60), "in 48 hours"),
        (-(47 * 3600), "in 47 hours"),
        (-36 * 3600, "in 36 hours"),
        (-(3 * 86_400 - 60), "in 3 days"),
        (3 * 86_400, "3 days ago"),
        (800 * 86_400, "2 years ago"),
    ],
)
def test_a_time_is_shown_relative_to_now(seconds: float, text: str) -> None:
    assert ago(NOW - dt.timedelta(seconds=seconds), NOW) == text


@given(st.floats(-1e12, 1e12))
def test_a_relative_time_is_accurate_to_half_a_unit(seconds: float) -> None:
    distance = abs(seconds)
    size, _ = next(((s, n) for s, n in AGO_UNITS if distance + 0.5 >= 2 * s), (1, ""))
    now = dt.datetime(5000, 1, 1, tzinfo=dt.UTC)
    try:
        text = ago(now - dt.timedelta(seconds=seconds), now)
    except OverflowError:
        return  # outside the range of datetime
    if text == "just now":
        assert distance < 10
        return
    message = int(text.removeprefix("in ").split()[0].replace(",", ""))
    assert message >= 2
    assert abs(message * size - distance) <= size / 2 + 0.5
    assert text.startswith("in ") == (seconds < 0)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (4_200_000, "4.2 MB"),
        (10**18, "1000000.0 TB"),
    ],
)
def test_a_size_has_one_unit(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("read_pages", "Read pages"),
        ("say-hello", "Say hello"),
        ("__", "__"),
        ("URL_check", "URL check"),
    ],
)
def test_a_name_becomes_readable_text(name: str, text: str) -> None:
    assert readable_name(name) == text


@given(st.text(), st.integers(2, 30), st.integers(1, 4))
def test_wrapped_text_stays_within_its_width_and_lines(
    text: str, width: int, lines: int
) -> None:
    rows = wrap(text, width, lines)
    assert 1 <= len(rows) <= lines
    assert all(len(row) <= width for row in rows)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
        self.found.add(tag)


@given(JSON)
def test_any_json_is_shown_and_stays_text(value: Any) -> None:
    html = tree({"<script>": [value, "<img>", {"<i>": value}]})
    assert "&lt;script&gt;" in html
    ours = {"ul", "li", "span", "details", "summary", "b", "small", "pre"}
    assert Tags(html).found <= ours


def test_long_texts_lists_and_deep_values_are_folded() -> None:
    html = tree({"text": "x" * 100_000, "many": [{"n": n} for n in range(500)]})
    assert "100,000 characters" in html
    assert "and 80,000 more characters" in html
    assert "and 400 more" in html
    deep: Any = "end"
    for _ in range(200):
        deep = {"in": deep}
    assert "more inside" in tree(deep)


def test_known_ids_become_links() -> None:
    html = tree({"document": "id-1"}, {"id-1": ("/documents/id-1/", "<handbook>")})
    assert '<a href="/documents/id-1/">&lt;handbook&gt;</a>' in html
