"""Comparison of two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.pages.access import members_only
from workflows.pages.lists.live_lists import list_visible_runs, redacted_for
from workflows.pages.query_string import text_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.run.compare import LEGEND, Comparison
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.models import Run
    from workflows.pages.requests import HtmxRequest

MAX_OFFERED_RUNS = 30
MAX_ID_LENGTH = 40  # characters


@require_safe
@members_only
@answers_request_errors
def compare(request: HtmxRequest) -> HttpResponse:
    """Compare two runs, or show which runs one can be compared with."""
    first, second = _run(request, "a"), _run(request, "b")
    if first is None or second is None or first.pk == second.pk:
        one = first or second
        context = {
            "one": one,
            "others": _others(request, one) if one else [],
            "can_launch": one
            and permissions.can_launch(request.user, one.workflow_name),
        }
        return render(request, "runs/compare_with.html", context)
    shown = {"both": Comparison(first, second), "legend": LEGEND}
    return render(request, "runs/compare.html", shown)


def _run(request: HtmxRequest, name: str) -> Run | None:
    """Return a run of the query. Raises RunNotFound."""
    if not request.GET.get(name):
        return None
    text = text_in(request.GET, name, MAX_ID_LENGTH)
    found = system.find_run(text, by=request.user)
    return redacted_for(request.user, [found])[0]


def _others(request: HtmxRequest, run: Run) -> list[Run]:
    runs = list_visible_runs(request.user, workflow=run.workflow_name)
    return redacted_for(request.user, runs.exclude(pk=run.pk)[:MAX_OFFERED_RUNS])
