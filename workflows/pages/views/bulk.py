"""One deed on many runs, and the runs that match as a file."""

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
from workflows.errors import EmptySelection, InvalidLabel, ReasonMissing
from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.pages.lists import bulk_jobs
from workflows.pages.lists.columns import Columns
from workflows.pages.lists.export import KINDS, Export
from workflows.pages.lists.run_filters import RunFilters, id_in, read_query
from workflows.pages.methods import posts_only
from workflows.pages.requests import INVALID, reason_of
from workflows.pages.views.run_list import as_sent
from workflows.services.labels import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflows.models import Run
    from workflows.pages.requests import HtmxRequest

TWO = 2  # runs are compared


@posts_only
@members_only
@answers_request_errors
def many(request: HtmxRequest) -> HttpResponse:
    """Ask whether it is meant; then write it down as a job, and show how far it is."""
    ids, back = _ids(request), _back(request)
    if request.POST.get("do") == "compare":
        return _compare(request, ids, back)
    deed = bulk.BULK_ACTIONS.get(request.POST.get("do", ""))
    if deed is None:
        return _refused(request, back, "Choose what to do.")
    label, error = _label(request, deed)
    missing = _missing_reason(request, deed)
    runs = _runs(request, ids)
    if error or missing or not request.POST.get("confirmed"):
        said = {"error": error, "label": label, "missing": missing}
        return _asked(request, deed, bulk_jobs.preview(deed, runs, request.user), said)
    reason = reason_of(request)
    job = bulk.start(deed, runs, by=request.user, reason=reason, label=label)
    return redirect("bulk-job", job_id=job.pk)


def _asked(
    request: HtmxRequest,
    deed: bulk.BulkAction,
    found: bulk_jobs.Preview,
    said: dict[str, str],
) -> HttpResponse:
    """Show what would happen, and ask whether it is meant."""
    back = _back(request)
    if not found.total:
        return _refused(request, back, str(EmptySelection()), deed)
    context = {
        "deed": deed,
        "back": back,
        "query": request.POST.get("query", ""),
        "scope": request.POST.get("scope", ""),
        "chosen": _ids(request),
        "found": found,
        **said,
    }
    is_wrong = said["error"] or said["missing"]
    return render(
        request, "runs/bulk.html", context, status=INVALID if is_wrong else 200
    )


@require_safe
@members_only
@answers_request_errors
def job(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    """Show how far a job has come, and what became of each run."""
    bulk.find(job_id, by=request.user)
    query = {**request.GET.dict(), "job": str(job_id)}
    context = bulk_jobs.context(query, request.user)
    return render(request, "runs/job.html", context)


@posts_only
@members_only
@answers_request_errors
def stop(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    """Do no more of a job."""
    stopped = bulk.stop(job_id, by=request.user)
    if stopped.stopped_at:
        messages.success(
            request, f"Stopped: {stopped.remaining} runs were left as they are."
        )
    else:
        messages.info(request, "It had come to its end already.")
    return redirect("bulk-job", job_id=job_id)


def _refused(
    request: HtmxRequest, back: str, said: str, deed: bulk.BulkAction | None = None
) -> HttpResponse:
    context = {"back": back, "error": said, "deed": deed}
    return render(request, "runs/bulk.html", context, status=INVALID)


def _ids(request: HtmxRequest) -> list[UUID]:
    return [found for text in request.POST.getlist("run") if (found := id_in(text))]


def _runs(request: HtmxRequest, ids: list[UUID]) -> Iterator[Run]:
    """Yield the runs that were ticked, or the newest of all that match."""
    if request.POST.get("scope") != "all":
        return bulk_jobs.ticked(request.user, ids)
    newest = id_in(request.POST.get("newest", ""))
    return bulk_jobs.matching(request.user, request.POST.get("query", ""), newest)


def _label(request: HtmxRequest, deed: bulk.BulkAction) -> tuple[str, str]:
    """Return the label and, if one was given that cannot be one, why."""
    label = request.POST.get("label", "")
    if not deed.needs_label or not request.POST.get("confirmed"):
        return "", ""
    try:
        return clean(label), ""
    except InvalidLabel as refused:
        return label, str(refused)


def _missing_reason(request: HtmxRequest, deed: bulk.BulkAction) -> str:
    """Return what is said where a reason is needed and none was given."""
    needs_none = deed.needs_label or not request.POST.get("confirmed")
    return "" if needs_none or reason_of(request) else str(ReasonMissing())


def _compare(request: HtmxRequest, ids: list[UUID], back: str) -> HttpResponse:
    if len(ids) == TWO:
        query = urlencode({"a": ids[1], "b": ids[0]})
        return redirect(f"{reverse('compare')}?{query}")
    return _refused(request, back, f"Choose two runs to compare, not {len(ids)}.")


def _back(request: HtmxRequest) -> str:
    """Return the list one came from, with its filters."""
    query = urlencode(read_query(request.POST.get("query", "")))
    return reverse("runs") + (f"?{query}" if query else "")


@require_safe
@members_only
def export(request: HtmxRequest, kind: str) -> StreamingHttpResponse:
    """Give the runs that match as a file, written while it is read."""
    if kind not in KINDS:
        raise Http404
    query = as_sent(request)
    filters, columns = RunFilters.read(query), Columns.read(query)
    runs = filters.by_index(request.user)
    read = permissions.permissions_for(request.user).read
    file = Export(runs, filters.by_value(), columns, kind, read)
    response = StreamingHttpResponse(file.parts(), content_type=KINDS[kind])
    name = f"runs-{timezone.now():%Y-%m-%d-%H%M}-UTC.{kind}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response
