"""Loop folding: repeated iterations of the same steps become one entry with a count.

Only steps that completed at the first try are folded, and never the last iteration: it
shows why the loop ended, or its current state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workflows.pages.run.stage_rows import Row

MAX_LOOP_LENGTH = 8  # steps of one iteration
MIN_ITERATIONS = 4  # fewer are not folded


@dataclass(frozen=True, slots=True)
class Fold:
    """Consecutive iterations of a loop, shown as one entry."""

    rows: tuple[Row, ...]  # all folded steps
    nodes: tuple[str, ...]  # of one iteration

    @property
    def times(self) -> int:
        """Return the number of folded iterations."""
        return len(self.rows) // len(self.nodes)

    @property
    def attempt(self) -> int:
        """Return the attempt of the first step."""
        return self.rows[0].attempt

    @property
    def sequence(self) -> int:
        """Return the number of the first step."""
        return self.rows[0].sequence

    @property
    def last(self) -> int:
        """Return the number of the last step."""
        return self.rows[-1].sequence

    @property
    def before(self) -> int:
        """Return the number before the first step: the `after` of the page of all steps."""
        return self.sequence - 1

    @property
    def total_ms(self) -> float:
        """Return the sum of the durations."""
        return sum(row.duration_ms or 0.0 for row in self.rows)

    @property
    def key(self) -> str:
        """Return a key unique in the run; it stays the same while the fold grows."""
        return f"{self.attempt}-{self.sequence}"


def folded(rows: Sequence[Row]) -> Iterator[Row | Fold]:
    """Yield rows and folds in the order of the rows."""
    tokens = [row.node if row.is_plain else None for row in rows]
    place = 0
    while place < len(rows):
        period, iterations = _loop_at(tokens, place)
        if iterations < MIN_ITERATIONS:
            yield rows[place]
            place += 1
            continue
        end = place + period * (iterations - 1)
        nodes = tuple(row.node for row in rows[place : place + period])
        yield Fold(tuple(rows[place:end]), nodes)
        yield from rows[end : end + period]
        place = end + period


def _loop_at(tokens: Sequence[str | None], place: int) -> tuple[int, int]:
    """Return length and number of the iterations from here that cover the most steps."""
    best = (0, 0)
    for period in range(
        1, min(MAX_LOOP_LENGTH, (len(tokens) - place) // MIN_ITERATIONS) + 1
    ):
        steps = tokens[place : place + period]
        if None in steps:
            break
        iterations = 1
        at = place + period
        while tokens[at : at + period] == steps:
            iterations += 1
            at += period
        if iterations >= MIN_ITERATIONS and period * iterations > best[0] * best[1]:
            best = (period, iterations)
    return best
