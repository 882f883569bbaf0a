"""The timeline of a run in every status: active, queued and waiting times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import (
    make_approval,
    make_attempt,
    make_audit_event,
    make_run,
    make_stage,
)
from workflows.models import (
    ApprovalStatus,
    Outcome,
    Retry,
    Run,
    Stage,
    StageStatus,
    Status,
    WaitKind,
)
from workflows.pages.access import RunPermissions
from workflows.pages.run.baselines import usual_ms
from workflows.pages.run.page import RunPage
from workflows.pages.run.timeline import Bar, Lane, Timeline
from workflows.pages.run.timeline_axis import Axis, Idle, ticks_of
from workflows.pages.run.view_options import RunView

pytestmark = pytest.mark.django_db
START = timezone.now() - dt.timedelta(hours=1)


def at(seconds: float) -> dt.datetime:
    """Return a time in seconds after the launch."""
    return START + dt.timedelta(seconds=seconds)


def a_run(status: str, **fields: Any) -> Run:
    """Return a run that was launched at START."""
    values: dict[str, Any] = {"created_at": START, "updated_at": START}
    if status in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}:
        values["completed_at"] = at(fields.pop("ended", 100))
    return make_run(status=status, **{**values, **fields})


def a_stage(
    run: Run, node: str, begin: float, seconds: float | None, **fields: Any
) -> Stage:
    values: dict[str, Any] = {
        "created_at": at(begin),
        "duration_ms": None if seconds is None else seconds * 1000,
        "status": StageStatus.STARTED if seconds is None else StageStatus.COMPLETED,
    }
    return make_stage(run, node, **{**values, **fields})


def an_attempt(
    run: Run, begin: float, end: float | None, outcome: str = "", number: int = 1
) -> None:
    make_attempt(
        run,
        number=number,
        started_at=at(begin),
        ended_at=None if end is None else at(end),
        outcome=outcome,
    )


def timeline_of(run: Run, **view: Any) -> Timeline:
    return RunPage(run, RunPermissions(), view=RunView(**view)).timeline


def lane(timeline: Timeline, name: str) -> Lane:
    return next(one for one in timeline.lanes if one.name == name)


def in_seconds(bars: Sequence[Bar]) -> list[tuple[str, float, float | None]]:
    """Return kind, start and end in seconds."""
    return [
        (bar.kind, round(bar.start / 1000, 1), bar.end and round(bar.end / 1000, 1))
        for bar in bars
    ]


def test_a_pending_run_queues_since_its_launch() -> None:
    timeline = timeline_of(a_run(Status.PENDING))
    assert timeline.is_live
    assert [one.title for one in timeline.lanes] == ["Queue"]
    assert in_seconds(timeline.lanes[0].bars) == [("queue", 0, None)]


def test_a_running_step_has_no_end_and_its_queue_time_is_shown() -> None:
    run = a_run(Status.RUNNING)
    an_attempt(run, 3, None)
    a_stage(run, "weigh", 3.5, None)
    timeline = timeline_of(run)
    assert in_seconds(lane(timeline, "").bars) == [("queue", 0, 3)]
    assert in_seconds(lane(timeline, "weigh").bars) == [("work", 3.5, None)]
    assert lane(timeline, "weigh").is_active
    assert timeline.end_ms > timeline.now_ms


def test_the_timeline_of_a_completed_run_ends_at_its_completion() -> None:
    run = a_run(Status.COMPLETED, ended=10)
    an_attempt(run, 1, 10, Outcome.COMPLETED)
    a_stage(run, "weigh", 1, 9)
    timeline = timeline_of(run)
    assert not timeline.is_live
    assert timeline.end_ms == 10_000
    assert in_seconds(lane(timeline, "weigh").bars) == [("work", 1, 10)]
    assert {kind: length for kind, _, length in timeline.totals} == {
        "queue": "1.0 s",
        "work": "9.0 s",
    }


def test_retry_backoff_is_not_active_time() -> None:
    run = a_run(Status.COMPLETED, ended=20)
    an_attempt(run, 0, 20, Outcome.COMPLETED)
    a_stage(run, "weigh", 1, 12, tries=2)
    Retry.objects.create(
        run=run,
        attempt=1,
        sequence=1,
        number=1,
        wait_seconds=5,
        error_message="busy",
        created_at=at(3),
    )
    assert in_seconds(lane(timeline_of(run), "weigh").bars) == [
        ("work", 1, 3),
        ("retry", 3, 8),
        ("work", 8, 13),
    ]


def test_a_try_that_has_not_started_is_not_drawn() -> None:
    run = a_run(Status.RUNNING, created_at=timezone.now() - dt.timedelta(seconds=10))
    make_attempt(run, started_at=run.created_at, ended_at=None, outcome="")
    make_stage(
        run,
        "weigh",
        created_at=run.created_at,
        duration_ms=None,
        status=StageStatus.STARTED,
    )
    Retry.objects.create(
        run=run, attempt=1, sequence=1, number=1, wait_seconds=60, error_message="busy"
    )
    bars = lane(timeline_of(run), "weigh").bars
    assert [bar.kind for bar in bars] == ["work", "retry"]
    assert bars[-1].end is None  # still running


def test_a_wait_for_approval_lasts_until_the_response_and_then_the_run_queues() -> None:
    run = a_run(Status.COMPLETED, ended=100, attempt=2)
    an_attempt(run, 0, 10, Outcome.WAITING)
    an_attempt(run, 80, 100, Outcome.COMPLETED, number=2)
    a_stage(run, "review", 9, 72, sequence=4)
    approval = make_approval(run, status=ApprovalStatus.ANSWERED, responded_at=at(70))
    type(approval).objects.update(created_at=at(10))
    timeline = timeline_of(run)
    assert in_seconds(lane(timeline, "review").bars) == [
        ("work", 9, 10),
        ("approval", 10, 70),
        ("work", 80, 81),
    ]
    assert in_seconds(lane(timeline, "").bars)[-1] == ("queue", 70, 80)


def test_a_run_that_waits_for_approval_waits_until_now() -> None:
    run = a_run(Status.WAITING)
    an_attempt(run, 0, 10, Outcome.WAITING)
    a_stage(run, "review", 9, 1, sequence=4, status=StageStatus.WAITING)
    approval = make_approval(run)
    type(approval).objects.update(created_at=at(10))
    timeline = timeline_of(run)
    assert in_seconds(lane(timeline, "review").bars) == [
        ("work", 9, 10),
        ("approval", 10, None),
    ]


def test_a_wait_for_a_sub_workflow_has_a_distinct_kind() -> None:
    run = a_run(Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW)
    an_attempt(run, 0, 10, Outcome.WAITING)
    a_stage(run, "refine", 9, 1, status=StageStatus.WAITING)
    make_run(status=Status.RUNNING, parent=run, parent_sequence=1, created_at=at(10))
    kinds = [bar.kind for bar in lane(timeline_of(run), "refine").bars]
    assert kinds == ["work", "child"]


def test_a_wait_for_a_timer_has_a_distinct_kind() -> None:
    run = a_run(Status.WAITING, waiting_for=WaitKind.WAIT)
    an_attempt(run, 0, 10, Outcome.WAITING)
    a_stage(run, "pause", 9, 1, status=StageStatus.WAITING)
    kinds = [bar.kind for bar in lane(timeline_of(run), "pause").bars]
    assert kinds == ["work", "timer"]


def test_a_run_cancelled_while_it_waited_waits_no_longer() -> None:
    run = a_run(Status.CANCELLED, ended=50)
    an_attempt(run, 0, 10, Outcome.WAITING)
    a_stage(run, "review", 9, 1, sequence=4, status=StageStatus.WAITING)
    approval = make_approval(run, status=ApprovalStatus.WITHDRAWN, responded_at=at(50))
    type(approval).objects.update(created_at=at(10))
    make_audit_event(run, action="cancel", created_at=at(50))
    assert in_seconds(lane(timeline_of(run), "review").bars) == [
        ("work", 9, 10),
        ("approval", 10, 50),
    ]


def test_a_failed_step_ends_at_its_failure() -> None:
    run = a_run(Status.FAILED, ended=7)
    an_attempt(run, 0, 7, Outcome.FAILED)
    a_stage(run, "weigh", 2, 5, status=StageStatus.FAILED)
    bars = lane(timeline_of(run), "weigh").bars
    assert in_seconds(bars) == [("work", 2, 7)]
    assert bars[0].status == "failed"


def test_a_recovered_run_queued_since_the_end_of_its_lease() -> None:
    run = a_run(Status.RUNNING, attempt=2)
    an_attempt(run, 1, 40, Outcome.LOST)
    an_attempt(run, 45, None, number=2)
    a_stage(run, "weigh", 2, None, attempt=1, status=StageStatus.INTERRUPTED)
    a_stage(run, "weigh", 46, None, attempt=2)
    timeline = timeline_of(run)
    assert in_seconds(lane(timeline, "").bars) == [("queue", 0, 1), ("queue", 40, 45)]
    assert in_seconds(lane(timeline, "weigh").bars) == [
        ("work", 2, 40),
        ("work", 46, None),
    ]


def test_a_resumed_run_queued_since_it_was_resumed() -> None:
    run = a_run(Status.COMPLETED, ended=100, attempt=2)
    an_attempt(run, 0, 10, Outcome.FAILED)
    an_attempt(run, 65, 100, Outcome.COMPLETED, number=2)
    make_audit_event(run, action="resume", created_at=at(60))
    assert in_seconds(lane(timeline_of(run), "").bars) == [
        ("queue", 0, 0),
        ("queue", 60, 65),
    ]


def test_the_timeline_of_a_past_step_ends_there() -> None:
    run = a_run(Status.COMPLETED, ended=100, sequence=2)
    an_attempt(run, 0, 100, Outcome.COMPLETED)
    a_stage(run, "read_pages", 0, 10, sequence=1)
    a_stage(run, "weigh", 10, 90, sequence=2)
    run.checkpoints.create(
        attempt=1, sequence=1, kind="full", data="{}", bytes=2, created_at=at(10)
    )
    timeline = timeline_of(run, at=1)
    assert timeline.end_ms == 10_000
    assert [one.name for one in timeline.lanes] == ["", "read_pages"]


def test_many_short_steps_become_few_bars() -> None:
    run = a_run(Status.COMPLETED, ended=1000)
    an_attempt(run, 0, 1000, Outcome.COMPLETED)
    for number in range(200):
        a_stage(run, "weigh", number * 0.2, 0.1, sequence=number + 1)
    found = lane(timeline_of(run), "weigh")
    assert found.step_count == 200
    assert len(found.bars) == 1
    assert found.bars[0].count == 200


# Usual durations ----------------------------------------------------------------------------


def a_past_run(*durations: float, **fields: Any) -> Run:
    run = make_run(**fields)
    for number, ms in enumerate(durations, 1):
        make_stage(run, "weigh", sequence=number, duration_ms=ms)
    return run


def test_usual_is_the_median_of_past_completed_runs_of_the_workflow() -> None:
    a_past_run(100, 120)
    a_past_run(140, 9_000)
    a_past_run(1, 1, 1, workflow_name="another")
    a_past_run(1, 1, 1, status=Status.FAILED)
    run = a_past_run(7, 7, 7, status=Status.RUNNING)
    assert usual_ms(run) == {"weigh": 130.0}


def test_too_few_steps_give_no_baseline() -> None:
    a_past_run(100, 120)
    assert usual_ms(make_run(status=Status.RUNNING)) == {}


def test_a_step_that_takes_far_longer_than_usual_is_marked() -> None:
    a_past_run(1_000, 1_000, 1_000)
    run = a_run(Status.COMPLETED, ended=30)
    an_attempt(run, 0, 30, Outcome.COMPLETED)
    a_stage(run, "weigh", 0, 30)
    found = lane(timeline_of(run), "weigh")
    assert found.is_slow
    assert found.usual_text == "1.0 s"


def test_a_running_step_shows_its_usual_duration() -> None:
    a_past_run(60_000, 60_000, 60_000)
    run = a_run(Status.RUNNING, created_at=timezone.now() - dt.timedelta(seconds=30))
    make_attempt(run, started_at=run.created_at, ended_at=None, outcome="")
    make_stage(
        run,
        "weigh",
        created_at=run.created_at,
        duration_ms=None,
        status=StageStatus.STARTED,
    )
    found = lane(timeline_of(run), "weigh")
    assert found.expected is not None
    assert found.expected.end == 60_000


# Long waits ----------------------------------------------------------------------------

HOUR = 3600.0


def a_run_answered_after_hours(**fields: Any) -> Run:
    """Return a run that was active for 10 s, waited for three hours, and was active for 20 s."""
    run = a_run(Status.COMPLETED, ended=3 * HOUR + 30, attempt=2, **fields)
    an_attempt(run, 0, 10, Outcome.WAITING)
    an_attempt(run, 3 * HOUR + 10, 3 * HOUR + 30, Outcome.COMPLETED, number=2)
    a_stage(run, "read_pages", 0, 9, sequence=1)
    a_stage(run, "review", 9, 3 * HOUR + 1, sequence=2)
    a_stage(run, "publish", 3 * HOUR + 10, 20, sequence=3, attempt=2)
    answered = at(3 * HOUR + 10)
    approval = make_approval(run, status=ApprovalStatus.ANSWERED, responded_at=answered)
    type(approval).objects.update(created_at=at(10))
    return run


def test_a_wait_much_longer_than_other_times_is_compressed() -> None:
    timeline = timeline_of(a_run_answered_after_hours())
    (wait,) = (one for one in lane(timeline, "review").bars if one.kind == "approval")
    (work,) = lane(timeline, "publish").bars
    assert wait.width < 15
    assert work.width > 50
    assert wait.text == "waiting for approval 3 h"  # the full duration
    assert {kind: length for kind, _, length in timeline.totals}["approval"] == "3 h"
    assert len(timeline.breaks) == 1
    ticks = [(tick.text, tick.is_break) for tick in timeline.ticks]
    assert ("3 h", True) in ticks
    assert ("+10 s", False) in ticks
    places = [tick.percent for tick in timeline.ticks]
    assert places == sorted(places)


def test_bars_follow_each_other_on_an_axis_with_breaks() -> None:
    timeline = timeline_of(a_run_answered_after_hours())
    bars = [bar for one in timeline.lanes for bar in one.bars]
    assert all(0 <= bar.x <= bar.x + bar.width <= 100.01 for bar in bars)
    (work,) = lane(timeline, "publish").bars
    assert work.x + work.width == pytest.approx(100, abs=0.1)


def test_a_link_shows_the_timeline_to_scale() -> None:
    run = a_run_answered_after_hours()
    timeline = timeline_of(run, scale=True)
    assert timeline.is_to_scale
    assert timeline.breaks == []
    (work,) = lane(timeline, "publish").bars
    assert work.width < 1
    assert RunView.read({"scale": "true", "at": "2"}).query == "?at=2&scale=true"
    assert RunView(scale=True).rescaled == "?"


def test_short_waits_are_drawn_to_scale() -> None:
    short = a_run(Status.COMPLETED, ended=60)
    an_attempt(short, 50, 60, Outcome.COMPLETED)
    assert timeline_of(short).breaks == []
    busy = a_run(Status.COMPLETED, ended=3 * HOUR)
    an_attempt(busy, HOUR, 3 * HOUR, Outcome.COMPLETED)
    assert timeline_of(busy).breaks == []
    only = a_run(Status.PENDING)
    assert timeline_of(only).breaks == []


def test_an_open_wait_is_compressed_to_a_fixed_width() -> None:
    run = a_run(Status.WAITING)
    an_attempt(run, 0, 10, Outcome.WAITING)
    a_stage(run, "review", 9, 1, sequence=4, status=StageStatus.WAITING)
    approval = make_approval(run)
    type(approval).objects.update(created_at=at(10))
    timeline = timeline_of(run)
    assert timeline.is_live
    assert not timeline.grows
    assert timeline.seconds_left == 60
    assert lane(timeline, "review").bars[-1].x > 80


def test_bars_continue_from_their_position_after_a_break() -> None:
    run = a_run(Status.RUNNING, created_at=timezone.now() - dt.timedelta(hours=2))
    make_attempt(
        run,
        started_at=timezone.now() - dt.timedelta(seconds=20),
        ended_at=None,
        outcome="",
    )
    a_stage(run, "weigh", 0, None)
    started = timezone.now() - dt.timedelta(seconds=20)
    run.stages.update(created_at=started)
    timeline = timeline_of(run)
    (bar,) = lane(timeline, "weigh").bars
    assert bar.end is None
    assert timeline.grows
    displayed = timeline.now_ms - timeline.axis.saved
    assert bar.left < displayed < timeline.end_ms
    assert bar.width == pytest.approx(
        100 * (displayed - bar.left) / timeline.end_ms, abs=1
    )


@pytest.mark.parametrize("seconds", [1, 7, 59, 100, 3_500, 86_000, 900_000])
@pytest.mark.parametrize(
    "waits", [(), ((0.2, 0.5),), ((0.1, 0.3), (0.4, 0.6), (0.7, 0.9))]
)
def test_axis_labels_never_touch_at_any_width(
    seconds: float, waits: tuple[tuple[float, float], ...]
) -> None:
    end = seconds * 1000.0
    breaks = [Idle(end * start, end * over) for start, over in waits]
    axis = Axis(breaks, end * 0.02) if breaks else Axis()
    ticks = ticks_of(axis, axis.at(end))
    assert ticks[0].text == "0"
    for width in range(60, 1400, 20):
        shown = [tick for tick in ticks if tick.width <= width]
        spans = [tick.span_at(width) for tick in shown]
        assert all(one[1] < other[0] for one, other in pairwise(spans)), (width, shown)
    if not breaks:
        assert len([tick for tick in ticks if tick.width <= 640]) >= 4


def test_timeline_steps_and_graph_name_the_same_durations(
    alice: User, client: Client
) -> None:
    run = a_run(Status.COMPLETED, ended=9)
    an_attempt(run, 0, 9)
    stage = a_stage(run, "weigh", 0, 9, sequence=1, tries=3)
    for number, began in ((1, 1), (2, 5)):
        Retry.objects.create(
            run=run,
            attempt=1,
            sequence=1,
            number=number,
            error_message="no answer",
            wait_seconds=3,
            created_at=at(began),
        )
    timeline = timeline_of(run)
    duration = timeline.durations[stage.place]
    assert (duration.active_ms, duration.elapsed_ms) == (3_000, 9_000)
    assert duration.text == "3.0 s active, 9.0 s with waits"
    assert lane(timeline, "weigh").active_text == "3.0 s active"
    client.force_login(alice)
    for query in ("", "?node=weigh"):
        text = client.get(f"/runs/{run.pk}/{query}").content.decode()
        assert text.count("3.0 s active, 9.0 s with waits") >= 2, query
        assert "Completed · 3.0 s</text>" in text
        assert "Completed · 3.0 s active, 9.0 s with waits" in text
    text = client.get(f"/runs/{run.pk}/steps/").content.decode()
    assert "3.0 s active, 9.0 s with waits" in text


def test_a_step_that_did_not_wait_has_one_duration() -> None:
    run = a_run(Status.COMPLETED, ended=9)
    an_attempt(run, 0, 9)
    stage = a_stage(run, "weigh", 1, 3)
    assert timeline_of(run).durations[stage.place].text == "3.0 s"
