"""What all looks at one place of a page say together: a marking, or a doubt about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workflows.definitions.markings.finding import Finding, Kind, highest
from workflows.definitions.markings.fuzzy_match import Likeness
from workflows.definitions.markings.levels import Level, in_order, rank_of
from workflows.runtime.records import Box

SURE = 0.9  # of a line, from which it needs no second look
_FAINT = 0.8  # what missing letters leave of a marking's weight, at best
_CLOSE = 0.06  # likenesses that lie closer together cannot be told apart
_OUTVOTED = 2.0  # times as much must speak for another word
_SAME_PLACE_OVERLAP = 0.6  # line heights by which places of one marking may differ
_INK = 0.5  # letters of ink beside a marking, from which there is more to read
_WORD = 1.0  # and from which there may be a word


@dataclass(frozen=True, slots=True)
class Sighting:
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


def places(seen: Iterable[Sighting]) -> list[list[Sighting]]:
    """Return what all looks show, place by place."""
    found: list[list[Sighting]] = []
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
    return beside and abs(one.middle - other.middle) <= _SAME_PLACE_OVERLAP * height


def resolved(places: Sequence[list[Sighting]]) -> tuple[list[Finding], list[str]]:
    """Return the markings that all places show, and the doubts about them."""
    clear, faint, doubts = [], [], []
    told: list[tuple[list[Sighting], Finding | None]] = []
    for place in places:
        exact = [one for one in place if one.likeness.is_exact]
        finding, doubt = _agreed(exact) if exact else (None, "")
        told.append((place, finding))
        if finding is not None:
            clear.append(finding)
            faint += _worn_off(place, finding)
            doubts.append(doubt or _crowd(place, finding))
    for place, finding in told:
        found, doubt = _with_missing_letters(place, finding, clear)
        faint += found
        doubts.append(doubt)
    return [*clear, *faint], [doubt for doubt in doubts if doubt]


def _crowd(place: Sequence[Sighting], finding: Finding) -> str:
    """Return the doubt about ink beside a marking, unless some look could read it."""
    crowded = next((one for one in place if one.is_crowded), None)
    if crowded is None or _says_more(finding, crowded):
        return ""
    return f"{_where(crowded)}, something beside “{finding.text}” could not be read."


def _says_more(finding: Finding, one: Sighting) -> bool:
    is_higher = rank_of(finding.level) > _rank(one)
    return is_higher or set(finding.caveats) > set(one.likeness.caveats)


def _worn_off(place: Sequence[Sighting], finding: Finding) -> list[Finding]:
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


def _agreed(exact: Sequence[Sighting]) -> tuple[Finding, str]:
    """Return what looks agree on; where they differ, the higher, with a doubt."""
    best = max(exact, key=lambda one: (_rank(one), one.sure * one.weight))
    level = best.likeness.level
    same = [one for one in exact if one.likeness.level is level]
    caveats = in_order(c for one in same for c in one.likeness.caveats)
    longest = max(same, key=lambda one: (len(one.likeness.caveats), one.sure))
    doubt = ""
    if set(longest.likeness.caveats) != set(caveats) or (
        len(same) < len(exact) and best.sure < SURE
    ):
        said = sorted({f"“{one.text}”" for one in exact})
        doubt = f"{_where(best)}, {' and '.join(said)} were read at one place."
    weight = best.weight * max(one.sure for one in same)
    finding = _finding(longest, weight, level=level, caveats=caveats, faint=False)
    return finding, doubt


def _rank(one: Sighting) -> int:
    return rank_of(one.likeness.level)


def _with_missing_letters(
    place: Sequence[Sighting], found: Finding | None, clear: Sequence[Finding]
) -> tuple[list[Finding], str]:
    """Return what a place is taken for with letters missing, and the doubt about it.

    1. Looks that say no more than what was found there in full are left out.
    2. If the page says elsewhere, in full, the highest that is left, it is that.
    3. Else it is the highest that was not outvoted, and a person is asked.
    """
    close = _close(place)
    more = [one for one in close if found is None or _adds(one, found)]
    if not more:
        return [], ""
    utmost = _taken_for(more, more, found)
    if _is_borne_out(utmost, clear):
        return ([utmost] if found is None else []), ""
    believed = [one for one in _not_outvoted(close) if one in more]
    if not believed:
        return [], ""
    finding = _taken_for(believed, more, found)
    may_be = " or ".join(dict.fromkeys((finding.label, utmost.label)))
    doubt = f"“{finding.text}” may be {may_be}: letters are missing."
    return [finding], f"{_where(believed[0])}, {doubt}"


def _adds(one: Sighting, found: Finding) -> bool:
    """Tell whether a look shows more than what was found."""
    is_higher = _rank(one) > rank_of(found.level)
    return is_higher or not set(one.likeness.caveats) <= set(found.caveats)


def _close(place: Sequence[Sighting]) -> list[Sighting]:
    """Return what each look resembles best, and what it can hardly be told from."""
    most: dict[str, float] = {}
    for one in place:
        most[one.look] = max(most.get(one.look, 0.0), one.likeness.score)
    return [one for one in place if one.likeness.score >= most[one.look] - _CLOSE]


def _not_outvoted(close: Sequence[Sighting]) -> list[Sighting]:
    """Return what looks show, without words for which far more looks show another.

    Ink wears off and does not appear: so a TOP before SECRET is believed if a single
    look shows it. Whether some letters are what is left of SECRET or of CONFIDENTIAL is
    another question. The looks are of the same letters; they vote, each with how much
    and how surely it could read.
    """
    votes: dict[str, dict[str, float]] = {}
    for one in close:
        of_word = votes.setdefault(_word(one), {})
        vote = one.likeness.score * one.sure
        of_word[one.look] = max(of_word.get(one.look, 0.0), vote)
    sums = {word: sum(of_word.values()) for word, of_word in votes.items()}
    most = max(sums.values())
    return [one for one in close if sums[_word(one)] * _OUTVOTED > most]


def _word(one: Sighting) -> str:
    """Return the word that tells a level, without what raises it: TOP, STRICTLY."""
    return one.likeness.level.split()[-1] if one.likeness.level else ""


def _taken_for(
    looks: Sequence[Sighting], more: Sequence[Sighting], found: Finding | None
) -> Finding:
    """Return the highest that looks show, with every caveat that any look shows."""
    rank = max(_rank(one) for one in looks)
    same = [one for one in looks if _rank(one) == rank]
    best = max(same, key=lambda one: one.likeness.score * one.sure)
    level, caveats = best.likeness.level, [c for o in more for c in o.likeness.caveats]
    if found is not None:
        level, caveats = highest((found.level, level)), [*found.caveats, *caveats]
    weight = _FAINT * best.weight * best.sure
    return _finding(best, weight, level=level, caveats=in_order(caveats), faint=True)


def _finding(
    one: Sighting,
    weight: float,
    *,
    level: Level | None,
    caveats: tuple[str, ...],
    faint: bool,
) -> Finding:
    return Finding(
        page=1,  # `read_scan` knows which
        kind=one.kind,
        text=one.text,
        level=level,
        caveats=caveats,
        weight=round(weight, 2),
        box=one.box,
        is_faint=faint,
    )


def _where(one: Sighting) -> str:
    return {"header": "At the head", "footer": "At the foot"}.get(
        one.kind, "On the page"
    )
