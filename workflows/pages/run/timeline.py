"""The timeline of a run: active, queued and waiting times, one lane per node.

A running step is shown with its usual duration.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from workflows.models import Retry, Run
from workflows.pages.render.regions import strip_indentation
from workflows.pages.render.text import readable_name, span
from workflows.pages.run.durations import Place, StepDuration
from workflows.pages.run.timeline_axis import Axis, Idle, Tick, axis_of, ticks_of
from workflows.pages.run.timeline_waits import (
    APPROVAL,
    CHILD,
    EVENT,
    FIRST,
    QUEUE,
    STOPPED,
    TIMER,
    Events,
    Gap,
    gaps_of,
)

if TYPE_CHECKING:
    from workflows.pages.run.rows_at_step import PointInTime
    from workflows.pages.run.stage_rows import Row

WORK, RETRY = "work", "retry"
LABELS = {
    WORK: "active",
    QUEUE: "queued",
    APPROVAL: "waiting for approval",
    CHILD: "waiting for sub-workflow",
    EVENT: "waiting for a message",
    FIRST: "waiting for the first of several",
    TIMER: "waiting for timer",
    RETRY: "retry backoff",
}
MERGE_SHARE = 0.002  # of the axis: bars of one kind with smaller gaps are merged
MIN_PERCENT = 0.25  # of the width, so that a short step is visible
AXIS_MARGIN = 1.03  # length of an axis relative to the time it shows
AXIS_GROWTH = 1.25  # factor by which the axis of a live run grows
MIN_AXIS_MS = 1000.0
RECHECK_SECONDS = 60.0  # interval at which the text of a compressed wait is updated
SLOW_FACTOR, SLOW_MS = 2.0, 1000.0  # a step is slow above both limits over the median


@dataclass(slots=True)
class Bar:
    """A span in a lane, in milliseconds since the run was launched."""

    kind: str
    start: float
    end: float | None  # None while it lasts
    status: str = ""  # of the stage
    sequence: int = 0
    count: int = 1  # of merged bars
    x: float = 0.0  # percent of the axis
    width: float = 0.0
    left: float = 0.0  # in milliseconds of the axis
    right: float = 0.0
    text: str = ""


@dataclass(slots=True)
class Lane:
    """One node of the graph over time, or the queue."""

    name: str
    title: str
    bars: list[Bar] = field(default_factory=list)
    step_count: int = 0
    took_ms: float = 0.0  # active time of the newest step
    elapsed_ms: float = 0.0  # of the newest step, including waits
    usual_ms: float | None = None
    is_active: bool = False
    is_of_branch: bool = False  # the lane of the node that joins it covers its time
    expected: Bar | None = None  # the usual duration of the running step

    @property
    def duration(self) -> StepDuration:
        """Return the duration of the newest step."""
        return StepDuration(self.took_ms, max(self.elapsed_ms, self.took_ms))

    @property
    def active_text(self) -> str:
        """Return the active time of the newest step as text."""
        return self.duration.short if self.name else ""

    @property
    def usual_text(self) -> str:
        """Return the median duration of a step as text.

        It includes waits, so there is none next to the active time of a step that waited.
        """
        if self.usual_ms is None or self.duration.has_waits:
            return ""
        return span(self.usual_ms / 1000)

    @property
    def summary(self) -> str:
        """Return the lane as text, for screen readers."""
        if not self.name:
            return f"{self.title}: {', '.join(bar.text for bar in self.bars[:10])}"
        count = f"{self.step_count} steps, newest " if self.step_count > 1 else ""
        usually = f", usually {self.usual_text}" if self.usual_text else ""
        return f"{self.title}: {count}{self.duration.text}{usually}"

    @property
    def is_slow(self) -> bool:
        """Return whether the newest step takes or took much longer than usual."""
        if self.usual_ms is None:
            return False
        return self.took_ms > max(self.usual_ms * SLOW_FACTOR, self.usual_ms + SLOW_MS)


@dataclass
class Timeline:
    """All lanes on one axis."""

    origin: dt.datetime
    now_ms: float
    end_ms: float  # of the axis
    is_live: bool
    lanes: list[Lane]
    axis: Axis
    is_to_scale: bool = False  # requested, and different from the compressed axis
    durations: dict[Place, StepDuration] = field(default_factory=dict)  # by place

    @cached_property
    def items(self) -> list[tuple[str, str]]:
        """Return the id and HTML of each lane."""
        return [
            (
                f"lane-{number}",
                strip_indentation(
                    render_to_string(
                        "runs/_lane.html",
                        {
                            "lane": lane,
                            "number": number,
                            "words": lane.summary,
                            "breaks": self.breaks,
                        },
                    )
                ),
            )
            for number, lane in enumerate(self.lanes)
        ]

    @property
    def lanes_html(self) -> SafeString:
        """Return the lanes as HTML."""
        return mark_safe("".join(html for _, html in self.items))  # noqa: S308 - rendered template

    @property
    def ticks(self) -> list[Tick]:
        """Return the ticks of the axis."""
        return ticks_of(self.axis, self.end_ms)

    @property
    def breaks(self) -> list[float]:
        """Return the middles of the breaks, in percent."""
        return [self.percent((one.start + one.end) / 2) for one in self.axis.breaks]

    @property
    def grows(self) -> bool:
        """Return whether bars grow: not while the axis ends in a break."""
        return self.is_live and not self.axis.is_at_rest

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the axis is too short, or its texts are outdated."""
        if self.axis.is_at_rest:
            return RECHECK_SECONDS
        return (
            max(self.end_ms / AXIS_MARGIN - self.axis.at(self.now_ms), 0.0) / 1000 + 0.1
        )

    def percent(self, ms: float) -> float:
        """Return the position of a time on the axis, in percent."""
        return round(100 * self.axis.at(ms) / self.end_ms, 2)

    @cached_property
    def _sums(self) -> Mapping[str, float]:
        """The total milliseconds of each kind of bar."""
        sums: dict[str, float] = defaultdict(float)
        for lane in self.lanes:
            for bar in () if lane.is_of_branch else lane.bars:
                sums[bar.kind] += (
                    self.now_ms if bar.end is None else bar.end
                ) - bar.start
        return sums

    @property
    def totals(self) -> list[tuple[str, str, str]]:
        """Return kind, label and total length of each kind of bar."""
        return [
            (kind, label, span(self._sums[kind] / 1000))
            for kind, label in LABELS.items()
            if kind in self._sums
        ]

    @property
    def active(self) -> str:
        """Return the total active time of the steps, without waits, as text."""
        return span(self._sums.get(WORK, 0.0) / 1000)

    @property
    def active_since(self) -> dt.datetime | None:
        """Return when a clock that shows the active time would have started.

        None while no step is active: the active time then stands still.
        """
        bars = (
            bar for lane in self.lanes if not lane.is_of_branch for bar in lane.bars
        )
        if not any(bar.kind == WORK and bar.end is None for bar in bars):
            return None
        past = self.now_ms - self._sums[WORK]
        return self.origin + dt.timedelta(milliseconds=round(past))


