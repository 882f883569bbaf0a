"""One deed on many runs, and the runs that match as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from workflows import access
from workflows.errors import InvalidLabel, ReasonMissing
from workflows.labelling import clean
from workflows.pages import bulk
from workflows.pages.access import members_only
from workflows.pages.columns import Columns
from workflows.pages.export import KINDS, Export
from workflows.pages.run_filters import RunFilters, id_in, read_query
from workflows.pages.views.run_list import as_sent
from workflows.pages.views.runs import reason_of
from workflows.pages.walk import page_of

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.models import Run
    from workflows.pages.requests import HtmxRequest

INVALID = 422
TWO = 2  # runs are compared


@require_POST
@members_only
def many(request: HtmxRequest) -> HttpResponse:
    """Ask whether it is meant, then do it to each run and tell what became of it."""
    ids, back = _ids(request), _back(request)
    if request.POST.get("do") == "compare":
        return _compare(request, ids, back)
    deed = bulk.DEEDS.get(request.POST.get("do", ""))
    runs = _runs(request, ids)
    context: dict[str, Any] = {
        "deed": deed,
        "back": back,
        "query": request.POST.get("query", ""),
    }
    if deed is None or not runs:
        said = "Choose at least one run." if deed else "Choose what to do."
        return render(
            request, "runs/bulk.html", context | {"error": said}, status=INVALID
        )
    label, error = _label(request, deed)
    missing = _missing_reason(request, deed)
    if error or missing or not request.POST.get("confirmed"):
        context |= _preview(deed, runs)
        context |= {"error": error, "label": label, "missing": missing}
        status = INVALID if error or missing else 200
        return render(request, "runs/bulk.html", context, status=status)
    results = bulk.do_to_all(
        deed, runs, by=request.user, reason=reason_of(request), label=label
    )
    done = sum(one.ok for one in results)
    context |= {"results": results, "done": done, "refused": len(results) - done}
    return render(request, "runs/bulk.html", context)


def _ids(request: HtmxRequest) -> list[UUID]:
    return [found for text in request.POST.getlist("run") if (found := id_in(text))]


def _runs(request: HtmxRequest, ids: list[UUID]) -> list[Run]:
    """Return the runs that were ticked, or the newest of all that match."""
    if request.POST.get("scope") != "all":
        return bulk.chosen(request.user, ids)
    filters = RunFilters.read(read_query(request.POST.get("query", "")))
    runs = filters.by_index(request.user)
    return page_of(runs, filters.by_value(), size=bulk.MOST, indexed=True).rows


def _preview(deed: bulk.Deed, runs: list[Run]) -> dict[str, object]:
    rows = [(run, deed.fits(run)) for run in runs]
    fitting = sum(fits for _, fits in rows)
    return {"runs": rows, "fitting": fitting, "others": len(runs) - fitting}


def _label(request: HtmxRequest, deed: bulk.Deed) -> tuple[str, str]:
    """Return the label and, if one was given that cannot be one, why."""
    label = request.POST.get("label", "")
    if not deed.needs_label or not request.POST.get("confirmed"):
        return "", ""
    try:
        return clean(label), ""
    except InvalidLabel as refused:
        return label, str(refused)


def _missing_reason(request: HtmxRequest, deed: bulk.Deed) -> str:
    """Return what is said where a reason is needed and none was given."""
    needs_none = deed.needs_label or not request.POST.get("confirmed")
    return "" if needs_none or reason_of(request) else str(ReasonMissing())


def _compare(request: HtmxRequest, ids: list[UUID], back: str) -> HttpResponse:
    if len(ids) == TWO:
        query = urlencode({"a": ids[1], "b": ids[0]})
        return redirect(f"{reverse('compare')}?{query}")
    said = f"Choose two runs to compare, not {len(ids)}."
    context = {"back": back, "error": said}
    return render(request, "runs/bulk.html", context, status=INVALID)


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
    read = access.sight_of(request.user).read
    file = Export(runs, filters.by_value(), columns, kind, read)
    response = StreamingHttpResponse(file.parts(), content_type=KINDS[kind])
    name = f"runs-{timezone.localtime():%Y-%m-%d-%H%M}.{kind}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response
