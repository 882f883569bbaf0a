"""Convert a vision model's report into a page reading."""

from __future__ import annotations

from workflows.definitions.markings import grammar
from workflows.definitions.markings.answers import Detection, VisionMarking
from workflows.definitions.markings.banners import weight_at
from workflows.definitions.markings.finding import (
    MAX_LINE_LENGTH,
    Finding,
    Kind,
    label_of,
)
from workflows.definitions.markings.fuzzy_match import fuzzy_matches
from workflows.definitions.markings.labelled_lines import read_labelled_text
from workflows.definitions.markings.page_reading import PageReading, merged
from workflows.runtime.records import Box

MIN_CLARITY = 0.7  # below it, a page is read again with adjustments
MIN_LEGIBILITY = 0.6  # of a marking; below it, a reviewer decides
_POSITIONS: dict[Kind, Box] = {  # approximate: a model reports no exact positions
    "header": Box(0.02, 0.0, 0.98, 0.1),
    "footer": Box(0.02, 0.9, 0.98, 1.0),
    "stamp": Box(0.02, 0.1, 0.98, 0.9),
}


def read_detection(page: int, detection: Detection, *, enhanced: bool) -> PageReading:
    """Return the reading of a vision report; `enhanced`: of the second reading."""
    found, doubts = [], []
    for marking in detection.markings_found:
        labels = read_labelled_text(marking.text)
        found += [_at_marking(one, page, marking) for one in labels.findings]
        doubts += [f"Agent: {doubt}" for doubt in labels.doubts]
        if labels.fields:
            continue
        finding = _finding(page, marking)
        if finding is None:
            continue
        found.append(finding)
        if marking.legibility < MIN_LEGIBILITY or finding.is_faint:
            label = label_of(finding.level, finding.caveats)
            doubts.append(f"The agent is not sure that “{finding.text}” is {label}.")
    unclear = detection.clarity_score < MIN_CLARITY
    if unclear and enhanced:
        doubts.append("The agent reports that the page is hard to read.")
    return PageReading(
        page=page,
        legibility=round(detection.clarity_score, 2),
        reasons=("read from its image by an agent",),
        findings=merged(found),
        doubts=tuple(doubts),
        is_scan=True,
        is_unclear=not enhanced and (unclear or bool(doubts)),
        filters=detection.filter_suggestion,
    )


def _at_marking(finding: Finding, page: int, marking: VisionMarking) -> Finding:
    """Return a labelled marking at the position that the model reported."""
    kind = _kind(marking.location)
    return finding.model_copy(
        update={
            "page": page,
            "kind": kind,
            "weight": round(weight_at(kind) * marking.legibility, 2),
            "box": _POSITIONS[kind],
            "is_faint": marking.faded,
        }
    )


def _finding(page: int, marking: VisionMarking) -> Finding | None:
    """Return a marking that a model reported, None if it is unknown."""
    text = " ".join(marking.text.split())[:MAX_LINE_LENGTH]
    marking_text = grammar.banner(grammar.without_furniture(text))
    kind = _kind(marking.location)
    if marking_text is not None:
        level, caveats, share = marking_text.level, marking_text.caveats, 1.0
    else:
        matches = fuzzy_matches(text)
        if not matches:
            return None
        level, caveats, share = matches[0].level, matches[0].caveats, matches[0].score
    return Finding(
        page=page,
        kind=kind,
        text=text,
        level=level,
        caveats=caveats,
        weight=round(weight_at(kind) * share * marking.legibility, 2),
        box=_POSITIONS[kind],
        is_faint=marking.faded or marking_text is None,
    )


def _kind(location: str) -> Kind:
    position = location.lower()
    if any(word in position for word in ("head", "top", "upper")):
        return "header"
    if any(word in position for word in ("foot", "bottom", "lower")):
        return "footer"
    return "stamp"
