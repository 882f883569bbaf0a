"""Who works on an approval: claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.shortcuts import redirect, render

from workflows.pages.access import members_only
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import int_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.views.runs import after, visible_run
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

FROM_LIST = "list"  # a field of forms in lists, whose region is updated by its socket


@posts_only
@members_only
@answers_request_errors
def claim(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Note that the user works on the approval of a run."""
    system.claim_approval(run_id, by=request.user, sequence=_sequence(request))
    messages.success(request, "Claimed: others can see that you are working on it.")
    return _after(request, run_id)


@posts_only
@members_only
@answers_request_errors
def release(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """End the claim of the approval of a run."""
    system.release_approval(run_id, by=request.user, sequence=_sequence(request))
    messages.success(request, "Released: it is unclaimed now.")
    return _after(request, run_id)


def _sequence(request: HtmxRequest) -> int | None:
    return int_in(request.POST, "question")


def _after(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Respond with the page that the form is on."""
    if not request.POST.get(FROM_LIST):
        return after(request, visible_run(request, run_id))
    if request.htmx:
        return render(request, "messages.html", {"oob": True})
    return redirect("approvals")
