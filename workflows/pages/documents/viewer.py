"""One page of a document, large, with places on it marked."""

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

ZOOMS = ("1", "1.5", "2", "3")  # times the width of the page's place
SHARPNESS = {"1": SCREEN_DPI, "1.5": 160, "2": 220, "3": 300}  # dpi
MAX_BOXES = 100


@dataclass(frozen=True, slots=True)
class PageView:
    """What the viewer shows, and the addresses around it."""

    document: Document
    number: int
    count: int
    zoom: str
    boxes: tuple[str, ...]  # as in the address
    run: Run | None = None  # whose markings are shown as well

    @classmethod
    def read(
        cls, document: Document, number: int, query: QueryDict, run: Run | None = None
    ) -> PageView:
        """Take what an address says; what means nothing is left out."""
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
        """Return the rectangles to draw."""
        found = [from_address(box, number) for number, box in enumerate(self.boxes, 1)]
        told = marks_of(self.run, self.document, self.number) if self.run else []
        return [mark for mark in found if mark is not None] + told

    @property
    def picture(self) -> str:
        """Return the address of the picture, sharp enough for the zoom."""
        address = reverse("document-page", args=[self.document.pk, self.number])
        return f"{address}?dpi={SHARPNESS[self.zoom]}"

    @property
    def before(self) -> str:
        """Return the address of the page before; "" at the first."""
        return self._at(self.number - 1, self.zoom) if self.number > 1 else ""

    @property
    def after(self) -> str:
        """Return the address of the page after; "" at the last."""
        return self._at(self.number + 1, self.zoom) if self.number < self.count else ""

    @property
    def closer(self) -> str:
        """Return the address of the page larger; "" at the largest."""
        return self._zoomed(1)

    @property
    def further(self) -> str:
        """Return the address of the page smaller; "" at the smallest."""
        return self._zoomed(-1)

    def _zoomed(self, by: int) -> str:
        place = ZOOMS.index(self.zoom) + by
        if not 0 <= place < len(ZOOMS):
            return ""
        return self._at(self.number, ZOOMS[place], self.boxes)

    def _at(self, number: int, zoom: str, boxes: Sequence[str] = ()) -> str:
        told = "" if zoom == ZOOMS[0] else zoom
        run = str(self.run.pk) if self.run else ""
        return address_of(self.document.pk, number, boxes, zoom=told, run=run)


def marks_of(run: Run, document: Document, number: int) -> list[Mark]:
    """Return what a run marked on a page: its result, else its newest question."""
    final = run.result if isinstance(run.result, Mapping) else {}
    outcome = final.get("result")
    told = outcome.get("evidence") if isinstance(outcome, Mapping) else None
    if told is None:
        asked = run.approvals.order_by("-sequence").first()
        told = asked.evidence if asked else None
    shown = evidence.read(told)
    if shown.document is None or shown.document.pk != document.pk:
        return []
    return [m for page in shown.pages if page.number == number for m in page.marks]
