"""The page of what-if reports: recorded decisions of a workflow with other thresholds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.errors import InvalidParams
from workflows.pages.access import members_only
from workflows.pages.catalog import entry
from workflows.pages.lists import period, what_if
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest


@require_safe
@members_only
@answers_request_errors
def report(request: HtmxRequest, name: str) -> HttpResponse:
    """Show which runs would have gone elsewhere, a part of the runs at a time."""
    thresholds = system.list_thresholds(name, by=request.user)
    sent = request.GET.dict()
    query = what_if.Query.read(name, thresholds, sent)
    context = {
        "workflow": entry(system.find_workflow(name, by=request.user)),
        "spans": period.CHOICES,
        "query": query,
    }
    if not query.is_sent:
        return render(request, "workflows/what_if.html", context)
    try:
        context |= what_if.evaluated(query, sent.get("part", ""), request.user)
    except InvalidParams as error:
        settings = [
            replace(one, error=" ".join(error.errors.get(one.threshold.name, ())))
            for one in query.settings
        ]
        context |= {"query": replace(query, settings=settings)}
        return render(request, "workflows/what_if.html", context, status=INVALID)
    return render(request, "workflows/what_if.html", context)
