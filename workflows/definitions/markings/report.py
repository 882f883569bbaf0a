"""Summary of the markings of a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from workflows.definitions.markings.finding import Finding, Kind, label_of
from workflows.definitions.markings.levels import rank_of
from workflows.definitions.markings.page_reading import PageReading
from workflows.runtime.records import Box


class Location(BaseModel):
    """A position in the document."""

    model_config = ConfigDict(frozen=True)

    page: int  # from 1
    box: Box


class MarkingSummary(BaseModel):
    """A marking of one kind with all its locations."""

    model_config = ConfigDict(frozen=True)

    label: str
    kind: Kind
    text: str  # as on the first page
    weight: float  # 0..1, highest of all occurrences
    locations: tuple[Location, ...]


class PageSummary(BaseModel):
    """The label and legibility of a page."""

    model_config = ConfigDict(frozen=True)

    page: int  # from 1
    label: str
    legibility: float  # 0..1


def summarize_markings(readings: Iterable[PageReading]) -> tuple[MarkingSummary, ...]:
    """Return each marking of the document once, highest weight first."""
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
    """Return a summary of each page."""
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
    """Return the pages that a reviewer needs, at most `limit`, in page order.

    First the unread pages, then the first page of each marking, highest level first.
    """
    marked = sorted(
        (finding for reading in readings for finding in reading.findings),
        key=lambda f: (-rank_of(f.level), -f.weight, f.page),
    )
    firsts = {(f.kind, f.label): f.page for f in reversed(marked)}
    pages = dict.fromkeys([*unread, *reversed(firsts.values()), 1])
    return tuple(sorted(list(pages)[:limit]))


class Mark(BaseModel):
    """A box on a page and its text."""

    box: Box
    text: str


class MarkedPage(BaseModel):
    """A page with its markings."""

    page: int  # from 1
    marks: tuple[Mark, ...]


class MarkedPages(BaseModel):
    """Pages shown with an approval or a result."""

    document: UUID
    pages: tuple[MarkedPage, ...]


def marked_pages(
    document: UUID, readings: Iterable[PageReading], pages: Sequence[int]
) -> MarkedPages:
    """Return pages of a document with the boxes of their markings."""
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
