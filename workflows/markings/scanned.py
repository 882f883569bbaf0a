"""What a page says of itself when it is read from its picture, in one look or several.

The rule: a marking is never taken for less than any look shows, and what no look makes
out is told as a doubt, for a person to settle. A doubt is

- a place that may hold a marking, of which letters are missing in every look, unless
  another place on the page says the same in full;
- a place where looks differ in what cannot be told by missing letters;
- writing at head or foot that could not be read at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from workflows.markings.banners import Layout, banners, weight_at
from workflows.markings.finding import Finding, Kind, label_of
from workflows.markings.legibility import legibility
from workflows.markings.likeness import Likeness, resembles
from workflows.markings.portions import portions
from workflows.markings.reading import PageReading, merged
from workflows.markings.scale import Level, in_order, is_known
from workflows.markings.segments import Segment, segments_of
from workflows.runtime.records import Box, Line, Page

SURE = 0.9  # of a line, from which it needs no second look
UNSURE = 0.6  # of a line, below which it counts as not read
_FAINT = 0.8  # what missing letters leave of a marking's weight, at best
_CLOSE = 0.06  # likenesses that lie closer together cannot be told apart
_NEXT = 1.2  # line heights between words of one line, at most
_BESIDE = 0.6  # line heights by which places of one marking may differ
_CAPITALS = 0.6  # of the letters of a stamp, at least
_MOST_WORDS = 8
_LETTERS = 3  # from here on, something was read
_EDGE = 0.14  # of the page, where markings stand
_INK = 0.5  # letters of ink beside a marking, from which there is more to read
_WORD = 1.0  # and from which there may be a word
_STRAY = re.compile(r"\W*(?!TOP|UK|EU|US)[A-Z0-9]{1,3}\W*SECRET\b")
_BANNERS = ("header", "footer", "stamp")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look shows at one place."""

    look: str
    kind: Kind
    text: str
    box: Box
    sure: float
    likeness: Likeness
    weight: float
    before: float = 0.0  # letters of ink beside it that were not read
    after: float = 0.0

    @property
    def is_crowded(self) -> bool:
        """Tell whether something stands beside it that was not read."""
        return self.before > _INK or self.after > _INK


def read_scan(looks: Sequence[Page]) -> PageReading:
    """Return what a page says of itself; the first look is the plain one."""
    plain = looks[0]
    layout = Layout.of([segment for look in looks for segment in _segments(look)])
    seen = [one for look in looks for one in _seen(look, layout)]
    findings, doubts = _resolved(_places(seen))
    doubts += list(_unread(looks, [finding.box for finding in findings]))
    others = _in_text(plain, layout)
    figure, reasons = legibility(plain)
    figure = round(figure * _sureness(plain), 2)
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
        again=len(looks) == 1 and not _is_settled(findings, doubts, seen),
    )


def _is_settled(
    findings: Sequence[Finding], doubts: Sequence[str], seen: Sequence[_Seen]
) -> bool:
    """Tell whether head and foot say the same, so clearly that one look is enough."""
    edges = [f for f in findings if f.kind in ("header", "footer")]
    kinds, labels = {f.kind for f in edges}, {f.label for f in edges}
    is_sure = all(one.sure >= SURE for one in seen)
    return not doubts and kinds == {"header", "footer"} and len(labels) == 1 and is_sure


def _sureness(page: Page) -> float:
    words = [word.sure for line in page.lines for word in line.words]
    return sum(words) / len(words) if words else 1.0


# One look ----------------------------------------------------------------------------


def _segments(page: Page) -> list[Segment]:
    return segments_of(
        Page(page.number, page.width, page.height, tuple(_lines(page.lines)))
    )


def _lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines from the top, with what stands beside each other in one of them."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.box.middle):
        row = next((row for row in rows if _is_beside(row, line)), None)
        if row is None:
            rows.append([line])
        else:
            row.append(line)
    for row in rows:
        parts = sorted(row, key=lambda line: line.box.left)
        yield Line(tuple(word for part in parts for word in part.words))


def _is_beside(row: Sequence[Line], line: Line) -> bool:
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


