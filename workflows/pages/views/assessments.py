"""The page on which a run or a decision is assessed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from workflows.access import permissions
from workflows.errors import InvalidParams
from workflows.models import WHOLE_RUN, Assessment
from workflows.pages import redaction
from workflows.pages.access import members_only
from workflows.pages.query_string import int_in, parse_query
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID
from workflows.pages.views.runs import visible_run
from workflows.services.assessments import edge_taken
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

VERDICTS: Final = {"right": True, "wrong": False, "none": None}


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def assess(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show the assessment of a run, or of the decision after a step; change it on POST."""
    found = visible_run(request, run_id)
    may = permissions.can_note_run(request.user, found)
    permissions.require(may, "assess this run")
    step = int_in(request.GET, "step") or WHOLE_RUN
    row = Assessment.objects.filter(run=found, sequence=step).first()
    if not permissions.can_read(request.user, found.workflow_name):
        redaction.redact(found)
        if row is not None:
            redaction.redact(row)
    back = address_of_list(request)
    context: dict[str, Any] = {"run": found, "step": step, "assessment": row}
    context |= {"back": back, "edge": edge_taken(found, step)}
    context["note"] = row.note if row else ""
    if request.method == "POST":
        note, chosen = request.POST.get("note", ""), request.POST.get("verdict", "")
        error = "" if chosen in VERDICTS else "Choose right or wrong."
        try:
            if not error:
                verdict = VERDICTS[chosen]
                system.assess(run_id, verdict, step=step, note=note, by=request.user)
        except InvalidParams as invalid:
            error = str(invalid)
        if not error:
            messages.success(request, "Assessment saved.")
            return redirect(back or reverse("run", args=[run_id]))
        context |= {"error": error, "note": note}
    status = INVALID if request.method == "POST" else 200
    return render(request, "runs/assess.html", context, status=status)


def address_of_list(request: HtmxRequest) -> str:
    """Return the page of decisions that the viewer came from, "" if it is another page."""
    query = request.GET.get("list")
    if query is None:
        return ""
    return f"{reverse('decisions')}?{urlencode(parse_query(query))}"
