"""Markings in labelled lines: fields of a form or a letterhead.

    CLASSIFICATION: SECRET          Classification    Caveats
    CAVEATS:        NOFORN          Top Secret        NOFORN, ORCON
    TERMS:          NONE

A value is on the line of its label, in the next cell or below. Adjacent lines form a
block, which marks its page as one banner would: with its highest level and all its
caveats. Unknown values, blanks after a label and contradictory labels become doubts for
the reviewer. Running text that merely contains the words of a label is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from workflows.definitions.markings.acceptance import accept_fields, blocks
from workflows.definitions.markings.banners import Layout, announced_weight
from workflows.definitions.markings.cells import rows_of, typical_height
from workflows.definitions.markings.fields import Field, Reader
from workflows.definitions.markings.finding import MAX_LINE_LENGTH, Finding, highest
from workflows.definitions.markings.labels import Firmness, may_hold_labels
from workflows.definitions.markings.levels import Level, in_order
from workflows.definitions.markings.text import join_list
from workflows.runtime.records import Box, Line, Page, Word

_MAX_WORDS, _MAX_LINES = 40, 20  # for text without positions
_SAME_POSITION = 0.6  # line heights between views of the same line
_MIN_CONFIDENCE = 0.8  # of words on a scan; below it, a value needs review


@dataclass(frozen=True, slots=True)
class Labelled:
    """Result of reading the labelled lines of a page."""

    fields: tuple[Field, ...] = ()
    findings: tuple[Finding, ...] = ()
    doubts: tuple[str, ...] = ()


def without_fields(lines: Iterable[Line], fields: Iterable[Field]) -> tuple[Line, ...]:
    """Return lines without the words of the given fields."""
    taken = {word.box for field in fields for word in field.parts}
    left = (
        replace(line, words=tuple(w for w in line.words if w.box not in taken))
        for line in lines
    )
    return tuple(line for line in left if line.words)


def read_labelled_lines(page: Page, layout: Layout | None) -> Labelled:
    """Return the labelled lines of a page; `layout` is the page's layout."""
    return judge_fields(page.number, fields_of(page), layout)


def read_labelled_text(text: str) -> Labelled:
    """Return the labelled lines of a text without positions."""
    height = 0.01  # any value that keeps the lines adjacent
    lines = [
        Line(
            tuple(
                Word(word, Box(0.1 + at / 100, top, 0.109 + at / 100, top + height))
                for at, word in enumerate(line.split()[:_MAX_WORDS])
            )
        )
        for top, line in _lines_with_tops(text, height)
    ]
    page = Page(1, 1.0, 1.0, tuple(lines))
    return read_labelled_lines(page, Layout(0.0, 1.0, height))


