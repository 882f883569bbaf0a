"""Comparing two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.pages.lists.live_lists import as_read, seen
from workflows.pages.run.compare import LEGEND, Comparison
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.models import Run
    from workflows.pages.requests import HtmxRequest

OFFERED = 30  # runs to compare with


@require_safe
@members_only
@answers_request_errors
def compare(request: HtmxRequest) -> HttpResponse:
    """Show two runs beside each other, or ask which."""
    first, second = _run(request, "a"), _run(request, "b")
    if first is None or second is None or first.pk == second.pk:
        one = first or second
        context = {
            "one": one,
            "others": _others(request, one) if one else [],
            "may_launch": one
            and permissions.may_launch(request.user, one.workflow_name),
        }
        return render(request, "runs/compare_with.html", context)
    shown = {"both": Comparison(first, second), "legend": LEGEND}
    return render(request, "runs/compare.html", shown)


def _run(request: HtmxRequest, name: str) -> Run | None:
    """Return a run of the query. Raises RunNotFound."""
    text = request.GET.get(name, "").strip()
    if not text:
        return None
    found = system.find_run(text.replace("\x00", "")[:40], by=request.user)
    return as_read([found], request.user)[0]


def _others(request: HtmxRequest, one: Run) -> list[Run]:
    runs = seen(request.user, workflow=one.workflow_name).exclude(pk=one.pk)
    return as_read(runs[:OFFERED], request.user)
