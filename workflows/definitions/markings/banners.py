"""Markings that apply to the whole page: banners and stamps; excludes lookalikes."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from workflows.definitions.markings import grammar
from workflows.definitions.markings.finding import MAX_LINE_LENGTH, Finding, Kind
from workflows.definitions.markings.grammar import Marking
from workflows.definitions.markings.levels import COMMON_WORD_LEVELS, Level
from workflows.definitions.markings.segments import Segment, stacks
from workflows.runtime.records import Box

HEAD, FOOT = 0.12, 0.88  # position of a banner's vertical middle, fraction of the page
_EXTRA_DEPTH = 0.13  # extra tolerance if no text is further outside
_MAX_OFF_CENTRE = 0.06  # maximum distance of a stamp from the centre of the page
_TALL_RATIO = 1.3  # times the typical line height
_MAX_WORDS = (
    6  # limit for a line in capitals that ends in a marking: "ACME LTD CONFIDENTIAL"
)

Isolation = Literal["announced", "alone", "piece", "among"]
Capitalisation = Literal["capitals", "title", "small"]

_EDGE_WEIGHTS: dict[
    tuple[Isolation, Capitalisation], float
] = {  # how sure a banner is, 0..1
    ("announced", "capitals"): 0.9,
    ("announced", "title"): 0.85,
    ("announced", "small"): 0.8,
    ("alone", "capitals"): 0.9,
    ("alone", "title"): 0.8,
    ("alone", "small"): 0.5,
    ("piece", "capitals"): 0.8,
    ("piece", "title"): 0.65,
    ("piece", "small"): 0.3,
    ("among", "capitals"): 0.6,
    ("among", "title"): 0.5,
}
_COMMON_WORD_FACTOR = 0.75  # applied to "Public" or "Internal", unless in capitals
_ANNOUNCED = 0.85  # "Classification: SECRET", at any position
_PROMINENT_STAMP, _PLAIN_STAMP = (
    0.7,
    0.4,
)  # stamps that are prominent or not
_RELEASE = 0.8
_MENTION_IN_CAPITALS, _MENTION = 0.15, 0.05  # in running text

_CONDITION = re.compile(
    r"\b(?:when|upon|after|once|if)\b[^.]{0,40}"
    r"\b(?:separated|removed|removal|detached|detachment|enclosures?|attachments?)\b",
    re.IGNORECASE,
)
_RELEASED_IN_CAPITALS = re.compile(r"\bDE-?CLASSIFIED\b(?!\s+(?:AND|OR)\b)")
_RELEASED = re.compile(
    r"^\W*(?:de-?classified\s+(?:by|on|per|under|in\s+(?:full|part))\b"
    r"|approved\s+for\s+release\s*:?\s*\d|(?:re|down)-?graded\s+to\b"
    r"|classification\s+(?:cancell?ed|removed)\b)",
    re.IGNORECASE,
)
_LEVEL_IN_CAPITALS = re.compile(
    r"(?<![\w-])(TOP SECRET|STRICTLY CONFIDENTIAL|SECRET|CONFIDENTIAL|UNCLASSIFIED)"
    r"(?![\w-])"
)
_LEVEL_ANY_CASE = re.compile(
    r"(?<![\w-])(top secret|unclassified)(?![\w-])", re.IGNORECASE
)
_BETWEEN = re.compile(r"\s+-+\s+|\s*[|•·]\s*")
_NAME_AND_MARKING = 2  # words: accepts "ACME INTERNAL", rejects "ANY NOTARY PUBLIC"
_NOT = {"NOT", "NON", "NON-", "NO"}
_BROKEN = re.compile(r"(?<=[A-Za-z])- (?=[A-Za-z])")  # CONFI- DENTIAL


@dataclass(frozen=True, slots=True)
class Reading:
    """A marking within a segment and how it is separated from other words."""

    marking: Marking
    isolation: Isolation
    capitalisation: Capitalisation


@dataclass(frozen=True, slots=True)
class Layout:
    """The extent of the text on a page and its typical line height."""

    top: float
    bottom: float
    height: float

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> Layout | None:
        """Return the layout of a page, None without segments."""
        if not segments:
            return None
        boxes = [segment.box for segment in segments]
        return cls(
            min(box.middle for box in boxes),
            max(box.middle for box in boxes),
            statistics.median(box.height for box in boxes),
        )

    def position(self, box: Box) -> Kind:
        """Return whether a box is in the header, the footer or the body."""
        head = min(HEAD + _EXTRA_DEPTH, max(HEAD, self.top + box.height))
        foot = max(FOOT - _EXTRA_DEPTH, min(FOOT, self.bottom - box.height))
        if box.middle <= head:
            return "header"
        return "footer" if box.middle >= foot else "stamp"

    def is_prominent(self, box: Box) -> bool:
        """Whether a box is centred or taller than ordinary lines."""
        is_centred = abs((box.left + box.right) / 2 - 0.5) <= _MAX_OFF_CENTRE
        return is_centred or box.height > _TALL_RATIO * self.height


Judgement = tuple[Kind, Marking, float]  # weight last


def banners(
    page: int, segments: Sequence[Segment], layout: Layout | None = None
) -> Iterator[Finding]:
    """Yield the page's banners and stamps, and levels mentioned in its text."""
    layout = layout or Layout.of(segments)
    at = 0
    while layout is not None and at < len(segments):
        joined = stacks(segments, at)
        at += 1
        if not grammar.may_contain_marking(joined[-1].text):
            continue
        for more, stack in reversed(list(enumerate(joined))):
            judge_fields = (
                _judge_stack(stack, layout) if more else _judge_line(stack, layout)
            )
            if judge_fields is not None:
                yield _finding(page, stack, judge_fields)
                at += more
                break


