"""The page of a run, and the actions on it."""

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
from workflows.agents import keys
from workflows.errors import InvalidKey
from workflows.models import Run, Status
from workflows.pages import access
from workflows.pages.access import members_only
from workflows.pages.forms.launch_form import MAX_TOKEN_LENGTH
from workflows.pages.post_only_views import posts_only
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of
from workflows.pages.run.page import RunPage
from workflows.pages.run.shared_regions import render_all_regions
from workflows.pages.run.view_options import RunView
from workflows.system import system

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest


@require_safe
@members_only
@answers_request_errors
def run(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show a run."""
    found = visible_run(request, run_id)
    return run_response(request, found)


@posts_only
@members_only
@answers_request_errors
def cancel(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Cancel a run."""
    found = system.cancel(run_id, by=request.user, reason=reason_of(request))
    is_cancelled = found.status == Status.CANCELLED
    if is_cancelled:
        messages.success(request, f"Run {found.short_id} cancelled.")
    else:
        messages.success(request, f"Cancelling run {found.short_id}…")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def resume(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Resume a failed or cancelled run from its last step."""
    token = request.POST.get("token", "").strip()[:MAX_TOKEN_LENGTH]
    if not keys.is_valid(token):
        raise InvalidKey(keys.INVALID_KEY)
    found = system.resume(
        run_id, by=request.user, reason=reason_of(request), token=token
    )
    messages.success(request, f"Run {found.short_id} resumed from its last step.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def pin(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Pin a run, so that retention never deletes it; with `off`, unpin it."""
    pinned = not request.POST.get("off")
    found = system.set_pinned(
        run_id, by=request.user, reason=reason_of(request), pinned=pinned
    )
    result = "pinned: exempt from retention" if pinned else "unpinned"
    messages.success(request, f"Run {found.short_id} {result}.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def note(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Add a note to a run."""
    found = visible_run(request, run_id)
    system.add_note(run_id, request.POST.get("text", ""), by=request.user)
    messages.success(request, "Note added.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def label(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Add a label to a run, or remove the one that `off` names."""
    found = visible_run(request, run_id)
    if off := request.POST.get("off", ""):
        name = system.unlabel(run_id, off, by=request.user)
        messages.success(request, f"Label “{name}” removed.")
    else:
        name = system.label(run_id, request.POST.get("name", ""), by=request.user)
        messages.success(request, f"Label “{name}” added.")
    return after(request, found)


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Delete a finished run with its history."""
    found = visible_run(request, run_id)
    system.delete_run(run_id, by=request.user, reason=reason_of(request))
    messages.success(request, f"Run {found.short_id} deleted.")
    if request.htmx:
        return HttpResponseClientRedirect(reverse("runs"))
    return redirect("runs")


def visible_run(request: HtmxRequest, run_id: UUID) -> Run:
    """Return a run the user may see. Raises RunNotFound."""
    return system.find_run(run_id, by=request.user)


def readable_run(request: HtmxRequest, run_id: UUID) -> Run:
    """Return a run whose data the user may view. Raises RunNotFound, NotAllowed."""
    found = visible_run(request, run_id)
    may = rules.can_read(request.user, found.workflow_name)
    rules.require(may, "view the data of this run")
    return found


def after(request: HtmxRequest, found: Run) -> HttpResponse:
    """Respond to an action: the regions of the page for htmx, else a redirect to it."""
    if not request.htmx:
        return redirect("run", run_id=found.pk)
    return run_response(request, found)


def run_response(
    request: HtmxRequest, found: Run, page: RunPage | None = None, status: int = 200
) -> HttpResponse:
    """Return the run's page, or only its regions after an htmx POST."""
    if page is None:
        view = RunView.read(request.GET.dict())
        page = RunPage(found, access.run_permissions(request.user, found), view=view)
    if request.htmx and request.method == "POST":
        regions = render_all_regions(page)
        shown = render_to_string("messages.html", {"oob": True}, request)
        return HttpResponse("\n".join([*regions.values(), shown]), status=status)
    context = {"page": page, "run": found}
    return render(request, "runs/detail.html", context, status=status)
