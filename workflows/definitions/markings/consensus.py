"""Combine the image variants of a page, position by position, into findings and doubts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workflows.definitions.markings.finding import Finding, Kind, highest
from workflows.definitions.markings.fuzzy_match import FuzzyMatch
from workflows.definitions.markings.levels import Level, in_order, rank_of
from workflows.runtime.records import Box

HIGH_CONFIDENCE = 0.9  # of a line; above it, no second reading is needed
_FAINT_FACTOR = (
    0.8  # maximum share of its weight that a marking with missing letters keeps
)
_INDISTINGUISHABLE = 0.06  # matches with a smaller score difference are equivalent
_OUTVOTE_RATIO = 2.0  # required vote ratio in favour of another word
_SAME_PLACE_OVERLAP = 0.6  # line heights; larger offsets are different markings
_MIN_UNREAD_INK = 0.5  # letters of ink next to a marking that mean unread text
_MIN_WORD_INK = 1.0  # letters of ink that may be a whole word


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible marking in one image variant."""

    variant: str
    kind: Kind
    text: str
    box: Box
    confidence: float
    match: FuzzyMatch
    weight: float
    unread_before: float = 0.0  # letters of unread ink next to it
    unread_after: float = 0.0

    @property
    def has_unread_ink(self) -> bool:
        """Whether there is unread text next to it."""
        return (
            self.unread_before > _MIN_UNREAD_INK or self.unread_after > _MIN_UNREAD_INK
        )


