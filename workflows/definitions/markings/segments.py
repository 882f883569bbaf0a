"""Segments: parts of lines that belong together, with their boxes.

A line in the header may hold a marking, a title and a page number with wide gaps between
them, and a marking may span two or three lines. Segments split the former and join the
latter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from workflows.definitions.markings.grammar import (
    banner,
    may_contain_marking,
    normal,
    without_furniture,
)
from workflows.runtime.records import Box, Page, Word

_SEGMENT_GAP = 2.5  # times the letter height: a wider gap separates segments
_MAX_LINE_GAP = 1.6  # line heights; closer lines may form one marking
MAX_STACKED_LINES = 3  # lines


@dataclass(frozen=True, slots=True)
class Segment:
    """Adjacent words that belong together, on one or several lines."""

    words: tuple[Word, ...]  # normalized text

    @property
    def text(self) -> str:
        """Return the words separated by single spaces."""
        return _text(self.words)

    @property
    def box(self) -> Box:
        """Return the bounding box of all words."""
        return Box.around([word.box for word in self.words])

    def box_of(self, start: int, end: int) -> Box:
        """Return the bounding box of the words that overlap a range of `text`."""
        touched, at = [], 0
        for word in self.words:
            if at < end and at + len(word.text) > start:
                touched.append(word.box)
            at += len(word.text) + 1
        return Box.around(touched) if touched else self.box


def segments_of(page: Page) -> list[Segment]:
    """Return the page's lines, split at wide gaps, in reading order."""
    aspect = page.width / page.height if page.height else 1.0
    return [
        Segment(tuple(words))
        for line in page.lines
        for words in _pieces([_normalized(word) for word in line.words], aspect)
    ]


def stacks(segments: Sequence[Segment], start: int) -> list[Segment]:
    """Return a segment alone, with the next one and with the next two, longest last.

    Only segments closely below each other are joined.
    """
    found = [segments[start]]
    following = segments[start + 1 : start + MAX_STACKED_LINES]
    for above, below in itertools.pairwise([segments[start], *following]):
        if not _is_below(above.box, below.box):
            break
        found.append(Segment((*found[-1].words, *below.words)))
    return found


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def _normalized(word: Word) -> Word:
    return Word(normal(word.text), word.box)


def _pieces(words: list[Word], aspect: float) -> list[list[Word]]:
    """Split words at wide gaps, unless one marking spans a gap."""
    parts = _split_at_gaps(words, aspect)
    if len(parts) == 1 or not may_contain_marking(_text(words)):
        return parts
    if banner(without_furniture(_text(words))):
        return [words]
    joined = parts[:1]
    for part in parts[1:]:
        if banner(_text([*joined[-1], *part])):
            joined[-1] = [*joined[-1], *part]
        else:
            joined.append(part)
    return joined


def _split_at_gaps(words: list[Word], aspect: float) -> list[list[Word]]:
    parts = [words[:1]]
    for left, right in itertools.pairwise(words):
        gap = (right.box.left - left.box.right) * aspect
        height = max(left.box.height, right.box.height)
        is_spread = len(left.text) == 1 and len(right.text) == 1
        if gap > _SEGMENT_GAP * height * (2 if is_spread else 1):
            parts.append([])
        parts[-1].append(right)
    return [part for part in parts if part]


def _is_below(above: Box, below: Box) -> bool:
    height = max(above.height, below.height)
    overlaps = above.left < below.right and below.left < above.right
    return overlaps and 0 <= below.middle - above.middle <= (1 + _MAX_LINE_GAP) * height
