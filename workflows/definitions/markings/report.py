"""What was found in a whole document, in few words: the same marking told once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from workflows.definitions.markings.finding import Finding, Kind, label_of
from workflows.definitions.markings.levels import rank_of
from workflows.definitions.markings.reading import PageReading
from workflows.runtime.records import Box


class Location(BaseModel):
    """Where on which page."""

    model_config = ConfigDict(frozen=True)

    page: int  # from 1
    box: Box


class MarkingSummary(BaseModel):
    """A marking of one kind, and every page it stands on."""

    model_config = ConfigDict(frozen=True)

    label: str
    kind: Kind
    text: str  # as it stands on the first of them
    weight: float  # 0..1, the highest
    locations: tuple[Location, ...]


class PageSummary(BaseModel):
    """What a page is marked as, and how well it could be read."""

    model_config = ConfigDict(frozen=True)

    page: int  # from 1
    label: str
    legibility: float  # 0..1


def summarize_markings(readings: Iterable[PageReading]) -> tuple[MarkingSummary, ...]:
    """Return every marking of the document once, weightiest first."""
    groups: dict[tuple[Kind, str], list[Finding]] = {}
    for reading in readings:
        for finding in reading.findings:
            groups.setdefault((finding.kind, finding.label), []).append(finding)
    found = [
        MarkingSummary(
            label=label,
            kind=kind,
            text=group[0].text,
            weight=max(finding.weight for finding in group),
            locations=tuple(Location(page=f.page, box=f.box) for f in group),
        )
        for (kind, label), group in groups.items()
    ]
    return tuple(sorted(found, key=lambda marking: -marking.weight))


def summarize_pages(readings: Iterable[PageReading]) -> tuple[PageSummary, ...]:
    """Return a line for each page."""
    return tuple(
        PageSummary(
            page=reading.page,
            label=label_of(reading.banner, reading.banner_caveats),
            legibility=reading.legibility,
        )
        for reading in readings
    )


def pages_to_review(
    readings: Sequence[PageReading], unread: Sequence[int], limit: int
) -> tuple[int, ...]:
    """Return the pages that settle a doubt, at most so many, in page order.

    Those that could not be read, then the first page of each marking, highest first.
    """
    marked = sorted(
        (finding for reading in readings for finding in reading.findings),
        key=lambda f: (-rank_of(f.level), -f.weight, f.page),
    )
    firsts = {(f.kind, f.label): f.page for f in reversed(marked)}
    pages = dict.fromkeys([*unread, *reversed(firsts.values()), 1])
    return tuple(sorted(list(pages)[:limit]))


class Mark(BaseModel):
    """A place on a page, and what stands there."""

    box: Box
    text: str


class MarkedPage(BaseModel):
    """A page with its markings."""

    page: int  # from 1
    marks: tuple[Mark, ...]


class MarkedPages(BaseModel):
    """Pages to look at, beside a question or a result."""

    document: UUID
    pages: tuple[MarkedPage, ...]


def marked_pages(
    document: UUID, readings: Iterable[PageReading], pages: Sequence[int]
) -> MarkedPages:
    """Return some pages of a document with the places of their markings."""
    findings = {reading.page: reading.findings for reading in readings}
    return MarkedPages(
        document=document,
        pages=tuple(
            MarkedPage(
                page=page,
                marks=tuple(
                    Mark(box=mark.box, text=f"{mark.text} ({mark.kind})")
                    for mark in findings[page]
                ),
            )
            for page in pages
        ),
    )
