"""Small charts as plain shapes: a template turns them into SVG, on the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEIGHT = 100.0  # units; the drawing is stretched to its place
STEP, GAP = 10.0, 2.0  # units from bar to bar, and what is free of it
MIN_HEIGHT = 3.0  # units: one of many is still seen


@dataclass(frozen=True, slots=True)
class Bar:
    """What a bar stands for, in words, and its parts from below."""

    title: str
    parts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar as drawn; its place says which part."""

    place: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A bar as drawn."""

    title: str
    x: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """A row of bars."""

    width: float
    height: float
    bars: tuple[Drawn, ...]
    step: float = STEP

    @property
    def is_empty(self) -> bool:
        """Tell whether no bar has a height."""
        return not any(bar.pieces for bar in self.bars)

    @property
    def first(self) -> str:
        """Return what the first bar says."""
        return self.bars[0].title if self.bars else ""

    @property
    def last(self) -> str:
        """Return what the last bar says."""
        return self.bars[-1].title if self.bars else ""


def stacked(bars: Sequence[Bar], *, whole: float | None = None) -> Bars:
    """Return bars whose parts lie on each other; `whole` is a full bar, else the tallest."""
    full = whole or max((sum(bar.parts) for bar in bars), default=0) or 1
    drawn = tuple(
        Drawn(bar.title, place * STEP, tuple(_pieces(bar, place * STEP, full)))
        for place, bar in enumerate(bars)
    )
    return Bars(len(bars) * STEP, HEIGHT, drawn)


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
