"""What may grow during a soak test, and by how much."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bench.soak.growth import Point, TooFewPoints, quantile, quarters, slope

MB: Final = 1_000_000.0

MEMORY_SHARE_PER_HOUR: Final = 0.05
MEMORY_PER_HOUR: Final = 20 * MB  # the larger of both applies
REDIS_MEMORY_PER_HOUR: Final = 2 * MB
MAX_NEW_FILES: Final = 8
MAX_NEW_THREADS: Final = 4
MAX_NEW_CONNECTIONS: Final = 8
MAX_NEW_CHILDREN: Final = 1
MAX_NEW_DATABASE_CONNECTIONS: Final = 5
MAX_NEW_REDIS_CLIENTS: Final = 4
MAX_NEW_REDIS_KEYS: Final = 50
MAX_QUEUE_GROWTH: Final = 20  # runs
MAX_ROWS_FACTOR: Final = 1.5
MAX_NEW_ROWS: Final = 500  # beyond the factor, so that small tables do not matter
MAX_LATENCY_FACTOR: Final = 1.5
LATENCY_TOLERANCE: Final = 0.02  # seconds beyond the factor
MAX_FAILED_SHARE: Final = 0.001  # of all requests


@dataclass(frozen=True, slots=True)
class Verdict:
    """A series judged; numbers are in the unit of the series."""

    first: float  # in the first quarter
    last: float  # in the last quarter
    growth: float  # what the limit applies to
    allowed: float | None  # None: no limit
    is_exceeded: bool


class Limit(Protocol):
    """A limit on the growth of a series."""

    @property
    def text(self) -> str:
        """What is limited, as in “5 open files more”."""

    def judge(self, points: Sequence[Point]) -> Verdict:
        """Return the verdict on a series. Raises TooFewPoints."""


@dataclass(frozen=True, slots=True)
class PerHour:
    """A limit on the slope; exceeded if its lower bound is above the limit."""

    amount: float
    share: float = 0.0  # of the median in the first quarter
    text: str = "per hour"

    def judge(self, points: Sequence[Point]) -> Verdict:
        """Return the verdict on a series. Raises TooFewPoints."""
        first, last = map(statistics.median, quarters(points))
        allowed = max(self.amount, self.share * first)
        fitted = slope(points)
        return Verdict(first, last, fitted.per_hour, allowed, fitted.at_least > allowed)


@dataclass(frozen=True, slots=True)
class Step:
    """A limit on the median of the last quarter above that of the first."""

    amount: float
    factor: float = 1.0
    text: str = "from the first to the last quarter"

    def judge(self, points: Sequence[Point]) -> Verdict:
        """Return the verdict on a series. Raises TooFewPoints."""
        first, last = map(statistics.median, quarters(points))
        allowed = first * (self.factor - 1) + self.amount
        return Verdict(first, last, last - first, allowed, last - first > allowed)


@dataclass(frozen=True, slots=True)
class Slowest:
    """A limit on the 95th percentile of the last quarter against that of the first."""

    factor: float = MAX_LATENCY_FACTOR
    tolerance: float = LATENCY_TOLERANCE
    text: str = "from the first to the last quarter"

    def judge(self, points: Sequence[Point]) -> Verdict:
        """Return the verdict on a series. Raises TooFewPoints."""
        first, last = (quantile(values, 0.95) for values in quarters(points))
        allowed = first * (self.factor - 1) + self.tolerance
        return Verdict(first, last, last - first, allowed, last - first > allowed)


@dataclass(frozen=True, slots=True)
class Unlimited:
    """No limit: the series is printed only."""

    text: str = ""

    def judge(self, points: Sequence[Point]) -> Verdict:
        """Return the verdict on a series. Raises TooFewPoints."""
        first, last = map(statistics.median, quarters(points))
        return Verdict(first, last, last - first, None, is_exceeded=False)


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured: its unit, the divisor from the measured to that unit, its limit."""

    unit: str
    limit: Limit
    divisor: float = 1.0


