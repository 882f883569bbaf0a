"""The reading of one page: its markings and legibility."""

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
    """The markings and legibility of one page."""

    model_config = ConfigDict(frozen=True)

    page: int  # from 1
    legibility: float = Field(ge=0, le=1)  # 0: no readable text
    reasons: tuple[str, ...] = ()  # why it is not 1
    findings: tuple[Finding, ...] = ()  # each kind and label once, highest weight first
    is_blank: bool = False
    is_scan: bool = False  # read from its image
    turned: int = 0  # degrees clockwise by which it was rotated for reading
    doubts: tuple[str, ...] = ()  # sentences for the reviewer
    is_unclear: bool = False  # needs a second reading
    filters: Filters | None = None  # image adjustments suggested by the agent

    @property
    def banner(self) -> Level | None:
        """Return the highest level of the page's banners."""
        return highest(f.level for f in self.findings if f.is_banner)

    @property
    def banner_caveats(self) -> tuple[str, ...]:
        """Return the caveats of the banners at that level."""
        banners = [
            f for f in self.findings if f.is_banner and f.level in (self.banner, None)
        ]
        return in_order(caveat for banner in banners for caveat in banner.caveats)

    @property
    def summary(self) -> str:
        """Return a summary for the log: "SECRET as header and footer; …"."""
        if not self.findings:
            return f"no marking; {self.legibility:.0%} legible"
        labels: dict[str, list[str]] = {}
        for finding in self.findings:
            labels.setdefault(finding.label, []).append(finding.kind)
        summary = [f"{label} as {join_list(kinds)}" for label, kinds in labels.items()]
        return f"{'; '.join(summary)}; {self.legibility:.0%} legible"


def read(page: Page) -> PageReading:
    """Return the reading of a page's text layer."""
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
    """Combine the readings of the text layer and the image of one page."""
    return scan.model_copy(
        update={
            "legibility": max(text.legibility, scan.legibility),
            "reasons": text.reasons + scan.reasons,
            "findings": merged([*text.findings, *scan.findings]),
            "doubts": text.doubts + scan.doubts,
        }
    )


def combine_with_vision(one: PageReading, vision: PageReading) -> PageReading:
    """Combine a reading of a page with that of a vision model.

    If only one of them could read the page, its reading counts.
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
    """Return the reading of a page that could not be opened."""
    return PageReading(page=page, legibility=0.0, reasons=(why,))


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each kind and label once with its highest weight and its count."""
    kept: dict[tuple[Kind, str], Finding] = {}
    for finding in sorted(findings, key=lambda finding: -finding.weight):
        what = (finding.kind, finding.label)
        first = kept.get(what)
        times = 1 if first is None else first.times + 1
        kept[what] = (first or finding).model_copy(update={"times": times})
    return tuple(kept.values())
