"""What a page says of itself when it is read from its picture, in one look or several.

The rule: a marking is never taken for less than any look reads, and what no look makes
out is told as a doubt, for a person to settle. A doubt is

- a place that may hold a marking, of which letters are missing in every look, or where
  one look shows more than another one reads in full; unless another place on the page
  says the same in full;
- a place where looks differ in what cannot be told by missing letters;
- writing at head or foot that could not be read at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from workflows.definitions.markings.banners import Layout, banners, weight_at
from workflows.definitions.markings.cells import typical_height
from workflows.definitions.markings.consensus import (
    HIGH_CONFIDENCE,
    Candidate,
    group_by_position,
    overlap,
    resolve,
)
from workflows.definitions.markings.fields import MAX_BLOCK_GAP
from workflows.definitions.markings.finding import Finding
from workflows.definitions.markings.fuzzy_match import FuzzyMatch, fuzzy_matches
from workflows.definitions.markings.labelled_lines import (
    fields_of,
    judge_fields,
    merge_views,
    without_fields,
)
from workflows.definitions.markings.legibility import legibility
from workflows.definitions.markings.levels import is_known
from workflows.definitions.markings.portions import portions
from workflows.definitions.markings.reading import PageReading, merged
from workflows.definitions.markings.segments import Segment, segments_of
from workflows.runtime.records import Box, Line, Page

MIN_CONFIDENCE = 0.6  # of a line, below which it counts as not read
_NEXT = 1.2  # line heights between words of one line, at most
_CAPITALS = 0.6  # of the letters of a stamp, at least
_MAX_WORDS = 8
_LETTERS = 3  # from here on, something was read
_EDGE = 0.14  # of the page, where markings stand
_STRAY = re.compile(r"\W*(?!TOP|UK|EU|US)[A-Z0-9]{1,3}\W*SECRET\b")
_BANNERS = ("header", "footer", "stamp")


def read_scan(variants: Sequence[Page]) -> PageReading:
    """Return what a page says of itself; the first look is the plain one."""
    plain = variants[0]
    layout = Layout.of(
        [segment for variant in variants for segment in _segments(variant)]
    )
    shown = [fields_of(variant) for variant in variants]
    fields = judge_fields(plain.number, merge_views(shown), layout)
    rests = [
        replace(variant, lines=without_fields(variant.lines, of_look))
        for variant, of_look in zip(variants, shown, strict=True)
    ]
    candidates = [one for variant in rests for one in _candidates(variant, layout)]
    findings, doubts = resolve(group_by_position(candidates))
    findings += fields.findings
    doubts += fields.doubts
    doubts += list(
        _unsure_label_doubts(rests[0], [field.box for field in fields.fields])
    )
    doubts += list(_unread_doubts(variants, [finding.box for finding in findings]))
    others = _other_findings(rests[0], layout)
    figure, reasons = legibility(plain)
    figure = round(figure * _mean_confidence(plain), 2)
    found = [
        finding.model_copy(
            update={"page": plain.number, "box": plain.shown(finding.box)}
        )
        for finding in (*findings, *others)
    ]
    return PageReading(
        page=plain.number,
        legibility=figure if plain.lines or plain.is_blank else 0.0,
        reasons=("it was read from its picture", *reasons),
        findings=merged(found),
        doubts=tuple(doubts),
        is_blank=plain.is_blank,
        is_scan=True,
        turned=plain.turned,
        is_unclear=len(variants) == 1 and not _is_settled(findings, doubts, candidates),
    )


def _is_settled(
    findings: Sequence[Finding], doubts: Sequence[str], candidates: Sequence[Candidate]
) -> bool:
    """Tell whether head and foot say the same, so clearly that one look is enough."""
    edges = [f for f in findings if f.kind in ("header", "footer")]
    kinds, labels = {f.kind for f in edges}, {f.label for f in edges}
    is_sure = all(one.confidence >= HIGH_CONFIDENCE for one in candidates)
    return not doubts and kinds == {"header", "footer"} and len(labels) == 1 and is_sure


def _mean_confidence(page: Page) -> float:
    words = [word.confidence for line in page.lines for word in line.words]
    return sum(words) / len(words) if words else 1.0


# One look ----------------------------------------------------------------------------


def _segments(page: Page) -> list[Segment]:
    return segments_of(
        Page(page.number, page.width, page.height, tuple(_joined_lines(page.lines)))
    )


def _joined_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines from the top, with what stands beside each other in one of them."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.box.middle):
        row = next((row for row in rows if _is_same_row(row, line)), None)
        if row is None:
            rows.append([line])
        else:
            row.append(line)
    for row in rows:
        parts = sorted(row, key=lambda line: line.box.left)
        yield Line(tuple(word for part in parts for word in part.words))


def _is_same_row(row: Sequence[Line], line: Line) -> bool:
    """Tell whether a line goes on a row; one that is slanted looks taller than it is."""
    box = line.box
    for other in (part.box for part in row):
        height = min(box.height, other.height)
        gap = max(box.left - other.right, other.left - box.right)
        if (
            abs(other.middle - box.middle) < height / 2
            and -height < gap < _NEXT * height
        ):
            return True
    return False


def _candidates(page: Page, layout: Layout | None) -> Iterator[Candidate]:
    """Yield every place of a look that is, or may be, a marking of the page."""
    if layout is None:
        return
    segments = _segments(page)
    taken: list[Box] = []
    for finding in banners(page.number, segments, layout):
        if finding.kind not in _BANNERS:
            taken.append(finding.box)
            continue
        if not all(is_known(caveat) for caveat in finding.caveats):
            continue  # "NOFQRN": what it resembles is asked below
        if _STRAY.match(finding.text.upper()):
            continue  # "P SECRET" may have been TOP SECRET: likewise
        taken.append(finding.box)
        match = FuzzyMatch(finding.level, finding.caveats, 1.0, is_clear=True)
        yield Candidate(
            page.variant,
            finding.kind,
            finding.text,
            finding.box,
            _confidence_at(page, finding.box),
            match,
            finding.weight,
            *_unread_ink_around(page, finding.box),
        )
    for segment in segments:
        if not any(overlap(segment.box, box) for box in taken):
            yield from _possible_markings(page, segment, layout)


def _possible_markings(
    page: Page, segment: Segment, layout: Layout
) -> Iterator[Candidate]:
    kind = layout.position(segment.box)
    if not _may_be_stamp(segment.text):
        return
    if kind == "stamp" and not layout.is_prominent(segment.box):
        return
    text, box, confidence = segment.text, segment.box, _confidence_at(page, segment.box)
    for match in fuzzy_matches(text):
        weight = weight_at(kind) * match.score
        margins = _unread_ink_around(page, box)
        yield Candidate(
            page.variant, kind, text, box, confidence, match, weight, *margins
        )


def _may_be_stamp(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    capitals = sum(sign.isupper() for sign in letters)
    return (
        len(letters) >= _LETTERS
        and capitals >= _CAPITALS * len(letters)
        and len(text.split()) <= _MAX_WORDS
    )


def _confidence_at(page: Page, box: Box) -> float:
    """Return how surely the words at a place were read."""
    words = [word for line in page.lines for word in line.words]
    here = [word.confidence for word in words if overlap(word.box, box)]
    return sum(here) / len(here) if here else 1.0


def _unread_ink_around(page: Page, box: Box) -> tuple[float, float]:
    """Return how much unread ink stands before and after a place, in letters."""
    here = [line for line in page.lines if overlap(line.box, box)]
    if not here:
        return 0.0, 0.0
    first = min(here, key=lambda line: line.box.left)
    last = max(here, key=lambda line: line.box.right)
    return first.unread_before, last.unread_after


def _other_findings(plain: Page, layout: Layout | None) -> list[Finding]:
    """Return what the plain look shows besides: portion marks, mentions, releases."""
    if layout is None:
        return []
    segments = _segments(plain)
    found = banners(plain.number, segments, layout)
    asides = [finding for finding in found if finding.kind not in _BANNERS]
    return [*asides, *portions(plain.number, segments)]


# Writing that nobody could read ------------------------------------------------------


def _unread_doubts(variants: Sequence[Page], found: Sequence[Box]) -> Iterator[str]:
    """Yield a doubt for writing at head or foot that no look could read."""
    read = [
        line.box
        for variant in variants
        for line in variant.lines
        if _line_confidence(line) >= MIN_CONFIDENCE
        and sum(s.isalnum() for s in line.text) >= _LETTERS
    ]
    left = [*variants[0].unread]
    left += [
        line.box
        for line in variants[0].lines
        if _line_confidence(line) < MIN_CONFIDENCE
        and not _EDGE < line.box.middle < 1 - _EDGE
    ]
    left = [
        box for box in left if not any(overlap(box, other) for other in (*read, *found))
    ]
    for edge in ("head", "foot"):
        if any((box.middle < 1 / 2) == (edge == "head") for box in left):
            yield f"There is writing at the {edge} that could not be read."


def _unsure_label_doubts(page: Page, labels: Sequence[Box]) -> Iterator[str]:
    """Yield a doubt for a line among labelled ones that may be one of them, misread."""
    height = typical_height(page.lines)
    for line in page.lines:
        middle, room = line.box.middle, MAX_BLOCK_GAP / 2 * height
        is_near = any(box.top - room <= middle <= box.bottom + room for box in labels)
        if is_near and _line_confidence(line) < HIGH_CONFIDENCE:
            yield f"Near labels of markings, “{line.text}” could hardly be read."


def _line_confidence(line: Line) -> float:
    return sum(word.confidence for word in line.words) / len(line.words)
