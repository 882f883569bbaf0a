"""Cancelling and resuming many runs: first the reason, then a result for each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.template.response import TemplateResponse

from workflows.engine.errors import RequestError
from workflows.models import Run
from workflows.system import system

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

MOST_AT_ONCE = 1_000  # runs; a form has a bounded number of fields
MOST_REASON = 2_000  # characters


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that is done to runs."""

    action: str  # name of the admin action
    verb: str
    done: str
    perform: Callable[..., Run]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it for one run."""

    run: Run
    refusal: str = ""  # "" = it was done


CANCEL = Deed("cancel_selected", "Cancel", "cancelled", system.cancel)
RESUME = Deed("resume_selected", "Resume", "resumed", system.resume)
KEEP = Deed("keep_selected", "Keep", "kept for good", system.keep)


def answer(
    request: HttpRequest, runs: QuerySet[Run], deed: Deed, context: Mapping[str, Any]
) -> HttpResponse:
    """Return the page that asks for the reason; once it is given, what came of it."""
    selected = list(runs.select_related("launched_by")[: MOST_AT_ONCE + 1])
    page = {**context, "deed": deed, "title": f"{deed.verb} runs"}
    if len(selected) > MOST_AT_ONCE:
        return _page(request, {**page, "too_many": MOST_AT_ONCE})
    reason = request.POST.get("reason", "").replace("\x00", "").strip()[:MOST_REASON]
    if "confirmed" not in request.POST or not reason:
        asked = "confirmed" in request.POST
        page |= {"runs": selected, "name": ACTION_CHECKBOX_NAME, "missing": asked}
        return _page(request, page)
    results = [_result(request, run, deed, reason) for run in selected]
    refused = sum(bool(result.refusal) for result in results)
    page |= {"results": results, "refused": refused, "done": len(results) - refused}
    return _page(request, page)


def _result(request: HttpRequest, run: Run, deed: Deed, reason: str) -> Result:
    try:
        return Result(deed.perform(run.pk, by=request.user, reason=reason))
    except RequestError as refusal:
        return Result(run, str(refusal))


def _page(request: HttpRequest, context: Mapping[str, Any]) -> HttpResponse:
    return TemplateResponse(request, "admin/workflows/run/deed.html", dict(context))
