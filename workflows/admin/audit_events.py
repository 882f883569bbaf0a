"""One deed on many runs, from admin: first a preview and the reason, then a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from workflows import bulk
from workflows.errors import EmptySelection
from workflows.pages.lists import bulk_jobs
from workflows.pages.requests import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from workflows.models import Run

ACTIONS = ("cancel", "resume", "again", "release", "keep", "delete")
"""What admin offers: names of bulk.BULK_ACTIONS."""


def answer(
    request: HttpRequest,
    runs: QuerySet[Run],
    deed: bulk.BulkAction,
    context: Mapping[str, Any],
) -> HttpResponse:
    """Return the page that tells what would happen and asks for the reason.

    Once it is given, the job is written down, and its page shown: it tells of each run.
    """
    reason = reason_of(request)
    is_sent = "confirmed" in request.POST
    if not is_sent or not reason:
        found = bulk_jobs.preview(deed, _lean(runs), request.user)  # type: ignore[arg-type] # as below
        across = request.POST.get("select_across", "0") == "1"
        page = {
            **context,
            "title": f"{deed.verb} runs",
            "deed": deed,
            "action": f"{deed.name}_selected",
            "found": found,
            "missing": is_sent,
            "across": across,
            "name": ACTION_CHECKBOX_NAME,
            "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "most": bulk.MAX_RUNS,
        }
        return TemplateResponse(request, "admin/workflows/run/bulk_action.html", page)
    try:
        job = bulk.start(deed, _lean(runs), by=request.user, reason=reason)  # type: ignore[arg-type] # admin asks members only
    except EmptySelection as refused:
        messages.warning(request, str(refused))
        return redirect("admin:workflows_run_changelist")
    return redirect("bulk-job", job_id=job.pk)


def _lean(runs: QuerySet[Run]) -> Iterator[Run]:
    """Yield the chosen runs, newest first, up to as many as one job takes."""
    rows = runs.select_related(None).defer(None).only(*bulk_jobs.NEEDED)
    yield from rows.order_by("-pk")[: bulk.MAX_RUNS].iterator(bulk_jobs.READ)