def _lines_with_tops(text: str, height: float) -> Iterator[tuple[float, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    return ((2 * height * at, line) for at, line in enumerate(lines[:_MAX_LINES]))


def fields_of(page: Page) -> tuple[Field, ...]:
    """Return the labels of markings on a page with their values, from the top."""
    if not page.is_picture and not may_hold_labels(page.text):
        return ()
    aspect = page.width / page.height if page.height else 1.0
    height = typical_height(page.lines)
    reader = Reader(rows_of(page.lines, aspect), height)
    found = blocks(reader.fields(), height)
    kept = [field for block in found for field in accept_fields(block)]
    taken = {word.box for field in kept for word in field.parts}
    strays = [f for block in blocks(kept, height) for f in reader.strays(block, taken)]
    return (*kept, *dict.fromkeys(strays))


def merge_views(views: Sequence[Sequence[Field]]) -> tuple[Field, ...]:
    """Merge the labelled lines of several views of one page.

    Where values differ, the union of them is kept and counts as not understood, so that a
    reviewer decides.
    """
    positions: list[list[Field]] = []
    for fields in views:
        free = list(positions)  # a view contains each position once
        for field in fields:
            position = next((p for p in free if _is_same_position(p[0], field)), None)
            if position is None:
                positions.append([field])
            else:
                position.append(field)
                free = [other for other in free if other is not position]
    return tuple(_merge_fields(position) for position in positions)


def _is_same_position(one: Field, other: Field) -> bool:
    here, there = one.box, other.box
    height = max(here.height, there.height)
    is_near = abs(here.middle - there.middle) <= _SAME_POSITION * height
    return is_near and here.left < there.right and there.left < here.right


def _merge_fields(position: Sequence[Field]) -> Field:
    """Return the field with the highest confidence that is understood and complete."""
    stating = [field for field in position if not field.value.is_blank] or list(
        position
    )
    understood = [field for field in stating if field.value.is_understood]
    best = max(understood or stating, key=lambda field: field.confidence)
    levels = [field.value.level for field in stating]
    level = highest(levels)
    caveats = in_order(c for field in stating for c in field.value.caveats)
    is_all = level is best.value.level and set(caveats) == set(best.value.caveats)
    if is_all and len({field.value.is_none for field in understood}) <= 1:
        return best
    more = replace(best.value, level=level, caveats=caveats, is_none=False)
    return replace(best, value=replace(more, is_understood=False))


def judge_fields(page: int, fields: Sequence[Field], layout: Layout | None) -> Labelled:
    """Return the findings and doubts of some fields, block by block."""
    if layout is None or not fields:
        return Labelled()
    findings: list[Finding] = []
    doubts: list[str] = []
    for block in blocks(fields, layout.height):
        findings += _findings(page, block, layout)
        doubts += _doubts(block)
    doubts += _contradictions(fields)
    return Labelled(tuple(fields), tuple(findings), tuple(dict.fromkeys(doubts)))


def _findings(page: int, block: Sequence[Field], layout: Layout) -> Iterator[Finding]:
    """Yield the findings of a block: its level with all caveats, or that there are none."""
    stating = [f for f in block if f.value.has_marking or f.value.unknown]
    level = highest(field.value.level for field in stating)
    caveats = in_order(
        c for field in stating for c in (*field.value.caveats, *field.value.unknown)
    )
    if level or caveats:
        yield _finding(page, stating, layout, level, caveats)
    none = [f for f in block if f.value.is_none and _is_of_caveats(f)]
    if none and not caveats:
        yield _finding(page, none, layout, None, ())


def _is_of_caveats(field: Field) -> bool:
    return field.label.subject == "caveats" and field.label.firmness >= Firmness.PLAIN


def _finding(
    page: int,
    fields: Sequence[Field],
    layout: Layout,
    level: Level | None,
    caveats: tuple[str, ...],
) -> Finding:
    box = Box.around([field.box for field in fields])
    kind = layout.position(box)
    text = "\n".join(f.value.text for f in fields if f.value.level is level)
    weight = announced_weight(kind, text)
    return Finding(
        page=page,
        kind=kind,
        text="; ".join(field.text for field in fields)[:MAX_LINE_LENGTH],
        level=level,
        caveats=caveats,
        weight=round(
            weight * sum(field.confidence for field in fields) / len(fields), 2
        ),
        box=box,
    )


# Doubts ------------------------------------------------------------------------------


def _doubts(block: Sequence[Field]) -> Iterator[str]:
    for field in block:
        yield from _doubt(field)
    levels = sorted(
        {f.value.level for f in block if f.value.level}, key=lambda v: v.rank
    )
    if len(levels) > 1:
        yield f"Adjacent labels give different levels: {join_list([str(v) for v in levels])}."


def _doubt(field: Field) -> Iterator[str]:
    """Yield at most one reason why a field needs review."""
    value, text = field.value, field.text[:MAX_LINE_LENGTH]
    if value.is_blank:
        yield f"The label “{text}” has no readable value."
    elif not value.is_understood:
        yield f"The value in “{text}” is not understood."
    elif value.is_none and field.label.subject != "caveats":
        yield f"“{text}” names a marking but gives no value."
    elif field.label.position in ("qualified", "inline"):
        yield f"“{text}” might not refer to the document."
    elif field.confidence < _MIN_CONFIDENCE:
        yield f"“{text}” is barely legible."


def _contradictions(fields: Sequence[Field]) -> Iterator[str]:
    """Yield labels of the same name where only one says NONE."""
    for field in fields:
        if field.value.is_none and any(
            other.label.name == field.label.name and not other.value.is_none
            for other in fields
        ):
            yield f"“{field.text[:MAX_LINE_LENGTH]}” contradicts another label of the same name."
