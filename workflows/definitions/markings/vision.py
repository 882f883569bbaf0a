"""What a vision model sees on a page, as the reading of it."""

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
from workflows.definitions.markings.fuzzy_match import resembles
from workflows.definitions.markings.labelled_lines import labelled_text
from workflows.definitions.markings.reading import PageReading, merged
from workflows.runtime.records import Box

CLEAR = 0.7  # below it, a page is drawn better and looked at again
FAINT = 0.6  # of a marking's legibility, below which a person is asked
_PLACES: dict[Kind, Box] = {  # a model says roughly where, not exactly
    "header": Box(0.02, 0.0, 0.98, 0.1),
    "footer": Box(0.02, 0.9, 0.98, 1.0),
    "stamp": Box(0.02, 0.1, 0.98, 0.9),
}


def read_detection(page: int, detection: Detection, *, again: bool) -> PageReading:
    """Return what a page says of itself to a model; `again`: it was the second look."""
    found, doubts = [], []
    for marking in detection.markings_found:
        labels = labelled_text(marking.text)
        found += [_placed(one, page, marking) for one in labels.findings]
        doubts += [f"The agent reads: {doubt}" for doubt in labels.doubts]
        if labels.fields:
            continue
        finding = _finding(page, marking)
        if finding is None:
            continue
        found.append(finding)
        if marking.legibility < FAINT or finding.is_faint:
            label = label_of(finding.level, finding.caveats)
            doubts.append(f"The agent is unsure that “{finding.text}” is {label}.")
    unclear = detection.clarity_score < CLEAR
    if unclear and again:
        doubts.append("The agent finds the page hard to read.")
    return PageReading(
        page=page,
        legibility=round(detection.clarity_score, 2),
        reasons=("an agent looked at its picture",),
        findings=merged(found),
        doubts=tuple(doubts),
        is_scan=True,
        again=not again and (unclear or bool(doubts)),
        filters=detection.filter_suggestion,
    )


def _placed(finding: Finding, page: int, marking: VisionMarking) -> Finding:
    """Return what labelled lines say, as a marking where the model saw them."""
    kind = _kind(marking.location)
    return finding.model_copy(
        update={
            "page": page,
            "kind": kind,
            "weight": round(weight_at(kind) * marking.legibility, 2),
            "box": _PLACES[kind],
            "is_faint": marking.faded,
        }
    )


def _finding(page: int, marking: VisionMarking) -> Finding | None:
    """Return a marking that a model saw; None: it is no marking that we know."""
    text = " ".join(marking.text.split())[:MAX_LINE_LENGTH]
    read = grammar.banner(grammar.without_furniture(text))
    kind = _kind(marking.location)
    if read is not None:
        level, caveats, share = read.level, read.caveats, 1.0
    else:
        alike = resembles(text)
        if not alike:
            return None
        level, caveats, share = alike[0].level, alike[0].caveats, alike[0].score
    return Finding(
        page=page,
        kind=kind,
        text=text,
        level=level,
        caveats=caveats,
        weight=round(weight_at(kind) * share * marking.legibility, 2),
        box=_PLACES[kind],
        is_faint=marking.faded or read is None,
    )


def _kind(location: str) -> Kind:
    told = location.lower()
    if any(word in told for word in ("head", "top", "upper")):
        return "header"
    if any(word in told for word in ("foot", "bottom", "lower")):
        return "footer"
    return "stamp"
