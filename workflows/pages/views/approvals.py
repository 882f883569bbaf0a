"""Approvals: the user's inbox, and submitting a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.contrib import messages
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.views.decorators.http import require_safe

from workflows.errors import InvalidParams, ReasonInvalid
from workflows.models import Approval, ApprovalStatus, ApprovalVote, Run
from workflows.pages import access
from workflows.pages.access import members_only
from workflows.pages.lists import open_approvals
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import int_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID, reason_of
from workflows.pages.run.page import RunPage, response_form
from workflows.pages.views.runs import after, run_response, visible_run
from workflows.services.approvals import require_open
from workflows.system import system

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest
    from workflows.pages.run.sections import ResponseForm

MAX_QUESTION_LENGTH: Final = 80  # characters, in a link


@require_safe
@members_only
def list_approvals(request: HtmxRequest) -> HttpResponse:
    """Show the open approvals of the user."""
    context = LISTS["approvals"].context(request.GET.dict(), request.user)
    return render(request, "approvals/list.html", context)


@posts_only
@members_only
@answers_request_errors
def respond(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Submit the decision of an open approval; show an invalid form again."""
    found = visible_run(request, run_id)
    if has_responded(request, found):
        messages.info(request, "You already submitted your decision. It is saved.")
        return after(request, found)
    approval = system.find_approval(run_id)
    require_open(approval, int_in(request.POST, "question"))
    form = response_form(
        approval, data=request.POST, files=request.FILES, by=request.user
    )
    if form.is_valid() and submit(request, approval, form):
        run = system.find_run(run_id, by=request.user)
        approval.refresh_from_db(fields=["status"])  # the run may wait again already
        is_open = approval.status == ApprovalStatus.OPEN  # for further votes
        what_next = "The run waits for others." if is_open else "Run resumed."
        said = f"Decision saved. {what_next}"
        messages.success(request, with_next(said, approval, request.user))
        return after(request, run)
    page = RunPage(found, access.run_permissions(request.user, found), form)
    return run_response(request, found, page, status=INVALID)


def with_next(said: str, approval: Approval, user: User) -> str:
    """Return a message with a link to the approval that the user responds to next."""
    following = open_approvals.next_open(user, approval)
    if following is None:
        return f"{said} You’re all caught up."
    address = f"{reverse('run', args=[following.run_id])}#run-approval"
    return format_html(
        '{} <a href="{}">Next approval: {}</a>',
        said,
        address,
        Truncator(following.question).chars(MAX_QUESTION_LENGTH),
    )


def has_responded(request: HtmxRequest, found: Run) -> bool:
    """Return whether this response of the user to the approval was accepted before.

    They send it again if the response to the first time was an error. Another decision or
    reason, from another tab, is a second response, which is rejected.
    """
    question = int_in(request.POST, "question")
    if question is None:
        return False
    approval = found.approvals.filter(sequence=question).first()
    own = approval and response_of(approval, request.user)
    if approval is None or own is None or own.comment != reason_of(request):
        return False
    form = response_form(
        approval, data=request.POST, files=request.FILES, by=request.user
    )
    return form.is_valid() and form.values().items() <= (own.response or {}).items()


def response_of(approval: Approval, user: User) -> Approval | ApprovalVote | None:
    """Return the row with the response of a user to an approval, None without one."""
    if approval.votes_needed > 1:
        return approval.votes.filter(voter=user.pk).first()
    return approval if approval.responded_by_id == user.pk else None


def submit(request: HtmxRequest, approval: Approval, form: ResponseForm) -> bool:
    """Record the decision; return False, with errors on the form, if it is invalid."""
    try:
        system.respond(
            *(approval.run_id, form.values()),
            by=request.user,
            comment=reason_of(request),
            sequence=approval.sequence,
        )
    except InvalidParams as error:
        form.add_validation_errors(error)
        return False
    except ReasonInvalid as error:
        form.add_error(None, str(error))
        return False
    return True
