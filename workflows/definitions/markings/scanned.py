"""Read the markings of a page from its image, in one or several variants.

The level is never lower than what any variant of the image shows, and text that cannot be
read becomes a doubt for the reviewer. Doubts are

- a possible marking with letters missing in every variant, or of which one variant shows
  more than another one reads in full, unless the page has the same marking in full at
  another position;
- a position where variants differ in more than missing letters;
- text in the header or footer that could not be read at all.
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
from workflows.definitions.markings.page_reading import PageReading, merged
from workflows.definitions.markings.portions import portions
from workflows.definitions.markings.segments import Segment, segments_of
from workflows.runtime.records import Box, Line, Page

MIN_CONFIDENCE = 0.6  # of a line; below it, the line counts as unread
_NEXT = 1.2  # line heights between words of one line
_CAPITALS = 0.6  # minimum share of capitals in a stamp
_MAX_WORDS = 8
_LETTERS = 3  # minimum number of letters in readable text
_EDGE = 0.14  # of the page: header and footer area
_STRAY = re.compile(r"\W*(?!TOP|UK|EU|US)[A-Z0-9]{1,3}\W*SECRET\b")
_BANNERS = ("header", "footer", "stamp")


def read_scan(variants: Sequence[Page]) -> PageReading:
    """Return the reading of a page image; the first variant is the plain one."""
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
        reasons=("read from its image", *reasons),
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
    """Whether header and footer agree clearly enough to skip further variants."""
    edges = [f for f in findings if f.kind in ("header", "footer")]
    kinds, labels = {f.kind for f in edges}, {f.label for f in edges}
    is_sure = all(one.confidence >= HIGH_CONFIDENCE for one in candidates)
    return not doubts and kinds == {"header", "footer"} and len(labels) == 1 and is_sure


def _mean_confidence(page: Page) -> float:
    words = [word.confidence for line in page.lines for word in line.words]
    return sum(words) / len(words) if words else 1.0


# One variant ----------------------------------------------------------------------------


def _segments(page: Page) -> list[Segment]:
    return segments_of(
        Page(page.number, page.width, page.height, tuple(_joined_lines(page.lines)))
    )


def _joined_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines from the top; lines side by side are joined."""
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
    """Whether a line belongs to a row; the box of a slanted line is taller than the line."""
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
    """Yield the markings and possible markings of a variant."""
    if layout is None:
        return
    segments = _segments(page)
    taken: list[Box] = []
    for finding in banners(page.number, segments, layout):
        if finding.kind not in _BANNERS:
            taken.append(finding.box)
            continue
        if not all(is_known(caveat) for caveat in finding.caveats):
            continue  # "NOFQRN": matched fuzzily below
        if _STRAY.match(finding.text.upper()):
            continue  # "P SECRET" may have been TOP SECRET: matched fuzzily below
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
    """Return the mean confidence of the words within a box."""
    words = [word for line in page.lines for word in line.words]
    here = [word.confidence for word in words if overlap(word.box, box)]
    return sum(here) / len(here) if here else 1.0


def _unread_ink_around(page: Page, box: Box) -> tuple[float, float]:
    """Return the unread ink before and after a box, in letters."""
    here = [line for line in page.lines if overlap(line.box, box)]
    if not here:
        return 0.0, 0.0
    first = min(here, key=lambda line: line.box.left)
    last = max(here, key=lambda line: line.box.right)
    return first.unread_before, last.unread_after


def _other_findings(plain: Page, layout: Layout | None) -> list[Finding]:
    """Return the other findings of the plain variant: portion marks, mentions, releases."""
    if layout is None:
        return []
    segments = _segments(plain)
    found = banners(plain.number, segments, layout)
    asides = [finding for finding in found if finding.kind not in _BANNERS]
    return [*asides, *portions(plain.number, segments)]


# Unreadable text ------------------------------------------------------


def _unread_doubts(variants: Sequence[Page], found: Sequence[Box]) -> Iterator[str]:
    """Yield a doubt for text in the header or footer that no variant could read."""
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
    for edge in ("header", "footer"):
        if any((box.middle < 1 / 2) == (edge == "header") for box in left):
            yield f"The {edge} contains text that could not be read."


def _unsure_label_doubts(page: Page, labels: Sequence[Box]) -> Iterator[str]:
    """Yield a doubt for a barely legible line among labelled ones."""
    height = typical_height(page.lines)
    for line in page.lines:
        middle, room = line.box.middle, MAX_BLOCK_GAP / 2 * height
        is_near = any(box.top - room <= middle <= box.bottom + room for box in labels)
        if is_near and _line_confidence(line) < HIGH_CONFIDENCE:
            yield f"“{line.text}”, near labels of markings, is barely legible."


def _line_confidence(line: Line) -> float:
    return sum(word.confidence for word in line.words) / len(line.words)
