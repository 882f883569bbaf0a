"""Labels and their values on a page, in any layout.

A value is on the line of its label, in the next cell or below, and may continue on
further lines. Results may still be running text: see `acceptance`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from workflows.definitions.markings.cells import Cell, Row
from workflows.definitions.markings.labels import (
    Firmness,
    Label,
    Separator,
    correct_spelling,
    labels_in,
)
from workflows.definitions.markings.values import OTHER_FIELDS, Value, value_of
from workflows.runtime.records import Box, Word

MAX_BLOCK_GAP = 4.0  # line heights between labels of one block
_MAX_BELOW_DISTANCE = (
    4.0  # line heights between the middles of a label and a value below it
)
_MAX_LINE_DISTANCE = 2.6  # line heights between lines of a value
_ALIGNED = 0.012  # of the page width: tolerance of left-aligned lines of one value
_MAX_CORRECTED_CELL = 24  # words of a cell; longer cells are running text
_OPEN = re.compile(r"(?:[,;/&]|\bTO|\bAND)\s*$", re.IGNORECASE)  # the value continues
_UNKNOWN_LABEL = re.compile(r"[A-Z][^:=]{1,30}[:=]+(?=.)")
_HEADING = re.compile(
    rf"(?:{OTHER_FIELDS}|memo(?:randum)?|report|note|letter|summary|minutes|agenda|telegram"
    r"|purpose|introduction|background|contents|distribution|references|annex|appendix)\W*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Field:
    """A label and its value."""

    label: Label
    value: Value
    parts: tuple[Word, ...]  # of the label, then of the value
    text: str  # as written
    is_apart: bool = False  # the value is in another cell, to the right or below

    @property
    def box(self) -> Box:
        """Return the bounding box of label and value."""
        return Box.around([word.box for word in self.parts])

    @property
    def confidence(self) -> float:
        """Return the mean OCR confidence of the words, 0..1."""
        return sum(word.confidence for word in self.parts) / len(self.parts)

    @property
    def separator(self) -> Separator:
        """Return the separator of label and value; a cell border counts as a weak one."""
        weak = Separator.WEAK if self.is_apart else Separator.NONE
        return max(self.label.separator, weak)


@dataclass(frozen=True, slots=True)
class _Span:
    """A part of a cell that may be a value."""

    cell: Cell
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.cell.text(self.start, self.end)

    @property
    def is_whole(self) -> bool:
        return self.end == len(self.cell.characters)

    @property
    def tokens(self) -> tuple[Word, ...]:
        return self.cell.part(self.start, self.end)

    @property
    def box(self) -> Box:
        return Box.around([word.box for word in self.tokens])


class Reader:
    """Finds the values of labels on a page."""

    def __init__(self, rows: Sequence[Row], height: float) -> None:
        self._height = height  # typical line height
        self._rows = [tuple(_correct_word(cell) for cell in row) for row in rows]
        self._labels = [[labels_in(cell) for cell in row] for row in self._rows]

    def fields(self) -> Iterator[Field]:
        """Yield every label with its value, from the top."""
        for at, row in enumerate(self._rows):
            for across, cell in enumerate(row):
                for label, after in _with_next(self._labels[at][across]):
                    end = after.start if after else len(cell.characters)
                    yield self._field(label, _Span(cell, label.value, end), across)

    def strays(self, block: Sequence[Field], used: Collection[Box]) -> Iterator[Field]:
        """Yield caveats near a block that are not among its values.

        They are separate or follow an unknown label.
        """
        known = {c for field in block for c in field.value.caveats}
        box = Box.around([field.box for field in block])
        room = MAX_BLOCK_GAP * self._height
        for cell in (cell for row in self._rows for cell in row):
            is_near = box.top - room <= cell.box.middle <= box.bottom + room
            if not is_near or any(word.box in used for word in cell.words):
                continue
            field = _stray_field(cell)
            if field is not None and not set(field.value.caveats) <= known:
                yield field

    def _field(self, label: Label, same: _Span, across: int) -> Field:
        cell = same.cell
        named = cell.part(label.start, label.value)
        if any(sign.isalnum() for sign in cell.characters[same.start : same.end]):
            lines = [same, *self._continuation(same, named)]
            return self._make_field(label, cell, named, lines)
        options = [
            self._make_field(label, cell, named, lines)
            for lines in self._other_positions(label, cell, across)
        ]
        blank = self._make_field(label, cell, named, [])
        return max([blank, *options], key=_value_rank)

    def _other_positions(
        self, label: Label, cell: Cell, across: int
    ) -> Iterator[list[_Span]]:
        """Yield the other possible positions of a value: the next cell, or below."""
        row = self._rows[cell.row]
        if across + 1 < len(row) and self._may_be_value(cell.row, across + 1):
            right = _whole(row[across + 1])
            more = [_whole(one) for one in self._unlabelled(cell.row, across + 2)]
            kept = [one for one in more if _extends_value(one, label)]
            named = cell.part(label.start, label.value)
            yield [right, *kept, *self._continuation(right, named)]
        box = Box.around([w.box for w in cell.part(label.start, label.value)])
        below = self._below(cell.row, box, _MAX_BELOW_DISTANCE)
        if below is not None:
            yield [below, *self._continuation(below, below.tokens)]

    def _may_be_value(self, at: int, across: int) -> bool:
        """Whether a cell is neither a label nor a column heading."""
        cell = self._rows[at][across]
        return not self._labels[at][across] and not _HEADING.fullmatch(cell.text())

    def _unlabelled(self, at: int, across: int) -> Iterator[Cell]:
        for cell, labels in zip(
            self._rows[at][across:], self._labels[at][across:], strict=True
        ):
            if labels:
                return
            yield cell

    def _below(self, at: int, box: Box, limit: float) -> _Span | None:
        """Return the cell closely below a box unless it is a label."""
        for number in range(at + 1, len(self._rows)):
            for cell, named in zip(
                self._rows[number], self._labels[number], strict=True
            ):
                other = cell.box
                height = max(self._height, min(box.height, other.height))
                if other.middle - box.middle > limit * height:
                    return None
                if other.left < box.right and box.left < other.right:
                    is_other = bool(named) or ":" in cell.characters[:-1]
                    return None if is_other else _whole(cell)
        return None

    def _continuation(self, first: _Span, named: Sequence[Word]) -> Iterator[_Span]:
        """Yield the aligned lines in capitals below that continue a value."""
        left = Box.around([word.box for word in named]).left
        is_indented = first.box.left - left > _ALIGNED
        last = first
        while not value_of(last.text, "caveats").is_none:
            below = self._below(last.cell.row, last.box, _MAX_LINE_DISTANCE)
            if below is None or abs(below.box.left - first.box.left) > _ALIGNED:
                return
            if is_indented and below.cell is not self._rows[below.cell.row][0]:
                return  # value of another label
            if not _continues(last.text, below.text, is_indented=is_indented):
                return
            yield below
            last = below

    def _make_field(
        self,
        label: Label,
        cell: Cell,
        named: tuple[Word, ...],
        lines: Sequence[_Span],
    ) -> Field:
        value = _value(label, [line.text for line in lines])
        if lines and lines[-1].is_whole and _OPEN.search(value.text):
            value = replace(value, is_understood=False)  # the rest is missing
        words = dict.fromkeys([*named, *(w for line in lines for w in line.tokens)])
        text = f"{cell.text(label.start, label.value)} {value.text}".strip()
        is_apart = bool(lines) and lines[0].cell is not cell
        return Field(label, value, tuple(words), text, is_apart)


def _stray_field(cell: Cell) -> Field | None:
    """Return a cell that consists of caveats, or a marking after an unknown label."""
    found = _UNKNOWN_LABEL.match(cell.characters)
    start = found.end() if found else 0
    value = value_of(cell.text(start), "caveats")
    if not value.is_understood or not value.caveats or not value.is_capital:
        return None
    if found is None and value.level is not None:
        return None  # a banner
    label = Label(
        found[0] if found else "",
        "caveats",
        Firmness.LOOSE,
        "qualified",
        Separator.STRONG,
        0,
        start,
        start,
    )
    return Field(label, value, cell.words, cell.text())


def _value_rank(field: Field) -> tuple[bool, bool, bool, bool]:
    """Return the sort key that prefers the most plausible value."""
    value = field.value
    is_capital = value.is_brief and value.text.isupper()
    is_value = not value.is_blank and not value.is_prose
    is_line = value.is_blank and bool(value.text)  # "____"
    return value.is_understood, value.has_marking or is_capital, is_value, is_line


def _correct_word(cell: Cell) -> Cell:
    return correct_spelling(cell) if len(cell.words) <= _MAX_CORRECTED_CELL else cell


def _with_next(labels: Sequence[Label]) -> Iterator[tuple[Label, Label | None]]:
    return zip(labels, [*labels[1:], None], strict=False)


def _whole(cell: Cell) -> _Span:
    return _Span(cell, 0, len(cell.characters))


def _extends_value(stretch: _Span, label: Label) -> bool:
    """Whether a further cell extends a value: a caveat or a codeword."""
    value = value_of(stretch.text, label.subject)
    is_code = label.subject != "level" and bool(value.unknown)
    return is_code or (value.is_understood and not value.is_none)


def _continues(above: str, below: str, *, is_indented: bool) -> bool:
    value = value_of(below, "caveats")
    if not below.isupper() or value.is_none or value.is_blank:
        return bool(_OPEN.search(above)) and not value.is_blank
    if value.is_understood:
        return True
    is_code = len(below.split()) == 1 and not _HEADING.fullmatch(below)
    return is_indented or is_code or bool(_OPEN.search(above))


def _value(label: Label, lines: Sequence[str]) -> Value:
    """Return the value of some lines; each line may be a separate caveat."""
    if not lines:
        return Value("", is_blank=True)
    whole = value_of(_join_lines(lines), label.subject)
    spaced = value_of(" ".join(lines), label.subject)  # "LIMITED", "DISTRIBUTION"
    is_release = any("REL" in line.upper() for line in lines)
    return whole if whole.is_understood or is_release else spaced


def _join_lines(lines: Sequence[str]) -> str:
    """Join lines into a list; a line continues an open entry or starts another one."""
    text = lines[0]
    for line in lines[1:]:
        text = f"{text} {line}" if _OPEN.search(text) else f"{text}/{line}"
    return text
