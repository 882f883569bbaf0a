"""Loops told once: the same steps over and over become one line with their number.

Only what went as it should is folded, and never the last round: it shows why the loop
was left, or where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workflows.pages.run.stage_rows import Row

MAX_LOOP_LENGTH = 8  # steps in one round
MIN_ROUNDS = 4  # rounds, below which nothing is folded


@dataclass(frozen=True, slots=True)
class Fold:
    """Rounds of a loop, one after another, that are told as one."""

    rows: tuple[Row, ...]  # all that are folded
    nodes: tuple[str, ...]  # of one round

    @property
    def times(self) -> int:
        """Return how many rounds are folded."""
        return len(self.rows) // len(self.nodes)

    @property
    def attempt(self) -> int:
        """Return the attempt it begins in."""
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
        """Return the number of the step before the first: where its page begins."""
        return self.sequence - 1

    @property
    def total_ms(self) -> float:
        """Return how long all of them took together."""
        return sum(row.duration_ms or 0.0 for row in self.rows)

    @property
    def key(self) -> str:
        """Return what tells it from the other folds of its run; it may still grow."""
        return f"{self.attempt}-{self.sequence}"


def folded(rows: Sequence[Row]) -> Iterator[Row | Fold]:
    """Yield rows and folds in the order of the rows."""
    tokens = [row.node if row.is_plain else None for row in rows]
    place = 0
    while place < len(rows):
        period, rounds = _loop_at(tokens, place)
        if rounds < MIN_ROUNDS:
            yield rows[place]
            place += 1
            continue
        end = place + period * (rounds - 1)
        nodes = tuple(row.node for row in rows[place : place + period])
        yield Fold(tuple(rows[place:end]), nodes)
        yield from rows[end : end + period]
        place = end + period


def _loop_at(tokens: Sequence[str | None], place: int) -> tuple[int, int]:
    """Return the length and number of the rounds that begin here and cover most."""
    best = (0, 0)
    for period in range(
        1, min(MAX_LOOP_LENGTH, (len(tokens) - place) // MIN_ROUNDS) + 1
    ):
        one = tokens[place : place + period]
        if None in one:
            break
        rounds = 1
        at = place + period
        while tokens[at : at + period] == one:
            rounds += 1
            at += period
        if rounds >= MIN_ROUNDS and period * rounds > best[0] * best[1]:
            best = (period, rounds)
    return best
