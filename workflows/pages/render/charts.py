"""Small bar charts as shapes that a template renders as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEIGHT = 100.0  # units; the SVG is stretched to its element
STEP, GAP = 10.0, 2.0  # units from bar to bar, and between bars
MIN_HEIGHT = 3.0  # units, so that a small part is visible


@dataclass(frozen=True, slots=True)
class Bar:
    """The title of a bar and its parts, from bottom to top."""

    title: str
    parts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """The rectangle of a part of a bar; `place` is the index of the part."""

    place: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class BarShape:
    """The rectangles of a bar."""

    title: str
    x: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """A row of bars."""

    width: float
    height: float
    bars: tuple[BarShape, ...]
    step: float = STEP

    @property
    def is_empty(self) -> bool:
        """Return whether all bars are 0."""
        return not any(bar.pieces for bar in self.bars)

    @property
    def first(self) -> str:
        """Return the title of the first bar."""
        return self.bars[0].title if self.bars else ""

    @property
    def last(self) -> str:
        """Return the title of the last bar."""
        return self.bars[-1].title if self.bars else ""


def stacked(bars: Sequence[Bar], *, whole: float | None = None) -> Bars:
    """Stack the parts of each bar; `whole` is the full height, by default the tallest."""
    full = whole or max((sum(bar.parts) for bar in bars), default=0) or 1
    shapes = tuple(
        BarShape(bar.title, place * STEP, tuple(_pieces(bar, place * STEP, full)))
        for place, bar in enumerate(bars)
    )
    return Bars(len(bars) * STEP, HEIGHT, shapes)


def _pieces(bar: Bar, x: float, full: float) -> list[Piece]:
    pieces, top = [], HEIGHT
    for place, part in enumerate(bar.parts):
        if not part:
            continue
        height = max(part / full * HEIGHT, MIN_HEIGHT)
        top = max(top - height, 0.0)
        piece = Piece(place, x + GAP / 2, round(top, 2), STEP - GAP, round(height, 2))
        pieces.append(piece)
    return pieces