def timeline_of(  # noqa: PLR0913, PLR0917 - all inputs of a timeline
    run: Run,
    moment: PointInTime,
    rows: Sequence[Row],
    events: Events,
    retries: Iterable[Retry],
    usual: Mapping[str, float],
    *,
    to_scale: bool = False,
) -> Timeline:
    """Return the timeline of a run up to a point in time, compressed or to scale."""
    clock = _Clock(run, moment)
    gaps = [gap for gap in gaps_of(run, events) if gap.start <= clock.now]
    starts = [gap.start for gap in gaps]
    lanes = {"": Lane("", "Queue")}
    lanes[""].bars = [clock.bar(gap.kind, gap.start, gap.end) for gap in gaps
                      if gap.kind == QUEUE]  # fmt: skip
    ends = {attempt.number: attempt.ended_at for attempt in events.attempts}
    waits = defaultdict(list)
    for retry in retries:
        waits[retry.attempt, retry.sequence].append(retry)
    durations: dict[Place, StepDuration] = {}
    for row in rows:
        lane = lanes.get(row.node)
        if lane is None:
            lane = lanes[row.node] = Lane(row.node, readable_name(row.node))
            lane.usual_ms = usual.get(row.node)
            lane.is_of_branch = row.branch is not None
        tries = waits.get((row.attempt, row.sequence), ())
        is_plain = row.is_without_thread or not tries
        bars = clock.plain(row, starts) if is_plain else None
        if bars is None:
            bars = list(clock.bars_of(row, gaps, tries, ends.get(row.attempt)))
        durations[row.place] = clock.duration(row, bars)
        _add_bars(lane, bars, durations[row.place])
    axis = axis_of(clock.idle(gaps), clock.now_ms)
    shown = [lane for lane in lanes.values() if lane.bars]
    timeline = clock.timeline(shown, Axis() if to_scale else axis)
    timeline.durations = durations
    timeline.is_to_scale = to_scale and bool(axis.breaks)
    for lane in timeline.lanes:
        _place(lane, timeline)
    return timeline


