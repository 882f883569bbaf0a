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
from workflows.pages.views.history import json_file
from workflows.pages.views.runs import readable_run
from workflows.system import system

if TYPE_CHECKING:
    from typing import Any

    from workflows.pages.requests import HtmxRequest

MAX_SEQUENCE = 2**31 - 1  # of a step


@require_safe
@members_only
@answers_request_errors
def state(request: HtmxRequest, run_id: UUID, sequence: int) -> HttpResponse:
    """Show the changes of a step, and the state before and after it."""
    run = readable_run(request, run_id)
    if sequence > MAX_SEQUENCE:
        raise Http404
    context: dict[str, Any] = {"run": run, "sequence": sequence}
    checkpoint = run.checkpoints.filter(sequence=sequence).defer("data").first()
    if checkpoint is None:
        raise Http404
    try:
        before, after, changes = system.get_states(run_id, sequence)
    except CheckpointMismatch as error:
        context["changes_error"] = str(error)
    else:
        context |= {"before": before, "after": after, "changes": changes}
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
