"""Rows and cells of a page, derived from the positions of its words.

A text layer may list a table by columns, and OCR returns one line per cell. Words at
the same height form a row; wide gaps separate cells.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from workflows.definitions.markings.grammar import normal
from workflows.runtime.records import Box, Line, Word

_CELL_GAP = 2.0  # times the letter height: a wider gap separates two cells
_LINE_GAP = 0.5  # likewise, between separate lines of the input
_MAX_COMPARED_LINES = 16  # compared when a further line joins a row
_SAME_ROW = (
    0.5  # of the smaller height: maximum distance of the vertical middles in a row
)


@dataclass(frozen=True, slots=True)
class Cell:
    """Words of one row without a wide gap between them, and their characters."""

    words: tuple[Word, ...]  # as on the page; never empty
    row: int  # from 0, from the top of the page
    characters: str  # in capitals, without spaces
    written: tuple[str, ...]  # the same characters as written
    owners: tuple[int, ...]  # index in `words` for each character

    @classmethod
    def of(cls, words: Sequence[Word], row: int) -> Cell:
        """Return the cell for some words of a row."""
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
        """Return the bounding box of all words."""
        return Box.around([word.box for word in self.words])

    def is_word_start(self, at: int) -> bool:
        """Whether a character is the first of its word."""
        return at == 0 or self.owners[at] != self.owners[at - 1]

    def text(self, start: int = 0, end: int | None = None) -> str:
        """Return the original text of a character range, with spaces."""
        found: list[str] = []
        for at in range(start, len(self.characters) if end is None else end):
            is_new = bool(found) and self.is_word_start(at)
            found.append(f" {self.written[at]}" if is_new else self.written[at])
        return "".join(found)

    def part(self, start: int, end: int) -> tuple[Word, ...]:
        """Return the words that overlap a character range."""
        return tuple(self.words[at] for at in dict.fromkeys(self.owners[start:end]))


Row = tuple[Cell, ...]


def rows_of(lines: Iterable[Line], aspect: float) -> list[Row]:
    """Return the rows from the top, each split into cells at wide gaps.

    `aspect` is the page's width divided by its height: positions are fractions of each.
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
    """Yield the cells of a row; separate lines stay separate if there is a gap."""
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
    """Return the median line height; a line of lower-case letters can be lower than its font."""
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
