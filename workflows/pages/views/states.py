"""The state of a run before and after one of its steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.engine.errors import CheckpointMismatch
from workflows.pages.access import members_only
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.run.state_diff import diff_of
from workflows.pages.views.history import json_file
from workflows.pages.views.runs import readable_run
from workflows.system import system

if TYPE_CHECKING:
    from typing import Any

    from workflows.pages.requests import HtmxRequest

CHANGES = "changes"  # value of `show`
MAX_SEQUENCE = 2**31 - 1  # of a step


@require_safe
@members_only
@answers_request_errors
def state(request: HtmxRequest, run_id: UUID, sequence: int) -> HttpResponse:
    """Show the state before and after a step, aligned; `?show=changes` without the rest."""
    run = readable_run(request, run_id)
    if sequence > MAX_SEQUENCE:
        raise Http404
    only_changes = request.GET.get("show") == CHANGES
    context: dict[str, Any] = {
        "run": run,
        "sequence": sequence,
        "only_changes": only_changes,
        "query": f"?show={CHANGES}" if only_changes else "",
    }
    checkpoint = run.checkpoints.filter(sequence=sequence).defer("data").first()
    if checkpoint is None:
        raise Http404
    try:
        before, after, _ = system.get_states(run_id, sequence)
    except CheckpointMismatch as error:
        context["changes_error"] = str(error)
    else:
        context["after"] = after
        if before is not None:
            context["diff"] = diff_of(before, after, only_changes=only_changes)
    context |= {
        "checkpoint": checkpoint,
        "previous": sequence - 1 if sequence else None,
        "next": sequence + 1 if sequence < run.sequence else None,
    }
    return render(request, "runs/state.html", context)


@require_safe
@members_only
@answers_request_errors
def download(request: HtmxRequest, run_id: UUID, sequence: int) -> HttpResponse:
    """Return the state after a step as a JSON file."""
    run = readable_run(request, run_id)
    if sequence > MAX_SEQUENCE:
        raise Http404
    try:
        _, after, _ = system.get_states(run_id, sequence)
    except CheckpointMismatch as error:
        return HttpResponse(str(error), content_type="text/plain", status=409)
    if after is None:
        raise Http404
    return json_file(json.loads(json.dumps(after)), f"{run.short_id}-{sequence}")
