"""How much a series of measurements grows: Theil–Sen slopes, and quarters compared.

The slope is the median of the slopes between all pairs of points, so that a few outliers
do not change it. Its lower bound is that of Sen's confidence interval (P. K. Sen, 1968),
which counts how many pairs would have to be wrong. Noise therefore has a slope, but no
positive lower bound.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

Point = tuple[float, float]  # seconds since the start, value

HOUR = 3_600.0
BINS = 120  # points of a fit: 7,140 pairs
MIN_POINTS = 8  # of a series that can be judged: two in each quarter
Z = 2.576  # of the normal distribution: 0.5 % lie below the lower bound


class TooFewPoints(ValueError):
    """A series is too short to be judged."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per hour: the estimate, and a lower bound that 99.5 % are above."""

    per_hour: float
    at_least: float


def slope(points: Sequence[Point]) -> Slope:
    """Return the growth of a series per hour. Raises TooFewPoints."""
    fitted = binned(points)
    if len(fitted) < MIN_POINTS:
        raise TooFewPoints(f"{len(fitted)} points are too few for a slope.")
    slopes = sorted(
        (later - earlier) / (end - begin)
        for (begin, earlier), (end, later) in combinations(fitted, 2)
    )
    number = len(fitted)
    spread = Z * math.sqrt(number * (number - 1) * (2 * number + 5) / 18)
    lowest = max(0, round((len(slopes) - spread) / 2))
    return Slope(statistics.median(slopes) * HOUR, slopes[lowest] * HOUR)


def binned(points: Sequence[Point], bins: int = BINS) -> list[Point]:
    """Return the medians of equal spans of time, at most `bins`; empty spans are left out."""
    if len(points) <= bins:
        return sorted(points)
    begin = min(seconds for seconds, _ in points)
    width = (max(seconds for seconds, _ in points) - begin) / bins
    spans: dict[int, list[Point]] = {}
    for point in points:
        spans.setdefault(min(int((point[0] - begin) / width), bins - 1), []).append(
            point
        )
    return [_middle(spans[number]) for number in sorted(spans)]


def _middle(points: Sequence[Point]) -> Point:
    seconds, values = zip(*points, strict=True)
    return statistics.median(seconds), statistics.median(values)


def quarters(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Return the values in the first and in the last quarter of the time.

    Raises TooFewPoints.
    """
    if len(points) < MIN_POINTS:
        raise TooFewPoints(f"{len(points)} points are too few to compare quarters.")
    begin = min(seconds for seconds, _ in points)
    width = (max(seconds for seconds, _ in points) - begin) / 4
    first = [value for seconds, value in points if seconds <= begin + width]
    last = [value for seconds, value in points if seconds >= begin + 3 * width]
    return first, last


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
