"""When a wait for child runs ends, by the rows of the children."""

from __future__ import annotations

import datetime as dt

import pytest

from workflows.models import Run
from workflows.pages.run.timeline_waits import CHILD, Events, _wait

START = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def events(*ends: float | None) -> Events:
    """Return child runs of one step that ended after so many seconds; None: it is active."""
    children = [
        Run(
            created_at=at(0.1 * number),
            parent_sequence=3,
            completed_at=None if end is None else at(end),
        )
        for number, end in enumerate(ends)
    ]
    return Events([], [], children, [])


@pytest.mark.parametrize(
    ("ends", "until", "over"),
    [
        ((5,), None, 5),
        ((None,), None, None),
        ((5, 7), None, 7),
        ((5, None), None, None),  # it waits for the other one
        ((5, None), 9, 5),  # it was resumed or cancelled meanwhile
        ((None, None), 9, 9),
    ],
)
def test_a_wait_for_child_runs_lasts_until_the_last_one_ends(
    ends: tuple[float | None, ...], until: float | None, over: float | None
) -> None:
    end = None if until is None else at(until)
    kind, found = _wait(START, end, events(*ends))
    assert kind == CHILD
    assert found == (None if over is None else at(over))
