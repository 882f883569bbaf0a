"""Bulk actions on runs, their jobs, and the export of matching runs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from workflows import bulk
from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import EmptySelection, InvalidLabel, ReasonInvalid
from workflows.pages.access import members_only
from workflows.pages.lists import bulk_operations
from workflows.pages.lists.columns import Columns
from workflows.pages.lists.export import KINDS, Export
from workflows.pages.lists.run_filters import RunFilters
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import parse_query, uuid_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID, reason_of
from workflows.pages.signed_ids import new_signed_id, signed_id
from workflows.pages.streaming import streamed
from workflows.pages.views.run_list import as_sent
from workflows.services.labels import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflows.models import Run
    from workflows.pages.requests import HtmxRequest

COMPARED_RUNS = 2
ONCE = "bulk-once"  # field; makes a form that is sent twice start one job


@posts_only
@members_only
@answers_request_errors
def many(request: HtmxRequest) -> HttpResponse:
    """Ask for confirmation of a bulk action; once confirmed, start its job."""
    ids, back = _ids(request), _back(request)
    if request.POST.get("do") == "compare":
        return _compare(request, ids, back)
    action = bulk.BULK_ACTIONS.get(request.POST.get("do", ""))
    if action is None:
        return _error_page(request, back, "Choose an action.")
    label, error = _label(request, action)
    invalid = _error_in_reason(request, action)
    runs = _runs(request, ids)
    if error or invalid or not request.POST.get("confirmed"):
        entered = {"label": label, "error": error}
        entered |= {"reason": reason_of(request), "invalid": invalid}
        preview = bulk_operations.preview(action, runs, request.user)
        return _confirmation_page(request, action, preview, entered)
    job = bulk.start(
        action,
        runs,
        by=request.user,
        reason=reason_of(request),
        label=label,
        job_id=signed_id(request.POST.get(ONCE, ""), request.user, ONCE),
    )
    return redirect("bulk-job", job_id=job.pk)


def _confirmation_page(
    request: HtmxRequest,
    action: bulk.BulkAction,
    preview: bulk_operations.Preview,
    entered: dict[str, str],
) -> HttpResponse:
    back = _back(request)
    if not preview.total:
        return _error_page(request, back, str(EmptySelection()), action)
    context = {
        "action": action,
        "back": back,
        "query": request.POST.get("query", ""),
        "scope": request.POST.get("scope", ""),
        "chosen": _ids(request),
        "found": preview,
        "once": new_signed_id(request.user, ONCE),
        **entered,
    }
    is_invalid = entered["error"] or entered["invalid"]
    return render(
        request, "runs/bulk.html", context, status=INVALID if is_invalid else 200
    )


@require_safe
@members_only
@answers_request_errors
def job(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    """Show the progress of a job and the result for each run."""
    bulk.find(job_id, by=request.user)
    query = {**request.GET.dict(), "job": str(job_id)}
    context = bulk_operations.context(query, request.user)
    return render(request, "runs/job.html", context)


@posts_only
@members_only
@answers_request_errors
def cancel(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    """Cancel a job; runs that it has not reached stay unchanged."""
    cancelled = bulk.cancel(job_id, by=request.user)
    if cancelled.cancelled_at:
        messages.success(
            request, f"Bulk operation cancelled. {cancelled.remaining} runs unchanged."
        )
    else:
        messages.info(request, "This bulk operation has already finished.")
    return redirect("bulk-job", job_id=job_id)


def _error_page(
    request: HtmxRequest,
    back: str,
    error: str,
    action: bulk.BulkAction | None = None,
) -> HttpResponse:
    context = {"back": back, "error": error, "action": action}
    return render(request, "runs/bulk.html", context, status=INVALID)


def _ids(request: HtmxRequest) -> list[UUID]:
    texts = request.POST.getlist("run")
    return [run_id for text in texts if (run_id := uuid_in(text))]


def _runs(request: HtmxRequest, ids: list[UUID]) -> Iterator[Run]:
    """Yield the selected runs, or the newest of all that match."""
    if request.POST.get("scope") != "all":
        return bulk_operations.selected(request.user, ids)
    newest = uuid_in(request.POST.get("newest", ""))
    return bulk_operations.matching(request.user, request.POST.get("query", ""), newest)


def _label(request: HtmxRequest, action: bulk.BulkAction) -> tuple[str, str]:
    """Return the label, and an error for an invalid one."""
    label = request.POST.get("label", "")
    if not action.needs_label or not request.POST.get("confirmed"):
        return "", ""
    try:
        return clean(label), ""
    except InvalidLabel as error:
        return label, str(error)


def _error_in_reason(request: HtmxRequest, action: bulk.BulkAction) -> str:
    """Return the error for a required reason that is missing or too long, else ""."""
    if action.needs_label or not request.POST.get("confirmed"):
        return ""
    try:
        audit_events.require_reason(reason_of(request), by=request.user)
    except ReasonInvalid as error:
        return str(error)
    return ""


def _compare(request: HtmxRequest, ids: list[UUID], back: str) -> HttpResponse:
    if len(ids) == COMPARED_RUNS:
        query = urlencode({"a": ids[1], "b": ids[0]})
        return redirect(f"{reverse('compare')}?{query}")
    error = f"Select two runs to compare; {len(ids)} selected."
    return _error_page(request, back, error)


def _back(request: HtmxRequest) -> str:
    """Return the URL of the run list with its filters."""
    query = urlencode(parse_query(request.POST.get("query", "")))
    return reverse("runs") + (f"?{query}" if query else "")


@require_safe
@members_only
@answers_request_errors
def export(request: HtmxRequest, kind: str) -> StreamingHttpResponse:
    """Stream the matching runs as a file. Raises TooManyDownloads."""
    if kind not in KINDS:
        raise Http404
    query = as_sent(request)
    filters, columns = RunFilters.read(query), Columns.read(query)
    runs = filters.by_index(request.user)
    read = permissions.permissions_for(request.user).read
    file = Export(runs, filters.by_value(), columns, kind, read)
    response = streamed(
        request,
        file.parts,
        name=f"runs-{timezone.now():%Y-%m-%d-%H%M}-UTC.{kind}",
        content_type=KINDS[kind],
    )
    response["Cache-Control"] = "no-store"
    return response
