"""All there is to learn from one page: its markings, and how well it can be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from workflows.definitions.markings.answers import Filters
from workflows.definitions.markings.banners import Layout, banners
from workflows.definitions.markings.finding import Finding, Kind, highest
from workflows.definitions.markings.labelled_lines import (
    read_labelled_lines,
    without_fields,
)
from workflows.definitions.markings.legibility import legibility
from workflows.definitions.markings.levels import Level, in_order
from workflows.definitions.markings.portions import portions
from workflows.definitions.markings.segments import segments_of
from workflows.definitions.markings.text import join_list
from workflows.runtime.records import Page


class PageReading(BaseModel):
    """What one page says of itself."""

    model_config = ConfigDict(frozen=True)

    page: int  # from 1
    legibility: float = Field(ge=0, le=1)  # 0: nothing could be read
    reasons: tuple[str, ...] = ()  # why it is not 1
    findings: tuple[Finding, ...] = ()  # each kind of marking once, weightiest first
    is_blank: bool = False
    is_scan: bool = False  # it was read from its picture
    turned: int = 0  # degrees, clockwise, that it was turned by to be read
    doubts: tuple[str, ...] = ()  # sentences: what a person has to look at
    is_unclear: bool = False  # it is worth a second look
    filters: Filters | None = None  # how a model would like it to be drawn then

    @property
    def banner(self) -> Level | None:
        """Return the highest level that a banner gives the page."""
        return highest(f.level for f in self.findings if f.is_banner)

    @property
    def banner_caveats(self) -> tuple[str, ...]:
        """Return the caveats that its banners of that level name."""
        banners = [
            f for f in self.findings if f.is_banner and f.level in (self.banner, None)
        ]
        return in_order(caveat for banner in banners for caveat in banner.caveats)

    @property
    def summary(self) -> str:
        """Return in words what was found: "SECRET as header and footer; …"."""
        if not self.findings:
            return f"no marking; {self.legibility:.0%} legible"
        labels: dict[str, list[str]] = {}
        for finding in self.findings:
            labels.setdefault(finding.label, []).append(finding.kind)
        summary = [f"{label} as {join_list(kinds)}" for label, kinds in labels.items()]
        return f"{'; '.join(summary)}; {self.legibility:.0%} legible"


def read(page: Page) -> PageReading:
    """Return what a page says of itself."""
    segments = segments_of(page)
    layout = Layout.of(segments)
    fields = read_labelled_lines(page, layout)
    if fields.fields:
        segments = segments_of(
            replace(page, lines=without_fields(page.lines, fields.fields))
        )
    found = [
        *fields.findings,
        *banners(page.number, segments, layout),
        *portions(page.number, segments),
    ]
    figure, reasons = legibility(page)
    return PageReading(
        page=page.number,
        legibility=figure,
        reasons=reasons,
        findings=merged(found),
        doubts=fields.doubts,
        is_blank=page.is_blank,
    )


def combine_with_scan(text: PageReading, scan: PageReading) -> PageReading:
    """Return what the text layer and the picture of one page say together."""
    return scan.model_copy(
        update={
            "legibility": max(text.legibility, scan.legibility),
            "reasons": text.reasons + scan.reasons,
            "findings": merged([*text.findings, *scan.findings]),
            "doubts": text.doubts + scan.doubts,
        }
    )


def combine_with_vision(one: PageReading, vision: PageReading) -> PageReading:
    """Return what a page was read as, and what a model sees on it, together.

    Where only one of them reads the page at all, its word stands.
    """
    return one.model_copy(
        update={
            "legibility": max(one.legibility, vision.legibility),
            "reasons": one.reasons + vision.reasons,
            "findings": merged([*one.findings, *vision.findings]),
            "doubts": one.doubts + vision.doubts,
            "is_unclear": one.is_unclear or vision.is_unclear,
            "filters": vision.filters,
        }
    )


def unreadable(page: int, why: str) -> PageReading:
    """Return the reading of a page that could not be opened at all."""
    return PageReading(page=page, legibility=0.0, reasons=(why,))


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each marking of a kind once, the weightiest, with how often it stands."""
    kept: dict[tuple[Kind, str], Finding] = {}
    for finding in sorted(findings, key=lambda finding: -finding.weight):
        what = (finding.kind, finding.label)
        first = kept.get(what)
        times = 1 if first is None else first.times + 1
        kept[what] = (first or finding).model_copy(update={"times": times})
    return tuple(kept.values())
