"""The viewer: one page of a document, with zoom and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import reverse

from workflows.pages.documents import evidence
from workflows.pages.render.page_marks import Mark, address_of, from_address
from workflows.runtime.renderings import SCREEN_DPI

if TYPE_CHECKING:
    from django.http import QueryDict

    from workflows.models import Document, Run

ZOOMS = ("1", "1.5", "2", "3")  # factors of the width of the viewer
SHARPNESS = {"1": SCREEN_DPI, "1.5": 160, "2": 220, "3": 300}  # dpi
MAX_BOXES = 100


@dataclass(frozen=True, slots=True)
class PageView:
    """The page that the viewer shows, with the URLs of its controls."""

    document: Document
    number: int
    count: int
    zoom: str
    boxes: tuple[str, ...]  # as in the URL
    run: Run | None = None  # whose marks are shown, too

    @classmethod
    def read(
        cls, document: Document, number: int, query: QueryDict, run: Run | None = None
    ) -> PageView:
        """Read a query; invalid values are ignored."""
        boxes = [
            box for box in query.getlist("box")[:MAX_BOXES] if from_address(box, 1)
        ]
        zoom = query.get("zoom", "")
        return cls(
            document,
            number,
            document.page_count or 0,
            zoom if zoom in ZOOMS else ZOOMS[0],
            tuple(boxes),
            run,
        )

    @property
    def marks(self) -> list[Mark]:
        """Return the marks of the query and those of the run."""
        boxes = [from_address(box, number) for number, box in enumerate(self.boxes, 1)]
        of_run = marks_of(self.run, self.document, self.number) if self.run else []
        return [mark for mark in boxes if mark is not None] + of_run

    @property
    def image_url(self) -> str:
        """Return the URL of the page image, in the resolution of the zoom."""
        address = reverse("document-page", args=[self.document.pk, self.number])
        return f"{address}?dpi={SHARPNESS[self.zoom]}"

    @property
    def previous_url(self) -> str:
        """Return the URL of the previous page; "" at the first."""
        return self._at(self.number - 1, self.zoom) if self.number > 1 else ""

    @property
    def next_url(self) -> str:
        """Return the URL of the next page; "" at the last."""
        return self._at(self.number + 1, self.zoom) if self.number < self.count else ""

    @property
    def zoom_in_url(self) -> str:
        """Return the URL of the next larger zoom; "" at the largest."""
        return self._zoomed(1)

    @property
    def zoom_out_url(self) -> str:
        """Return the URL of the next smaller zoom; "" at the smallest."""
        return self._zoomed(-1)

    def _zoomed(self, by: int) -> str:
        place = ZOOMS.index(self.zoom) + by
        if not 0 <= place < len(ZOOMS):
            return ""
        return self._at(self.number, ZOOMS[place], self.boxes)

    def _at(self, number: int, zoom: str, boxes: Sequence[str] = ()) -> str:
        value = "" if zoom == ZOOMS[0] else zoom
        run = str(self.run.pk) if self.run else ""
        return address_of(self.document.pk, number, boxes, zoom=value, run=run)


def marks_of(run: Run, document: Document, number: int) -> list[Mark]:
    """Return the marks of a run on a page: those of its result, else of its newest approval."""
    final = run.result if isinstance(run.result, Mapping) else {}
    outcome = final.get("result")
    value = outcome.get("evidence") if isinstance(outcome, Mapping) else None
    if value is None:
        approval = run.approvals.order_by("-sequence").first()
        value = approval.evidence if approval else None
    shown = evidence.read(value)
    if shown.document is None or shown.document.pk != document.pk:
        return []
    return [m for page in shown.pages if page.number == number for m in page.marks]
