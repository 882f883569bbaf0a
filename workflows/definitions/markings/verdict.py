"""Combine the readings of all pages into one classification of the document.

1. The level is the highest of all banners and reliable portion marks: a document never
   gets a lower label than one of its pages.
2. The confidence is that of the level where it was found, reduced by each consideration:
   pages that are unreadable, contradictory or without a banner, portion marks above the
   banners, a declassification stamp.
3. Contradictions are listed separately: they need a reviewer at any confidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from workflows.definitions.markings.answers import Factor
from workflows.definitions.markings.finding import (
    BANNER_WEIGHT,
    UNMARKED,
    Finding,
    highest,
    label_of,
)
from workflows.definitions.markings.levels import UNCLASSIFIED_ONLY, Level, in_order
from workflows.definitions.markings.page_reading import PageReading
from workflows.definitions.markings.text import join_list, page_numbers_text

_UNMARKED_CONFIDENCE = (
    0.5  # confidence that an apparently unmarked document has no marking
)
_FAINT_LEGIBILITY = 0.8  # below it, a page lowers the confidence
_MAX_CONFIDENCE = 0.99
_MAX_ALTERNATIVES = 3


class Alternative(BaseModel):
    """Another possible classification."""

    model_config = ConfigDict(frozen=True)

    label: str
    confidence: float = Field(ge=0, le=1)


class Verdict(BaseModel):
    """The classification of a document with the evidence for and against it."""

    model_config = ConfigDict(frozen=True)

    level: Level | None = None  # None: no marking found
    caveats: tuple[str, ...] = ()
    confidence: float = Field(0.0, ge=0, le=1)
    alternatives: tuple[Alternative, ...] = ()  # most likely first
    why: tuple[str, ...] = ()  # sentences: the basis, then what lowers the confidence
    factors: tuple[Factor, ...] = ()  # the confidence is their product
    contradictions: tuple[str, ...] = ()  # sentences for the reviewer
    unread: tuple[int, ...] = ()  # pages without readable text

    @property
    def label(self) -> str:
        """Return the level with its caveats, for example SECRET//NOFORN."""
        return label_of(self.level, self.caveats)


@dataclass(frozen=True, slots=True)
class Remark:
    """A reason for a lower confidence."""

    sentence: str
    factor: float  # multiplier of the confidence, 0..1
    contradicts: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """The readings of all pages with the resulting level and caveats."""

    readings: Sequence[PageReading]
    level: Level | None
    caveats: tuple[str, ...]

    @property
    def readable(self) -> list[PageReading]:
        """Return the pages with readable text, and the blank ones."""
        return [reading for reading in self.readings if reading.legibility > 0]

    @property
    def findings(self) -> list[Finding]:
        """Return all findings in page order."""
        return [finding for reading in self.readings for finding in reading.findings]


def weigh(readings: Sequence[PageReading]) -> Verdict:
    """Return the classification that follows from all pages."""
    evidence = _evidence(readings)
    considered = {
        name: list(consider(evidence)) for name, consider in CONSIDERATIONS.items()
    }
    remarks = [remark for found in considered.values() for remark in found]
    start = _strength(evidence) if evidence.readable else 0.0
    factors = (
        Factor(name="strength", score=start, description=_basis(evidence)),
        *(_factor(name, found) for name, found in considered.items()),
    )
    confidence = round(math.prod(f.score**f.weight for f in factors), 2)
    return Verdict(
        level=evidence.level,
        caveats=evidence.caveats,
        confidence=confidence,
        alternatives=_alternatives(evidence, confidence),
        why=(_basis(evidence), *(remark.sentence for remark in remarks)),
        factors=factors,
        contradictions=tuple(r.sentence for r in remarks if r.contradicts),
        unread=tuple(r.page for r in readings if r.legibility == 0),
    )


def _factor(name: str, remarks: Sequence[Remark]) -> Factor:
    """Return the factor of one consideration, 1 without remarks."""
    return Factor(
        name=name,
        score=math.prod(remark.factor for remark in remarks),
        description=" ".join(remark.sentence for remark in remarks),
    )


def _evidence(readings: Sequence[PageReading]) -> Evidence:
    findings = [finding for reading in readings for finding in reading.findings]
    trusted = [f for f in findings if _is_trusted(f)]
    level = highest(f.level for f in trusted)
    if level is None:
        level = highest(f.level for f in findings if f.kind in ("stamp", "portion"))
    return Evidence(
        readings, level, _inherited_caveats(level, trusted) if level else ()
    )