def _add_bars(lane: Lane, bars: list[Bar], duration: StepDuration) -> None:
    """Add one step to the lane of its node, which shows the duration of the newest one."""
    lane.bars += bars
    lane.step_count += 1
    lane.took_ms, lane.elapsed_ms = duration.active_ms, duration.elapsed_ms
    lane.is_active = any(bar.end is None for bar in bars)


def _place(lane: Lane, timeline: Timeline) -> None:
    """Set the positions and texts of the bars of a lane."""
    if lane.is_active and lane.usual_ms and lane.bars[-1].kind == WORK:
        start = lane.bars[-1].start
        lane.expected = Bar(WORK, start, start + lane.usual_ms)
        lane.expected.text = f"usually {lane.usual_text}"
        _set(lane.expected, timeline)
    lane.bars = list(_joined(lane.bars, MERGE_SHARE * timeline.end_ms, timeline.axis))
    for bar in lane.bars:
        _set(bar, timeline)
        length = (timeline.now_ms if bar.end is None else bar.end) - bar.start
        times = f" in {bar.count} steps" if bar.count > 1 else ""
        suffix = " so far" if bar.end is None else ""
        bar.text = f"{LABELS[bar.kind]} {span(length / 1000)}{suffix}{times}"


def _set(bar: Bar, timeline: Timeline) -> None:
    end = timeline.now_ms if bar.end is None else bar.end
    bar.left = timeline.axis.at(bar.start)
    bar.right = min(timeline.axis.at(end), timeline.end_ms)
    bar.x = timeline.percent(bar.start)
    width = max(round(100 * bar.right / timeline.end_ms, 2) - bar.x, MIN_PERCENT)
    bar.width = round(min(width, 100 - bar.x), 2)