def group_by_position(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Group the candidates of all variants by position."""
    found: list[list[Candidate]] = []
    for one in candidates:
        position = next(
            (p for p in found if any(overlap(o.box, one.box) for o in p)), None
        )
        if position is None:
            found.append([one])
        else:
            position.append(one)
    return found


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes belong to one marking: horizontal overlap at a similar height."""
    height = max(one.height, other.height)
    margins = one.left < other.right and other.left < one.right
    return margins and abs(one.middle - other.middle) <= _SAME_PLACE_OVERLAP * height


def resolve(
    group_by_position: Sequence[list[Candidate]],
) -> tuple[list[Finding], list[str]]:
    """Return the markings at all positions and the doubts about them."""
    clear, faint, doubts = [], [], []
    results: list[tuple[list[Candidate], Finding | None]] = []
    for position in group_by_position:
        exact = [one for one in position if one.match.is_exact]
        finding, doubt = _agreed(exact) if exact else (None, "")
        results.append((position, finding))
        if finding is not None:
            clear.append(finding)
            faint += _possible_prefix(position, finding)
            doubts.append(doubt or _unread_ink_doubt(position, finding))
    for position, finding in results:
        found, doubt = _with_missing_letters(position, finding, clear)
        faint += found
        doubts.append(doubt)
    return [*clear, *faint], [doubt for doubt in doubts if doubt]


def _unread_ink_doubt(position: Sequence[Candidate], finding: Finding) -> str:
    """Return the doubt about unread ink next to a marking, unless a variant reads it."""
    crowded = next((one for one in position if one.has_unread_ink), None)
    if crowded is None or _exceeds(finding, crowded):
        return ""
    return f"{_where(crowded)}: text next to “{finding.text}” could not be read."


def _exceeds(finding: Finding, one: Candidate) -> bool:
    is_higher = rank_of(finding.level) > _rank(one)
    return is_higher or set(finding.caveats) > set(one.match.caveats)


def _possible_prefix(position: Sequence[Candidate], finding: Finding) -> list[Finding]:
    """Return the marking with a worn-off prefix: SECRET may have been TOP SECRET."""
    before = max(one.unread_before for one in position)
    if finding.level is not Level.SECRET or before < _MIN_WORD_INK:
        return []
    higher = {"level": Level.TOP_SECRET, "is_faint": True}
    return [
        finding.model_copy(
            update={**higher, "weight": _FAINT_FACTOR * finding.weight / 2}
        )
    ]


def _is_confirmed(faint: Finding, clear: Sequence[Finding]) -> bool:
    """Whether a clear marking on the page has the same level and at least its caveats."""
    return any(
        one.level is faint.level and set(one.caveats) >= set(faint.caveats)
        for one in clear
    )


def _agreed(exact: Sequence[Candidate]) -> tuple[Finding, str]:
    """Return what the variants agree on; if they differ, the higher level with a doubt."""
    best = max(exact, key=lambda one: (_rank(one), one.confidence * one.weight))
    level = best.match.level
    same = [one for one in exact if one.match.level is level]
    caveats = in_order(c for one in same for c in one.match.caveats)
    longest = max(same, key=lambda one: (len(one.match.caveats), one.confidence))
    doubt = ""
    if set(longest.match.caveats) != set(caveats) or (
        len(same) < len(exact) and best.confidence < HIGH_CONFIDENCE
    ):
        texts = sorted({f"“{one.text}”" for one in exact})
        doubt = f"{_where(best)}: {' and '.join(texts)} were read at the same position."
    weight = best.weight * max(one.confidence for one in same)
    finding = _finding(longest, weight, level=level, caveats=caveats, faint=False)
    return finding, doubt


def _rank(one: Candidate) -> int:
    return rank_of(one.match.level)


def _with_missing_letters(
    position: Sequence[Candidate], found: Finding | None, clear: Sequence[Finding]
) -> tuple[list[Finding], str]:
    """Return the likely marking at a position with missing letters, and the doubt about it.

    1. Drop candidates that add nothing to the marking read in full at this position.
    2. If a clear marking on the page confirms the highest remaining one, use it.
    3. Otherwise use the highest that is not outvoted, with a doubt for the reviewer.
    """
    close = _close(position)
    more = [one for one in close if found is None or _adds(one, found)]
    if not more:
        return [], ""
    utmost = _best_guess(more, more, found)
    if _is_confirmed(utmost, clear):
        return ([utmost] if found is None else []), ""
    believed = [one for one in _not_outvoted(close) if one in more]
    if not believed:
        return [], ""
    finding = _best_guess(believed, more, found)
    candidates = " or ".join(dict.fromkeys((finding.label, utmost.label)))
    doubt = f"“{finding.text}” may be {candidates}; letters are missing."
    return [finding], f"{_where(believed[0])}: {doubt}"


def _adds(one: Candidate, found: Finding) -> bool:
    """Whether a candidate exceeds what was found."""
    is_higher = _rank(one) > rank_of(found.level)
    return is_higher or not set(one.match.caveats) <= set(found.caveats)


def _close(position: Sequence[Candidate]) -> list[Candidate]:
    """Return each variant's best match and those that are equivalent."""
    most: dict[str, float] = {}
    for one in position:
        most[one.variant] = max(most.get(one.variant, 0.0), one.match.score)
    return [
        one
        for one in position
        if one.match.score >= most[one.variant] - _INDISTINGUISHABLE
    ]


def _not_outvoted(close: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates without words that the variants clearly outvote.

    Ink fades and does not appear, so TOP before SECRET is accepted from a single variant.
    Whether remaining letters belong to SECRET or CONFIDENTIAL is decided by a vote: the
    variants show the same letters, and each votes with its score times its confidence.
    """
    votes: dict[str, dict[str, float]] = {}
    for one in close:
        of_word = votes.setdefault(_word(one), {})
        vote = one.match.score * one.confidence
        of_word[one.variant] = max(of_word.get(one.variant, 0.0), vote)
    sums = {word: sum(of_word.values()) for word, of_word in votes.items()}
    most = max(sums.values())
    return [one for one in close if sums[_word(one)] * _OUTVOTE_RATIO > most]


def _word(one: Candidate) -> str:
    """Return the last word of a level, without prefixes such as TOP or STRICTLY."""
    return one.match.level.split()[-1] if one.match.level else ""


def _best_guess(
    variants: Sequence[Candidate], more: Sequence[Candidate], found: Finding | None
) -> Finding:
    """Return the highest candidate with every caveat that any variant shows."""
    rank = max(_rank(one) for one in variants)
    same = [one for one in variants if _rank(one) == rank]
    best = max(same, key=lambda one: one.match.score * one.confidence)
    level, caveats = best.match.level, [c for o in more for c in o.match.caveats]
    if found is not None:
        level, caveats = highest((found.level, level)), [*found.caveats, *caveats]
    weight = _FAINT_FACTOR * best.weight * best.confidence
    return _finding(best, weight, level=level, caveats=in_order(caveats), faint=True)


def _finding(
    one: Candidate,
    weight: float,
    *,
    level: Level | None,
    caveats: tuple[str, ...],
    faint: bool,
) -> Finding:
    return Finding(
        page=1,  # set by `read_scan`
        kind=one.kind,
        text=one.text,
        level=level,
        caveats=caveats,
        weight=round(weight, 2),
        box=one.box,
        is_faint=faint,
    )


def _where(one: Candidate) -> str:
    return {"header": "Header", "footer": "Footer"}.get(one.kind, "Body")
