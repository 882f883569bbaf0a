"""What all looks at one place of a page say together: a marking, or a doubt about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workflows.markings.finding import Finding, Kind, label_of
from workflows.markings.likeness import Likeness
from workflows.markings.scale import Level, in_order
from workflows.runtime.records import Box

SURE = 0.9  # of a line, from which it needs no second look
_FAINT = 0.8  # what missing letters leave of a marking's weight, at best
_CLOSE = 0.06  # likenesses that lie closer together cannot be told apart
_BESIDE = 0.6  # line heights by which places of one marking may differ
_INK = 0.5  # letters of ink beside a marking, from which there is more to read
_WORD = 1.0  # and from which there may be a word


@dataclass(frozen=True, slots=True)
class Seen:
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


def places(seen: Iterable[Seen]) -> list[list[Seen]]:
    """Return what all looks show, place by place."""
    found: list[list[Seen]] = []
    for one in seen:
        place = next(
            (p for p in found if any(overlap(o.box, one.box) for o in p)), None
        )
        if place is None:
            found.append([one])
        else:
            place.append(one)
    return found


def overlap(one: Box, other: Box) -> bool:
    """Tell whether two boxes are of one marking: side by side, about as high up."""
    height = max(one.height, other.height)
    beside = one.left < other.right and other.left < one.right
    return beside and abs(one.middle - other.middle) <= _BESIDE * height


def resolved(places: Sequence[list[Seen]]) -> tuple[list[Finding], list[str]]:
    """Return the markings that all places show, and the doubts about them."""
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


def _crowd(place: Sequence[Seen], finding: Finding) -> str:
    """Return the doubt about ink beside a marking, unless some look could read it."""
    crowded = next((one for one in place if one.is_crowded), None)
    if crowded is None or _says_more(finding, crowded):
        return ""
    return f"{_where(crowded)}, something beside “{finding.text}” could not be read."


def _says_more(finding: Finding, one: Seen) -> bool:
    rank = finding.level.rank if finding.level else -1
    return rank > _rank(one) or set(finding.caveats) > set(one.likeness.caveats)


def _worn_off(place: Sequence[Seen], finding: Finding) -> list[Finding]:
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


def _agreed(exact: Sequence[Seen]) -> tuple[Finding, str]:
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


def _rank(one: Seen) -> int:
    return one.likeness.level.rank if one.likeness.level else -1


def _likeliest(place: Sequence[Seen]) -> tuple[Finding, str]:
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
    one: Seen, weight: float, *, level: Seen, caveats: tuple[str, ...], faint: bool
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


def _where(one: Seen) -> str:
    return {"header": "At the head", "footer": "At the foot"}.get(
        one.kind, "On the page"
    )