def _seen(page: Page, layout: Layout | None) -> Iterator[_Seen]:
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
        likeness = Likeness(finding.level, finding.caveats, 1.0, is_clear=True)
        yield _Seen(
            page.look,
            finding.kind,
            finding.text,
            finding.box,
            _sure_at(page, finding.box),
            likeness,
            finding.weight,
            *_beside(page, finding.box),
        )
    for segment in segments:
        if not any(_overlap(segment.box, box) for box in taken):
            yield from _may_be(page, segment, layout)


def _may_be(page: Page, segment: Segment, layout: Layout) -> Iterator[_Seen]:
    kind = layout.place(segment.box)
    if not _looks_like_a_stamp(segment.text):
        return
    if kind == "stamp" and not layout.is_prominent(segment.box):
        return
    text, box, sure = segment.text, segment.box, _sure_at(page, segment.box)
    for likeness in resembles(text):
        weight = weight_at(kind) * likeness.score
        beside = _beside(page, box)
        yield _Seen(page.look, kind, text, box, sure, likeness, weight, *beside)


def _looks_like_a_stamp(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    capitals = sum(sign.isupper() for sign in letters)
    return (
        len(letters) >= _LETTERS
        and capitals >= _CAPITALS * len(letters)
        and len(text.split()) <= _MOST_WORDS
    )


def _sure_at(page: Page, box: Box) -> float:
    """Return how surely the words at a place were read."""
    words = [word for line in page.lines for word in line.words]
    here = [word.sure for word in words if _overlap(word.box, box)]
    return sum(here) / len(here) if here else 1.0


def _beside(page: Page, box: Box) -> tuple[float, float]:
    """Return how much unread ink stands before and after a place, in letters."""
    here = [line for line in page.lines if _overlap(line.box, box)]
    if not here:
        return 0.0, 0.0
    first = min(here, key=lambda line: line.box.left)
    last = max(here, key=lambda line: line.box.right)
    return first.before, last.after


def _in_text(plain: Page, layout: Layout | None) -> list[Finding]:
    """Return what the plain look shows besides: portion marks, mentions, releases."""
    if layout is None:
        return []
    segments = _segments(plain)
    found = banners(plain.number, segments, layout)
    asides = [finding for finding in found if finding.kind not in _BANNERS]
    return [*asides, *portions(plain.number, segments)]


# All looks ---------------------------------------------------------------------------


def _places(seen: Iterable[_Seen]) -> list[list[_Seen]]:
    """Return what all looks show, place by place."""
    places: list[list[_Seen]] = []
    for one in seen:
        place = next(
            (p for p in places if any(_overlap(o.box, one.box) for o in p)), None
        )
        if place is None:
            places.append([one])
        else:
            place.append(one)
    return places


def _overlap(one: Box, other: Box) -> bool:
    height = max(one.height, other.height)
    beside = one.left < other.right and other.left < one.right
    return beside and abs(one.middle - other.middle) <= _BESIDE * height


def _resolved(places: Sequence[list[_Seen]]) -> tuple[list[Finding], list[str]]:
    findings, doubts, faint = [], [], []
    for place in places:
        exact = [one for one in place if one.likeness.is_exact]
        if exact:
            finding, doubt = _agreed(exact)
            findings.append(finding)
            findings += _worn_off(place, finding)
            doubt = doubt or _crowd(place, finding)
        else:
            finding, doubt = _likeliest(place)
            faint.append((finding, doubt))
            continue
        doubts += [doubt] if doubt else []
    for finding, doubt in faint:
        findings.append(finding)
        if not _is_borne_out(finding, [f for f in findings if not f.is_faint]):
            doubts.append(doubt)
    return findings, doubts


def _crowd(place: Sequence[_Seen], finding: Finding) -> str:
    """Return the doubt about ink beside a marking, unless some look could read it."""
    crowded = next((one for one in place if one.is_crowded), None)
    if crowded is None or _says_more(finding, crowded):
        return ""
    return f"{_where(crowded)}, something beside “{finding.text}” could not be read."


def _says_more(finding: Finding, one: _Seen) -> bool:
    rank = finding.level.rank if finding.level else -1
    return rank > _rank(one) or set(finding.caveats) > set(one.likeness.caveats)


def _worn_off(place: Sequence[_Seen], finding: Finding) -> list[Finding]:
    """Return what a marking may be with a word before it that wore off: TOP SECRET."""
    before = max(one.before for one in place)
    if finding.level is not Level.SECRET or before < _WORD:
        return []
    higher = {"level": Level.TOP_SECRET, "is_faint": True}
    return [
        finding.model_copy(update={**higher, "weight": _FAINT * finding.weight / 2})
    ]


def _is_borne_out(faint: Finding, clear: Sequence[Finding]) -> bool:
    """Tell whether a clear marking of the page says the same, and no less."""
    return any(
        one.level is faint.level and set(one.caveats) >= set(faint.caveats)
        for one in clear
    )


def _agreed(exact: Sequence[_Seen]) -> tuple[Finding, str]:
    """Return what looks agree on; where they differ, the higher, with a doubt."""
    best = max(exact, key=lambda one: (_rank(one), one.sure * one.weight))
    same = [one for one in exact if one.likeness.level is best.likeness.level]
    caveats = in_order(c for one in same for c in one.likeness.caveats)
    longest = max(same, key=lambda one: (len(one.likeness.caveats), one.sure))
    doubt = ""
    if set(longest.likeness.caveats) != set(caveats) or (
        len(same) < len(exact) and best.sure < SURE
    ):
        said = sorted({f"“{one.text}”" for one in exact})
        doubt = f"{_where(best)}, {' and '.join(said)} were read at one place."
    weight = best.weight * max(one.sure for one in same)
    finding = _finding(longest, weight, level=best, caveats=caveats, faint=False)
    return finding, doubt


def _rank(one: _Seen) -> int:
    return one.likeness.level.rank if one.likeness.level else -1


def _likeliest(place: Sequence[_Seen]) -> tuple[Finding, str]:
    """Return what a place with missing letters is taken for, and the doubt about it."""
    best = max(place, key=lambda one: (one.likeness.score * one.sure, _rank(one)))
    most: dict[str, float] = {}  # of each look, the score of what it resembles best
    for one in place:
        most[one.look] = max(most.get(one.look, 0.0), one.likeness.score)
    close = [one for one in place if one.likeness.score >= most[one.look] - _CLOSE]
    highest = max(close, key=lambda one: (_rank(one), one.likeness.score))
    caveats = in_order(c for one in close for c in one.likeness.caveats)
    weight = _FAINT * best.weight * best.sure
    finding = _finding(best, weight, level=highest, caveats=caveats, faint=True)
    label = label_of(finding.level, finding.caveats)
    return (
        finding,
        f"{_where(best)}, “{best.text}” may be {label}: letters are missing.",
    )


def _finding(
    one: _Seen, weight: float, *, level: _Seen, caveats: tuple[str, ...], faint: bool
) -> Finding:
    return Finding(
        page=1,  # `read_scan` knows which
        kind=one.kind,
        text=one.text,
        level=level.likeness.level,
        caveats=caveats,
        weight=round(weight, 2),
        box=one.box,
        is_faint=faint,
    )


def _where(one: _Seen) -> str:
    return {"header": "At the head", "footer": "At the foot"}.get(
        one.kind, "On the page"
    )


def _unread(looks: Sequence[Page], found: Sequence[Box]) -> Iterator[str]:
    """Yield a doubt for writing at head or foot that no look could read."""
    read = [
        line.box
        for look in looks
        for line in look.lines
        if _sure(line) >= UNSURE and sum(s.isalnum() for s in line.text) >= _LETTERS
    ]
    places = [*looks[0].unread]
    places += [
        line.box
        for line in looks[0].lines
        if _sure(line) < UNSURE and not _EDGE < line.box.middle < 1 - _EDGE
    ]
    left = [
        box
        for box in places
        if not any(_overlap(box, other) for other in (*read, *found))
    ]
    for edge in ("head", "foot"):
        if any((box.middle < 1 / 2) == (edge == "head") for box in left):
            yield f"There is writing at the {edge} that could not be read."


def _sure(line: Line) -> float:
    return sum(word.sure for word in line.words) / len(line.words)