MEMORY: Final = PerHour(MEMORY_PER_HOUR, MEMORY_SHARE_PER_HOUR)
METRICS: Final[Mapping[str, Metric]] = {
    "memory": Metric("MB", MEMORY, MB),
    "page cache": Metric("MB", Unlimited(), MB),  # PAGE_CACHE_BYTES limits it
    "open files": Metric("", Step(MAX_NEW_FILES)),
    "threads": Metric("", Step(MAX_NEW_THREADS)),
    "TCP connections": Metric("", Step(MAX_NEW_CONNECTIONS)),
    "child processes": Metric("", Step(MAX_NEW_CHILDREN)),
    "memory of children": Metric("MB", MEMORY, MB),
    "database connections": Metric("", Step(MAX_NEW_DATABASE_CONNECTIONS)),
    "database size": Metric("MB", Unlimited(), MB),  # audit events are kept for good
    "Redis clients": Metric("", Step(MAX_NEW_REDIS_CLIENTS)),
    "Redis memory": Metric(
        "MB", PerHour(REDIS_MEMORY_PER_HOUR, MEMORY_SHARE_PER_HOUR), MB
    ),
    "Redis keys": Metric("", Step(MAX_NEW_REDIS_KEYS)),
    "pending runs": Metric("", Step(MAX_QUEUE_GROWTH)),
    "running runs": Metric("", Step(MAX_QUEUE_GROWTH)),
    "waiting runs": Metric("", Step(MAX_QUEUE_GROWTH)),
    "rows of runs": Metric("", Step(MAX_NEW_ROWS, MAX_ROWS_FACTOR)),
    "rows of stages": Metric("", Step(MAX_NEW_ROWS, MAX_ROWS_FACTOR)),
    "rows of decisions": Metric("", Step(MAX_NEW_ROWS, MAX_ROWS_FACTOR)),
    "page p50": Metric("ms", Unlimited(), 0.001),
    "page p95": Metric("ms", Slowest(), 0.001),
    "launch to first node p95": Metric("ms", Slowest(), 0.001),
    "fixed loop": Metric("ms", Unlimited()),  # the speed of the machine
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table; without a verdict, there were too few points."""

    subject: str
    name: str
    verdict: Verdict | None

    @property
    def metric(self) -> Metric:
        """The metric of the line."""
        return METRICS[self.name]

    def cells(self) -> list[str]:
        """Return the line as text: subject, name, unit, first, last, growth, limit."""
        head = [self.subject, self.name, self.metric.unit]
        if self.verdict is None:
            return [*head, "too few", "", "", "", ""]
        found = self.verdict
        values = map(self._number, (found.first, found.last, found.growth))
        allowed = "" if found.allowed is None else self._number(found.allowed)
        return [*head, *values, allowed, "EXCEEDED" if found.is_exceeded else ""]

    def sentence(self) -> str:
        """Return what is wrong, "" if nothing is."""
        found = self.verdict
        if found is None or found.allowed is None or not found.is_exceeded:
            return ""
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        growth, allowed = self._number(found.growth), self._number(found.allowed)
        levels = f"{self._number(found.first)} to {self._number(found.last)}{unit}"
        return (
            f"{self.subject}: {self.name} grew by {growth}{unit}"
            f" {self.metric.limit.text}, from {levels}; the limit is {allowed}{unit}."
        )

    def _number(self, value: float) -> str:
        return f"{value / self.metric.divisor:,.1f}"


def judge(series: Mapping[tuple[str, str], Sequence[Point]]) -> list[Line]:
    """Return a line for each series; keys are subject and metric."""
    return [
        Line(subject, name, _verdict(METRICS[name].limit, points))
        for (subject, name), points in series.items()
    ]


def _verdict(limit: Limit, points: Sequence[Point]) -> Verdict | None:
    try:
        return limit.judge(points)
    except TooFewPoints:
        return None