def _finding(page: int, segment: Segment, judge_fields: Judgement) -> Finding:
    kind, marking, weight = judge_fields
    return Finding(
        page=page,
        kind=kind,
        text=segment.text[:MAX_LINE_LENGTH],
        level=marking.level,
        caveats=marking.caveats,
        weight=round(weight, 2),
        box=segment.box,
    )


def _judge_stack(stack: Segment, layout: Layout) -> Judgement | None:
    """Judge stacked lines as a single marking."""
    text = stack.text
    level = _LEVEL_IN_CAPITALS.match(text.upper())
    if level is not None and _CONDITION.match(text, level.end() + 1):
        return _condition(level)
    return _banner(stack, layout)


def _judge_line(segment: Segment, layout: Layout) -> Judgement | None:
    """Judge a single line."""
    text = segment.text
    return _inapplicable(text) or _banner(segment, layout) or _mention(text)


def _inapplicable(text: str) -> Judgement | None:
    """Return a marking that does not apply to the page, or no longer applies."""
    level = _LEVEL_IN_CAPITALS.search(text.upper())
    if level is not None and _CONDITION.search(text, level.end()):
        return _condition(level)
    if _RELEASED_IN_CAPITALS.search(text) or _RELEASED.match(text):
        new = Level(level[1]) if level is not None else Level.UNCLASSIFIED
        return "release", Marking(new), _RELEASE
    return None


def _condition(level: re.Match[str]) -> Judgement:
    return "condition", Marking(Level(level[1])), 0.0


def _banner(segment: Segment, layout: Layout) -> Judgement | None:
    """Return the banner or stamp in a segment."""
    text = segment.text
    reading = read_marking(text) if len(text) <= MAX_LINE_LENGTH else None
    if reading is None:
        return None
    kind = layout.position(segment.box)
    weight = _edge_weight(reading)
    if kind == "stamp":
        weight = _stamp_weight(reading, prominent=layout.is_prominent(segment.box))
    return (kind, reading.marking, weight) if weight else None


def weight_at(kind: Kind) -> float:
    """Return the weight of a separate marking in capitals at this position."""
    return _PROMINENT_STAMP if kind == "stamp" else _EDGE_WEIGHTS["alone", "capitals"]


