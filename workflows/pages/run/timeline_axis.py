"""The time axis of a timeline, with long waits compressed.

The timeline of a run that is active for seconds and waits for an approval overnight would
show the wait only. So the axis has a break at each idle time much longer than all the rest
of the run. Texts show the real durations, and a link shows the timeline to scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from workflows.pages.graph.text_width import text_width
from workflows.pages.render.text import span

MIN_BREAK_MS = 60_000.0  # shorter waits are not compressed
MIN_BREAK_RATIO = 2.0  # of a wait to all the rest
MIN_REST_MS = 1_000.0  # lower bound of the rest
BREAK_SHARE, MAX_BREAKS_SHARE = 0.12, 0.4  # width of one break and of all, of the rest


@dataclass(frozen=True, slots=True)
class Idle:
    """An idle time of a run, in milliseconds since its launch."""

    start: float
    end: float
    lasts: bool = False

    @property
    def length(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps time to positions; `drawn` is the width of each break, in milliseconds."""

    breaks: Sequence[Idle] = ()
    drawn: float = 0.0

    def at(self, ms: float) -> float:
        """Return the position of a time; both in milliseconds."""
        saved = 0.0
        for one in self.breaks:
            if ms <= one.start:
                break
            if ms < one.end:
                part = (ms - one.start) / one.length
                return one.start - saved + part * self.drawn
            saved += one.length - self.drawn
        return ms - saved

    @property
    def saved(self) -> float:
        """Return the difference between the time span and the length of the axis."""
        return sum(one.length - self.drawn for one in self.breaks)

    @property
    def is_at_rest(self) -> bool:
        """Return whether the axis ends in a break: no bar on it grows."""
        return bool(self.breaks) and self.breaks[-1].lasts


def axis_of(idle: Iterable[Idle], now_ms: float) -> Axis:
    """Return the axis of a run with these idle times, in order."""
    long = [one for one in idle if one.length >= MIN_BREAK_MS]
    rest = now_ms - sum(one.length for one in long)
    if rest <= 0:
        return Axis()  # no active time that the waits could hide
    rest = max(rest, MIN_REST_MS)
    breaks = [one for one in long if one.length > MIN_BREAK_RATIO * rest]
    if not breaks:
        return Axis()
    return Axis(breaks, rest * min(BREAK_SHARE, MAX_BREAKS_SHARE / len(breaks)))


# Ticks ---------------------------------------------------------------------------------

MAX_TICKS = 6
STEPS_MS = (
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000,
    120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000,
    28_800_000, 43_200_000, 86_400_000, 172_800_000, 432_000_000, 864_000_000,
)  # fmt: skip
TICK_SIZE = 11.0  # pixels: the font size in app.css
TICK_GAP = 8.0  # pixels between two texts
WIDTHS = (0, 120, 160, 200, 240, 320, 400, 480, 560, 640, 800, 960)
"""Widths of an axis in pixels at which app.css shows more of its texts."""
BREAK_GAP_PERCENT = 6.0  # of the width: minimum distance of texts to that of a break


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of the axis."""

    percent: float
    text: str
    anchor: str
    is_break: bool = False  # shows the length of a compressed wait
    width: int = 0  # minimum width of the axis for this tick, in pixels

    def span_at(self, width: float) -> tuple[float, float]:
        """Return start and end of the text on an axis of this width, in pixels."""
        x, wide = self.percent / 100 * width, text_width(self.text, TICK_SIZE)
        shift = {"start": 0.0, "end": wide}.get(self.anchor, wide / 2)
        return x - shift, x - shift + wide


def ticks_of(axis: Axis, end_ms: float) -> list[Tick]:
    """Return the ticks, each with the minimum width of the axis that has room for it."""
    return _with_room(list(_every_tick(axis, end_ms)))


def _with_room(ticks: Sequence[Tick]) -> list[Tick]:
    """Set the minimum width at which each tick overlaps no tick of higher priority.

    Priorities: lengths of breaks, the first tick, every fourth, every second, the rest.
    Ticks without room at any width are omitted.
    """
    order = sorted(range(len(ticks)), key=lambda place: _weight(ticks[place], place))
    kept: dict[int, Tick] = {}
    for place in order:
        tick = ticks[place]
        fitting = (w for w in WIDTHS if _fits(tick, kept.values(), w))
        width = next(fitting, None)
        if width is not None:
            kept[place] = replace(tick, width=width)
    return [kept[place] for place in sorted(kept)]


def _weight(tick: Tick, place: int) -> tuple[int, int]:
    if tick.is_break:
        return (0, place)
    if not tick.percent:
        return (1, place)
    return (2 if place % 4 == 0 else 3 if place % 2 == 0 else 4), place


def _fits(tick: Tick, others: Iterable[Tick], width: int) -> bool:
    """Return whether a text overlaps no other one at this width and at any larger one."""
    for wide in (one for one in (*WIDTHS, WIDTHS[-1] * 2) if one >= width):
        left, right = tick.span_at(wide)
        for other in others:
            begins, ends = other.span_at(wide)
            shown = wide >= other.width
            if shown and left < ends + TICK_GAP and begins < right + TICK_GAP:
                return False
    return True


def _every_tick(axis: Axis, end_ms: float) -> Iterator[Tick]:
    """Yield the ticks: time since launch, length of each break, time since that break."""
    step = next((one for one in STEPS_MS if end_ms / one <= MAX_TICKS), 0)
    step, begin = step or int(end_ms / MAX_TICKS), 0.0

    def percent(ms: float) -> float:
        return round(100 * axis.at(ms) / end_ms, 2)

    for one in axis.breaks:
        yield from _marks(begin, percent(one.start) - BREAK_GAP_PERCENT, step, percent)
        middle = percent((one.start + one.end) / 2)
        yield Tick(middle, span(one.length / 1000), _anchor(middle), is_break=True)
        begin = one.end
    yield from _marks(begin, 100.0, step, percent)


def _marks(
    begin: float, last: float, step: int, percent: Callable[[float], float]
) -> Iterator[Tick]:
    """Yield the ticks between two breaks, up to a position in percent."""
    first = percent(begin) + BREAK_GAP_PERCENT if begin else 0.0
    ms = step if begin else 0
    while (place := percent(begin + ms)) <= last:
        if place >= first:
            text = span(ms / 1000) if ms else "0"
            yield Tick(place, f"+{text}" if begin else text, _anchor(place))
        ms += step


def _anchor(percent: float) -> str:
    if not percent:
        return "start"
    return "end" if percent > 97 else "middle"  # noqa: PLR2004
