"""Who works on an approval, and when: claims, assignments, snoozes and reminders."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from django.contrib import messages
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django_htmx.http import HttpResponseClientRedirect

from workflows.pages.access import members_only
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import int_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of
from workflows.pages.views.runs import after, visible_run
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MAX_HOURS: Final = 10_000
# A field of forms in lists, whose region is updated by its websocket
FROM_LIST: Final = "list"


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
    """End claim and assignment of the approval of a run."""
    system.release_approval(run_id, by=request.user, sequence=_sequence(request))
    messages.success(request, "Released: it is neither claimed nor assigned now.")
    return _after(request, run_id)


@posts_only
@members_only
@answers_request_errors
def reassign(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Assign the approval of a run to a person or group."""
    found = system.reassign_approval(
        run_id,
        request.POST.get("to", "").replace("\x00", ""),
        by=request.user,
        reason=reason_of(request),
        sequence=_sequence(request),
    )
    messages.success(request, f"Assigned to {found.name}, who is notified.")
    return _after(request, run_id)


@posts_only
@members_only
@answers_request_errors
def escalate(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Let the approval of a run go to the group that its workflow declares, now."""
    found = system.escalate_approval(
        run_id,
        by=request.user,
        reason=reason_of(request),
        sequence=_sequence(request),
    )
    messages.success(request, f"Escalated to {found.to}, whose members are notified.")
    return _after(request, run_id)


@posts_only
@members_only
@answers_request_errors
def snooze(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Hide the approval of a run from the lists of the user; without hours, show it again."""
    hours = int_in(request.POST, "hours") or 0
    until = timezone.now() + dt.timedelta(hours=min(hours, MAX_HOURS))
    found = system.snooze_approval(
        run_id, until if hours else None, by=request.user, sequence=_sequence(request)
    )
    text = f"Hidden until {_local(found)}." if found else "Shown in your lists again."
    messages.success(request, text)
    if request.POST.get(FROM_LIST) or not found:
        return _after(request, run_id)
    return redirect("approvals") if not request.htmx else _redirected()


@posts_only
@members_only
@answers_request_errors
def remind(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Notify the approvers of a run again."""
    system.remind_approvers(run_id, by=request.user, sequence=_sequence(request))
    messages.success(request, "Reminder sent.")
    return _after(request, run_id)


def _local(time: dt.datetime) -> str:
    return f"{timezone.localtime(time):%-d %b %Y, %H:%M %Z}"


def _redirected() -> HttpResponse:
    return HttpResponseClientRedirect(reverse("approvals"))


def _sequence(request: HtmxRequest) -> int | None:
    return int_in(request.POST, "question")


def _after(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Respond with the page that the form is on."""
    if not request.POST.get(FROM_LIST):
        return after(request, visible_run(request, run_id))
    if request.htmx:
        return render(request, "messages.html", {"oob": True})
    return redirect("approvals")
