"""The items of a parallel step: status, tries, time, result or error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.pages.access import members_only, run_permissions
from workflows.pages.lists.step_items import Place, items_of_step, stage_with_items
from workflows.pages.query_string import int_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.views.runs import readable_run
from workflows.pages.views.states import MAX_SEQUENCE
from workflows.services import actions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.pages.requests import HtmxRequest


# query parameters: the index of an item after which the page begins
FAILED: Final = "failed"
COMPLETED: Final = "after"
PARAMETERS: Final = (FAILED, COMPLETED)


@require_safe
@members_only
@answers_request_errors
def items(request: HtmxRequest, run_id: UUID, sequence: int) -> HttpResponse:
    """Show a page of items, those that failed first, and which have not run."""
    run = readable_run(request, run_id)
    if sequence > MAX_SEQUENCE:
        raise Http404
    stage = stage_with_items(run, sequence)
    if stage is None:
        raise Http404
    after = _place_in(request.GET)
    found = items_of_step(run, stage, after)
    granted = run_permissions(request.user, run)
    can_rerun = run.is_ended and granted.launch and run.payload_removed_at is None
    offered = actions.offered(run, granted.granted)
    context = {
        "run": run,
        "stage": stage,
        "found": found,
        "parameter": FAILED if found.after and found.after.is_failed else COMPLETED,
        "can_rerun": can_rerun and stage.branch is None,
        "can_resume": "resume" in offered and sequence == run.sequence + 1,
        "after": after,
    }
    return render(request, "runs/items.html", context)


def _place_in(query: Mapping[str, str]) -> Place | None:
    for name in PARAMETERS:
        index = int_in(query, name)
        if index is not None:
            return Place(name == FAILED, index)
    return None
