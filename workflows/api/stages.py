"""Pages of the stages of a run, which end with the one in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.models import with_current
from workflows.pages.lists.pagination import forward_page
from workflows.pages.run.cancelled_stages import as_shown

if TYPE_CHECKING:
    from workflows.models import Run, Stage
    from workflows.pages.lists.pagination import Page


def stage_page(run: Run, after: int | None, size: int) -> Page[Stage]:
    """Return a page of stages in the order in which they were recorded."""
    page = forward_page(run.stages.all(), after=after, size=size)
    if page.after is None:
        page.rows = with_current(run, page.rows)
        if len(page.rows) > size:
            page.rows.pop()
            page.after = page.rows[-1].pk
    page.rows = as_shown(run, page.rows)
    return page