def announced_weight(kind: Kind, text: str) -> float:
    """Return the weight of a marking after a label at this position."""
    return (
        _ANNOUNCED
        if kind == "stamp"
        else _EDGE_WEIGHTS["announced", _capitalisation(text)]
    )


def _edge_weight(reading: Reading) -> float:
    """Return the weight of a marking in the header or footer, 0 if it is none."""
    in_capitals = reading.capitalisation == "capitals"
    if reading.marking.level is None and not (
        in_capitals and reading.isolation == "alone"
    ):
        return 0.0
    weight = _EDGE_WEIGHTS.get((reading.isolation, reading.capitalisation), 0.0)
    is_common_word = reading.marking.level in COMMON_WORD_LEVELS and not in_capitals
    return weight * (_COMMON_WORD_FACTOR if is_common_word else 1)


def _stamp_weight(reading: Reading, *, prominent: bool) -> float:
    """Return the weight of a marking in the body, 0 if it is none."""
    is_stamp = reading.isolation == "alone" and reading.capitalisation == "capitals"
    if reading.marking.level is None or not (
        is_stamp or reading.isolation == "announced"
    ):
        return 0.0
    if reading.isolation == "announced":
        return _ANNOUNCED
    weight = _PROMINENT_STAMP if prominent else _PLAIN_STAMP
    return weight - (_PLAIN_STAMP if reading.marking.level in COMMON_WORD_LEVELS else 0)


def read_marking(text: str) -> Reading | None:
    """Return the marking in a line: the whole line, a separated part, or among names."""
    core = grammar.without_furniture(text)
    marking = grammar.banner(core) or grammar.banner(_BROKEN.sub("", core))
    if marking is not None:
        isolation: Isolation = "announced" if grammar.is_announced(text) else "alone"
        return Reading(marking, isolation, _capitalisation(core))
    return _piece(text) or _among(text)


def _piece(text: str) -> Reading | None:
    """Return the highest marking that punctuation separates from the rest of the line."""
    readings = []
    for piece in _BETWEEN.split(text):
        core = grammar.without_furniture(piece)
        marking = grammar.banner(core)
        if marking is not None and marking.level is not None:
            readings.append(
                (marking.level.rank, Reading(marking, "piece", _capitalisation(core)))
            )
    return max(readings, key=lambda reading: reading[0])[1] if readings else None


def _among(text: str) -> Reading | None:
    """Return the marking in capitals at the start or end of a short line of names."""
    words = grammar.without_furniture(text).split()
    if not 1 < len(words) <= _MAX_WORDS or any(word[0].islower() for word in words):
        return None
    capitalisation: Capitalisation = "capitals" if text.isupper() else "title"
    for at in range(1, len(words)):
        marking = _in_capitals(words[at:], len(words))
        if marking is not None and words[at - 1].upper() not in _NOT:
            return Reading(marking, "among", capitalisation)
    for at in range(len(words) - 1, 0, -1):
        marking = _in_capitals(words[:at], len(words))
        if marking is not None and marking.level not in COMMON_WORD_LEVELS:
            return Reading(marking, "among", capitalisation)
    return None


def _in_capitals(words: list[str], among: int) -> Marking | None:
    """Return the marking in some words; common words allow only one name next to them."""
    text = " ".join(words)
    marking = grammar.banner(text) if text.isupper() else None
    if marking is None or marking.level is None:
        return None
    is_common_word = marking.level in COMMON_WORD_LEVELS
    return None if is_common_word and among != _NAME_AND_MARKING else marking


def _capitalisation(text: str) -> Capitalisation:
    if text.isupper():
        return "capitals"
    letters = [word[0] for word in text.split() if word[0].isalpha()]
    return "title" if letters and letters[0].isupper() else "small"


def _mention(text: str) -> Judgement | None:
    """Return a level mentioned in running text, with a low weight."""
    loud = _LEVEL_IN_CAPITALS.search(text)
    found = loud or _LEVEL_ANY_CASE.search(text)
    if found is None:
        return None
    in_capitals = loud is not None and not text.isupper()
    level = Level(found[1].upper())
    return "mention", Marking(level), _MENTION_IN_CAPITALS if in_capitals else _MENTION
