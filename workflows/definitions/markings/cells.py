"""The rows and cells of a page, by where its words stand, whatever order they come in.

A text layer may give a table column by column, and a reader of scans gives one line for
each cell. Here words at the same height are one row, and wide gaps part it into cells.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from workflows.definitions.markings.grammar import normal
from workflows.runtime.records import Box, Line, Word

_CELL_GAP = 2.0  # a gap this many times as wide as the letters are high parts two cells
_LINE_GAP = 0.5  # likewise, between lines that were given apart
_MAX_COMPARED_LINES = 16  # of a row that a further one is compared with
_SAME_ROW = 0.5  # of the lower height, by which the middles of one row may differ


@dataclass(frozen=True, slots=True)
class Cell:
    """Words of one row with no wide gap between them, and the signs they consist of."""

    words: tuple[Word, ...]  # as the page has them; never empty
    row: int  # from 0, from the top of the page
    characters: str  # in capitals, without spaces
    written: tuple[str, ...]  # the same signs as they are written
    owners: tuple[int, ...]  # for each sign the place in `words` of its word

    @classmethod
    def of(cls, words: Sequence[Word], row: int) -> Cell:
        """Return the cell that some words of a row are."""
        characters, written, owners = [], [], []
        for owner, word in enumerate(words):
            for character in normal(word.text):
                for capital in character.upper():  # "ß" has two
                    characters.append(capital)
                    written.append(character)
                    owners.append(owner)
        return cls(
            tuple(words), row, "".join(characters), tuple(written), tuple(owners)
        )

    @property
    def box(self) -> Box:
        """Return the smallest box that holds all words."""
        return Box.around([word.box for word in self.words])

    def is_word_start(self, at: int) -> bool:
        """Return whether the sign at a place is the first one of a word."""
        return at == 0 or self.owners[at] != self.owners[at - 1]

    def text(self, start: int = 0, end: int | None = None) -> str:
        """Return the signs of a stretch as they are written, with spaces."""
        found: list[str] = []
        for at in range(start, len(self.characters) if end is None else end):
            is_new = bool(found) and self.is_word_start(at)
            found.append(f" {self.written[at]}" if is_new else self.written[at])
        return "".join(found)

    def part(self, start: int, end: int) -> tuple[Word, ...]:
        """Return the words that a stretch of signs touches."""
        return tuple(self.words[at] for at in dict.fromkeys(self.owners[start:end]))


Row = tuple[Cell, ...]


def rows_of(lines: Iterable[Line], aspect: float) -> list[Row]:
    """Return the rows from the top, each parted into cells at wide gaps.

    `aspect` is the page's width by its height: places are fractions of both.
    """
    lines = list(lines)
    typical = typical_height(lines)
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.box.middle, line.box.left)):
        if rows and all(
            _is_same_row(other, line) for other in rows[-1][-_MAX_COMPARED_LINES:]
        ):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [
        tuple(Cell.of(words, at) for words in _cells(row, aspect, typical))
        for at, row in enumerate(rows)
    ]


def _is_same_row(one: Line, other: Line) -> bool:
    here, there = one.box, other.box
    lower = min(here.height, there.height)
    is_apart = here.right <= there.left or there.right <= here.left
    return is_apart and abs(here.middle - there.middle) < _SAME_ROW * lower


def _cells(row: Sequence[Line], aspect: float, typical: float) -> Iterator[list[Word]]:
    """Yield the cells of a row; lines that were given apart are apart if a gap shows."""
    last: list[Word] = []
    for line in sorted(row, key=lambda line: line.box.left):
        first, *others = _split_at_gaps(line.words, aspect, typical)
        gap = (first[0].box.left - last[-1].box.right) * aspect if last else 0.0
        if last and gap > _LINE_GAP * max(typical, line.box.height):
            yield last
            last = []
        last = [*last, *first]
        for cell in others:
            yield last
            last = cell
    yield last


def typical_height(lines: Iterable[Line]) -> float:
    """Return how tall a line usually is: one of low letters is lower than its type."""
    return statistics.median([line.box.height for line in lines] or [0.0])


def _split_at_gaps(
    words: Sequence[Word], aspect: float, typical: float
) -> list[list[Word]]:
    parts = [[words[0]]]
    for left, right in itertools.pairwise(words):
        gap = (right.box.left - left.box.right) * aspect
        height = max(left.box.height, right.box.height, typical)
        is_spread = len(left.text) == 1 and len(right.text) == 1
        if gap > _CELL_GAP * height * (2 if is_spread else 1):
            parts.append([])
        parts[-1].append(right)
    return parts
