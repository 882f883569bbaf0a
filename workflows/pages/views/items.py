"""The items of a parallel step: which are completed, with their results."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.models import StageKind, with_current
from workflows.pages.access import members_only
from workflows.pages.lists.pagination import forward_page
from workflows.pages.query_string import int_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.views.runs import readable_run
from workflows.pages.views.states import MAX_SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflows.models import Run, Stage
    from workflows.pages.requests import HtmxRequest

ITEMS = 100  # on one page
MAX_MISSING = 50  # indexes that are listed


@require_safe
@members_only
@answers_request_errors
def items(request: HtmxRequest, run_id: UUID, sequence: int) -> HttpResponse:
    """Show a page of completed items, and the first indexes without a result."""
    run = readable_run(request, run_id)
    if sequence > MAX_SEQUENCE:
        raise Http404
    ended = run.stages.filter(sequence=sequence).order_by("attempt")
    stages = [
        stage for stage in with_current(run, ended) if _has_items(stage, sequence)
    ]
    if not stages:
        raise Http404
    stage = stages[-1]  # of the last attempt
    after = int_in(request.GET, "after")
    rows = run.items.filter(sequence=sequence)
    page = forward_page(rows, after=after, size=ITEMS, key="index")
    done = rows.count()
    total = max(stage.items_total or 0, done)
    # A completed step may have a million items: their indexes are not read.
    unfinished = _missing(run, sequence, total) if done < total else ()
    missing = list(islice(unfinished, MAX_MISSING + 1))
    context = {
        "run": run,
        "stage": stage,
        "rows": [
            {"number": row.index + 1, "value": json.loads(row.data)}
            for row in page.rows
        ],
        "done": done,
        "total": total,
        "missing": missing[:MAX_MISSING],
        "more_missing": len(missing) > MAX_MISSING,
        "after": after,
        "next": page.after,
    }
    return render(request, "runs/items.html", context)


def _has_items(stage: Stage, sequence: int) -> bool:
    is_of_node = stage.sequence == sequence and stage.kind != StageKind.UNDO
    return is_of_node and stage.items_total is not None


def _missing(run: Run, sequence: int, total: int) -> Iterator[int]:
    """Yield the numbers of items without a result, in order, counted from 1."""
    rows = run.items.filter(sequence=sequence).order_by("index")
    following = 0  # the index that comes next
    for index in rows.values_list("index", flat=True).iterator():
        yield from range(following + 1, index + 1)
        following = index + 1
    yield from range(following + 1, total + 1)
