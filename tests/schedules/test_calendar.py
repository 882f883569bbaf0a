"""Cron expressions: checks, words, and times over clock changes."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.errors import InvalidSchedule
from workflows.schedules import calendar

BERLIN = "Europe/Berlin"


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("given_text", "expression"),
    [
        ("0 9 * * 1-5", "0 9 * * 1-5"),
        ("  */5  * * * * ", "*/5 * * * *"),
        ("@daily", "0 0 * * *"),
        ("0 0 L * *", "0 0 L * *"),
    ],
)
def test_an_expression_is_normalised(given_text: str, expression: str) -> None:
    assert calendar.normalised(given_text) == expression


@pytest.mark.parametrize(
    "text", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "now", "\x00"]
)
def test_an_invalid_expression_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        calendar.normalised(text)
    assert list(caught.value.errors) == ["cron"]


@pytest.mark.parametrize("name", ["", "Berlin", "CET+1", "../etc/passwd", "\x00"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidSchedule):
        calendar.zone_of(name)


def test_an_expression_is_described_in_words() -> None:
    assert calendar.describe("0 9 * * 1-5") == "At 09:00 on Monday through Friday"


def test_a_time_that_a_clock_change_skips_is_made_up_for() -> None:
    found = calendar.next_times("30 2 * * *", BERLIN, at("2026-03-28T02:00"), 2)
    assert found == [at("2026-03-29T01:00"), at("2026-03-30T00:30")]


def test_a_time_that_occurs_twice_is_used_once() -> None:
    found = calendar.next_times("30 2 * * *", BERLIN, at("2026-10-24T12:00"), 2)
    assert found == [at("2026-10-25T00:30"), at("2026-10-26T01:30")]


def test_every_half_hour_continues_through_the_repeated_hour() -> None:
    found = calendar.next_times("*/30 * * * *", BERLIN, at("2026-10-24T23:45"), 6)
    gaps = {after - before for before, after in pairwise(found)}
    assert gaps == {dt.timedelta(minutes=30)}


@given(
    st.sampled_from(
        ["30 2 * * *", "*/7 * * * *", "0 */3 * * *", "15 1-3 * * 0", "0 0 1 * *"]
    ),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.integers(0, 3 * 365 * 24 * 60),
)
def test_times_rise_and_do_not_depend_on_where_one_begins(
    expression: str, zone: str, minutes: int
) -> None:
    begin = at("2025-01-01T00:00") + dt.timedelta(minutes=minutes)
    found = calendar.next_times(expression, zone, begin, 8)
    assert found == sorted(set(found))
    assert calendar.next_times(expression, zone, found[2], 5) == found[3:]


def test_the_jitter_of_a_moment_is_the_same_in_every_process() -> None:
    schedule, moment = UUID(int=7), at("2026-05-01T09:00")
    delay = calendar.jitter(schedule, moment, 600)
    assert delay == calendar.jitter(schedule, moment, 600)
    assert dt.timedelta() <= delay < dt.timedelta(seconds=600)
    assert delay != calendar.jitter(UUID(int=8), moment, 600)
    assert calendar.jitter(schedule, moment, 0) == dt.timedelta()