def _inherited_caveats(level: Level, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return the caveats that the document inherits from its parts."""
    if level.rank < Level.RESTRICTED.rank:
        return in_order(c for finding in findings for c in finding.caveats)
    return in_order(
        caveat
        for finding in findings
        for caveat in finding.caveats
        if caveat not in UNCLASSIFIED_ONLY or not _is_unclassified(finding)
    )


def _is_unclassified(finding: Finding) -> bool:
    """Whether a part is unclassified: (U//FOUO) is, SECRET//FOUO is not."""
    return finding.level is not None and finding.level.rank < Level.RESTRICTED.rank


def _is_trusted(finding: Finding) -> bool:
    """Whether a finding alone may set the level: a banner or a portion mark of high weight."""
    return finding.is_banner or (
        finding.kind == "portion" and finding.weight >= BANNER_WEIGHT
    )


def _supporting(evidence: Evidence) -> list[Finding]:
    """Return the findings with the label's level, including weak ones."""
    kinds = ("header", "footer", "stamp", "portion")
    return [
        finding
        for finding in evidence.findings
        if finding.level is evidence.level and finding.kind in kinds
    ]


def _strength(evidence: Evidence) -> float:
    """Return the confidence in the level on the page that shows it best, 0..1."""
    if evidence.level is None:
        return _UNMARKED_CONFIDENCE
    doubt: dict[int, float] = {}
    for finding in _supporting(evidence):
        doubt[finding.page] = doubt.get(finding.page, 1.0) * (1 - finding.weight)
    return min(_MAX_CONFIDENCE, 1 - min(doubt.values()))


def _basis(evidence: Evidence) -> str:
    """Return the basis of the verdict."""
    if evidence.level is None:
        return "No marking found on any readable page."
    pages: dict[str, set[int]] = {}
    for finding in _supporting(evidence):
        pages.setdefault(_POSITION_LABELS[finding.kind], set()).add(finding.page)
    by_pages: dict[str, list[str]] = {}
    for position, found in pages.items():
        by_pages.setdefault(page_numbers_text(sorted(found)), []).append(position)
    parts = [f"{join_list(where)} of {pages}" for pages, where in by_pages.items()]
    return f"{evidence.level} found {'; '.join(parts)}."


_POSITION_LABELS = {
    "header": "in the header",
    "footer": "in the footer",
    "stamp": "as a stamp",
    "portion": "in portion marks",
}


def unread_pages(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for pages without readable text, which may have any marking."""
    unread = [reading.page for reading in evidence.readings if reading.legibility == 0]
    if unread:
        share = len(evidence.readable) / len(evidence.readings)
        yield Remark(f"No readable text on {page_numbers_text(unread)}.", share)


def faint_pages(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for barely legible pages, which may hide a marking."""
    faint = [
        r
        for r in evidence.readable
        if r.legibility < _FAINT_LEGIBILITY and not r.banner
    ]
    if faint:
        share = 1 - len(faint) / len(evidence.readings)
        pages = page_numbers_text([reading.page for reading in faint])
        yield Remark(f"Little readable text on {pages}.", 0.7 + 0.3 * share)


def other_banners(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for banners of different levels: a contradiction."""
    marked = [reading for reading in evidence.readings if reading.banner]
    levels: dict[Level, list[int]] = {}
    for reading in marked:
        for level in _banner_levels(reading):
            levels.setdefault(level, []).append(reading.page)
    if len(levels) > 1:
        parts = [
            f"{page_numbers_text(levels[level])} {_verb(levels[level])} {level}"
            for level in sorted(levels, key=lambda level: levels[level])
        ]
        agreeing = len(levels.get(evidence.level, ())) if evidence.level else 0
        yield Remark(
            f"The banners disagree: {join_list(parts)}.",
            0.5 + 0.3 * agreeing / len(marked),
            contradicts=True,
        )


def _verb(pages: Sequence[int]) -> str:
    return "says" if len(set(pages)) == 1 else "say"


def _banner_levels(reading: PageReading) -> set[Level]:
    return {f.level for f in reading.findings if f.is_banner and f.level}


def unmarked_pages(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for readable pages without a banner."""
    if not any(reading.banner for reading in evidence.readings):
        if evidence.level:
            yield Remark("No page carries a banner.", 0.6)
        return
    full = [reading for reading in evidence.readable if not reading.is_blank]
    bare = [reading.page for reading in full if not reading.banner]
    if bare:
        share = 1 - len(bare) / len(full)
        yield Remark(f"No banner on {page_numbers_text(bare)}.", 0.4 + 0.6 * share)


def higher_portions(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for portion marks above every banner: a contradiction."""
    banner = highest(reading.banner for reading in evidence.readings)
    if banner is None:
        return
    higher = [
        finding
        for finding in evidence.findings
        if finding.kind == "portion"
        and finding.level
        and finding.level.rank > banner.rank
    ]
    if higher:
        marks = join_list(sorted({finding.text for finding in higher}))
        pages = page_numbers_text([finding.page for finding in higher])
        yield Remark(
            f"{marks} on {pages} is higher than every banner ({banner}).",
            0.75,
            contradicts=True,
        )


def caveat_mismatches(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for caveats that only some banners or only portion marks name."""
    named = [set(f.caveats) for f in evidence.findings if f.is_banner and f.level]
    alone = [f.caveats for f in evidence.findings if f.is_banner and not f.level]
    in_banners = set().union(*named, *alone)
    portions = [f for f in evidence.findings if f.kind == "portion"]
    in_portions = {caveat for finding in portions for caveat in finding.caveats}
    only_there = in_order((in_portions - in_banners) & set(evidence.caveats))
    if only_there and named:
        parts = join_list(only_there)
        yield Remark(f"{parts} appears in portion marks only.", 0.85, contradicts=True)
    if any(caveats != set().union(*named) for caveats in named):
        yield Remark("The banners name different caveats.", 0.9)
    yield from _releases_apart(in_banners)


def _releases_apart(caveats: set[str]) -> Iterator[Remark]:
    """Yield remarks for contradictory release caveats."""
    releases = in_order(caveat for caveat in caveats if caveat.startswith("REL"))
    if "NOFORN" in caveats and releases:
        yield Remark(
            "NOFORN contradicts a release to other countries.",
            0.7,
            contradicts=True,
        )
    lists = [release for release in releases if release.startswith("REL TO ")]
    if len(lists) > 1:
        yield Remark(
            f"The release lists {join_list(lists)} differ.", 0.7, contradicts=True
        )


def contradicted_none(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for "no caveats" labels that other caveats contradict."""
    stated = [f for f in evidence.findings if f.is_explicitly_none]
    if stated and evidence.caveats:
        pages = page_numbers_text([finding.page for finding in stated])
        caveats = join_list(evidence.caveats)
        yield Remark(
            f"“{stated[0].text}” on {pages} contradicts {caveats}.",
            0.7,
            contradicts=True,
        )


def releases(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for stamps that lower or cancel the classification."""
    stamps = [f for f in evidence.findings if f.kind == "release"]
    if stamps:
        pages = page_numbers_text([finding.page for finding in stamps])
        yield Remark(
            f"“{stamps[0].text}” on {pages} declares the classification no longer valid.",
            0.5,
            contradicts=True,
        )


def doubtful_pages(evidence: Evidence) -> Iterator[Remark]:
    """Yield a remark for each doubt about a scan."""
    for reading in evidence.readings:
        for doubt in reading.doubts:
            yield Remark(f"Page {reading.page}: {doubt}", 0.8, contradicts=True)


CONSIDERATIONS: dict[str, Callable[[Evidence], Iterator[Remark]]] = {
    "pages read": unread_pages,
    "legibility": faint_pages,
    "banners agree": other_banners,
    "every page marked": unmarked_pages,
    "portions within banners": higher_portions,
    "caveats agree": caveat_mismatches,
    "no caveats where none are stated": contradicted_none,
    "still in force": releases,
    "nothing in doubt": doubtful_pages,
}
"""All considerations; each is a factor of the confidence."""


def _alternatives(evidence: Evidence, confidence: float) -> tuple[Alternative, ...]:
    """Return other possible classifications, which share the remaining confidence."""
    weights: dict[str, float] = {}
    for finding in evidence.findings:
        if finding.level is not evidence.level and finding.level is not None:
            label = finding.level.value
            weights[label] = max(weights.get(label, 0.0), finding.weight)
    if evidence.level is not None and confidence < _MAX_CONFIDENCE:
        weights.setdefault(UNMARKED, 0.1)
    total = max(1.0, sum(weights.values()))
    likeliest = sorted(weights, key=lambda label: -weights[label])[:_MAX_ALTERNATIVES]
    found = [
        Alternative(
            label=label, confidence=round((1 - confidence) * weights[label] / total, 2)
        )
        for label in likeliest
    ]
    return tuple(alternative for alternative in found if alternative.confidence > 0)