class _Clock:
    """Converts times of a run to milliseconds since its launch, up to now or its end."""

    def __init__(self, run: Run, moment: PointInTime) -> None:
        self.origin = run.created_at
        self.now = moment.time or run.completed_at or timezone.now()
        self.is_live = moment.is_now and not run.is_ended
        self.now_ms = max(self.ms(self.now), 0.0)

    def ms(self, moment: dt.datetime) -> float:
        return round((moment - self.origin).total_seconds() * 1000, 1)

    def bar(
        self,
        kind: str,
        start: dt.datetime,
        end: dt.datetime | None,
        row: Row | None = None,
    ) -> Bar:
        """Return a span as a bar; one that extends beyond now ends there, or lasts."""
        if end is None or end > self.now:
            end = None if self.is_live else self.now
        bar = Bar(kind, self.ms(start), None if end is None else self.ms(end))
        if row is not None:
            bar.status, bar.sequence = row.status, row.sequence
        return bar

    def length(self, bar: Bar) -> float:
        return max((self.now_ms if bar.end is None else bar.end) - bar.start, 0.0)

    def duration(self, row: Row, bars: Sequence[Bar]) -> StepDuration:
        if row.duration_ms is not None and all(bar.kind == WORK for bar in bars):
            return StepDuration(row.duration_ms, row.duration_ms)
        active = sum(self.length(bar) for bar in bars if bar.kind == WORK)
        if not bars:
            return StepDuration(0.0, 0.0)
        ends = (self.now_ms if bar.end is None else bar.end for bar in bars)
        return StepDuration(active, max(ends) - min(bar.start for bar in bars))

    def plain(self, row: Row, starts: Sequence[dt.datetime]) -> list[Bar] | None:
        """Return the single bar of a stage that ended without a wait, else None.

        A stage that waits for a thread has a single bar, too.
        """
        if row.is_without_thread:
            return [self.bar(QUEUE, row.began, None, row)]
        if row.duration_ms is None or row.is_paused:
            return None
        end = row.began + dt.timedelta(milliseconds=row.duration_ms)
        following = bisect_left(starts, row.began)
        if end > self.now or (following < len(starts) and starts[following] < end):
            return None
        start = self.ms(row.began)
        return [Bar(WORK, start, start + row.duration_ms, row.status, row.sequence)]

    def bars_of(
        self,
        row: Row,
        gaps: Sequence[Gap],
        retries: Sequence[Retry],
        attempt_ended: dt.datetime | None,
    ) -> Iterator[Bar]:
        """Yield the bars of a stage: its active time, cut by its waits."""
        end = self._end(row, attempt_ended)
        pauses = [
            (gap.kind, gap.start, gap.end)
            for gap in gaps
            if gap.start >= row.began and (end is None or gap.start < end)
        ]
        pauses += [
            (RETRY, retry.created_at,
             retry.created_at + dt.timedelta(seconds=retry.wait_seconds))
            for retry in retries
            if retry.created_at <= self.now
        ]  # fmt: skip
        at: dt.datetime | None = row.began
        for kind, start, over in sorted(pauses, key=lambda pause: pause[1]):
            if at is None or start > self.now:
                break
            if start > at:
                yield self.bar(WORK, at, start, row)
            if kind not in {QUEUE, STOPPED}:  # not part of the step
                cut = min(over, end) if over and end else over or end
                yield self.bar(kind, start, cut, row)
            at = over
        if at is None or at > self.now:
            return
        if row.is_paused and at != row.began:
            return
        if end is None or at < end or at == row.began:
            yield self.bar(WORK, at, end, row)

    def _end(self, row: Row, attempt_ended: dt.datetime | None) -> dt.datetime | None:
        if row.is_paused:
            return None
        if row.duration_ms is not None:
            return row.began + dt.timedelta(milliseconds=row.duration_ms)
        return attempt_ended

    def idle(self, gaps: Sequence[Gap]) -> Iterator[Idle]:
        """Yield the idle times of the run, up to now."""
        for gap in gaps:
            bar = self.bar(gap.kind, gap.start, gap.end)
            end = self.now_ms if bar.end is None else bar.end
            if end > bar.start:
                yield Idle(bar.start, end, lasts=bar.end is None)

    def timeline(self, lanes: list[Lane], axis: Axis) -> Timeline:
        end = max(axis.at(self.now_ms), MIN_AXIS_MS if self.is_live else 1.0)
        if self.is_live and not axis.is_at_rest:
            grown = MIN_AXIS_MS
            while grown < end * AXIS_MARGIN:
                grown *= AXIS_GROWTH
            end = round(grown)
        return Timeline(self.origin, self.now_ms, end, self.is_live, lanes, axis)


def _joined(bars: Sequence[Bar], near: float, axis: Axis) -> Iterator[Bar]:
    """Yield bars in order; merge those closer than `near` on the axis."""
    ordered = sorted(bars, key=lambda bar: bar.start)
    if not ordered:
        return
    last = ordered[0]
    for _, bar in pairwise(ordered):
        is_same_kind = (last.kind, last.status) == (bar.kind, bar.status)
        if (
            is_same_kind
            and last.end is not None
            and axis.at(bar.start) - axis.at(last.end) < near
        ):
            last.count += 1
            last.end = bar.end if bar.end is None else max(bar.end, last.end)
        else:
            yield last
            last = bar
    yield last
