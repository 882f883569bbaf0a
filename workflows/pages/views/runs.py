"""One run, and what people do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRedirect

from workflows.access import permissions as rules
from workflows.models import Run, Status
from workflows.pages import access
from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.pages.forms.launch_form import MAX_TOKEN_LENGTH
from workflows.pages.methods import posts_only
from workflows.pages.requests import reason_of
from workflows.pages.run.page import RunPage
from workflows.pages.run.parts import render_regions
from workflows.pages.run.view import RunView
from workflows.system import system

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest


@require_safe
@members_only
@answers_request_errors
def run(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show everything about one run."""
    found = visible_run(request, run_id)
    return run_response(request, found)


@posts_only
@members_only
@answers_request_errors
def cancel(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Ask a run to stop."""
    found = system.cancel(run_id, by=request.user, reason=reason_of(request))
    said = "was cancelled" if found.status == Status.CANCELLED else "is being stopped"
    messages.success(request, f"Run {found.short_id} {said}.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def resume(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Queue a failed or cancelled run again, from its last step."""
    token = request.POST.get("token", "").strip()[:MAX_TOKEN_LENGTH]
    found = system.resume(
        run_id, by=request.user, reason=reason_of(request), token=token
    )
    messages.success(request, f"Run {found.short_id} goes on from its last step.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def keep(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Keep a run whatever the rules of retention say; with `off`, no longer."""
    golden = not request.POST.get("off")
    found = system.keep(
        run_id, by=request.user, reason=reason_of(request), golden=golden
    )
    said = "is kept for good" if golden else "goes when its time has come"
    messages.success(request, f"Run {found.short_id} {said}.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def note(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Add a note to a run."""
    found = visible_run(request, run_id)
    system.add_note(run_id, request.POST.get("text", ""), by=request.user)
    messages.success(request, "The note was added.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def label(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Put a label on a run, or take the one off that `off` names."""
    found = visible_run(request, run_id)
    if off := request.POST.get("off", ""):
        name = system.unlabel(run_id, off, by=request.user)
        messages.success(request, f"The label “{name}” was taken off.")
    else:
        name = system.label(run_id, request.POST.get("name", ""), by=request.user)
        messages.success(request, f"The run is labelled “{name}”.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Delete an ended run with its history."""
    found = visible_run(request, run_id)
    system.delete_run(run_id, by=request.user, reason=reason_of(request))
    messages.success(request, f"Run {found.short_id} was deleted.")
    if request.htmx:
        return HttpResponseClientRedirect(reverse("runs"))
    return redirect("runs")


def visible_run(request: HtmxRequest, run_id: UUID) -> Run:
    """Return a run this person may see. Raises RunNotFound."""
    return system.find_run(run_id, by=request.user)


def readable_run(request: HtmxRequest, run_id: UUID) -> Run:
    """Return a run whose values this person may read. Raises RunNotFound, NotAllowed."""
    found = visible_run(request, run_id)
    may = rules.may_read(request.user, found.workflow_name)
    rules.require(may, "read the values of this run")
    return found


def after(request: HtmxRequest, found: Run) -> HttpResponse:
    """Answer a deed: the changed regions to a live page, else the page anew."""
    if not request.htmx:
        return redirect("run", run_id=found.pk)
    return run_response(request, found)


def run_response(
    request: HtmxRequest, found: Run, page: RunPage | None = None, status: int = 200
) -> HttpResponse:
    """Return the run's page, or its regions where it is open already."""
    if page is None:
        view = RunView.read(request.GET.dict())
        page = RunPage(found, access.rights(request.user, found), view=view)
    if request.htmx and request.method == "POST":
        regions = render_regions(page)
        said = render_to_string("messages.html", {"oob": True}, request)
        return HttpResponse("\n".join([*regions.values(), said]), status=status)
    context = {"page": page, "run": found}
    return render(request, "runs/detail.html", context, status=status)
