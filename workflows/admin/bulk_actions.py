"""Bulk actions on runs in admin: preview and reason, then a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from workflows import bulk
from workflows.errors import EmptySelection, ReasonTooLong
from workflows.pages.lists import bulk_operations
from workflows.pages.requests import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from workflows.models import Run

ACTIONS = ("cancel", "resume", "rerun", "rerun-failed", "release", "pin", "delete")
"""Names of the bulk.BULK_ACTIONS that admin offers."""


def respond(
    request: HttpRequest,
    runs: QuerySet[Run],
    action: bulk.BulkAction,
    context: Mapping[str, Any],
) -> HttpResponse:
    """Return the preview with the form for the reason, or start the job.

    Redirects to the page of the job once a reason is given.
    """
    reason = reason_of(request)
    is_sent = "confirmed" in request.POST
    if not is_sent or not reason:
        found = bulk_operations.preview(action, _selected(runs), request.user)  # type: ignore[arg-type] # as below
        across = request.POST.get("select_across", "0") == "1"
        page = {
            **context,
            "title": f"{action.verb} runs",
            "bulk_action": action,
            "action": f"{action.name}_selected",
            "found": found,
            "missing": is_sent,
            "across": across,
            "name": ACTION_CHECKBOX_NAME,
            "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "most": bulk.MAX_RUNS,
        }
        return TemplateResponse(request, "admin/workflows/run/bulk_action.html", page)
    try:
        job = bulk.start(action, _selected(runs), by=request.user, reason=reason)  # type: ignore[arg-type] # admin asks members only
    except (EmptySelection, ReasonTooLong) as error:
        messages.warning(request, str(error))
        return redirect("admin:workflows_run_changelist")
    return redirect("bulk-job", job_id=job.pk)


def _selected(runs: QuerySet[Run]) -> Iterator[Run]:
    """Yield the selected runs, newest first, up to bulk.MAX_RUNS."""
    rows = runs.select_related(None).defer(None).only(*bulk_operations.NEEDED)
    yield from rows.order_by("-pk")[: bulk.MAX_RUNS].iterator(bulk_operations.READ)
