"""Approvals: what waits for me, and my answer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib import messages
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.errors import AlreadyAnswered, InvalidParams, ReasonMissing
from workflows.models import Approval, ApprovalStatus, Run
from workflows.pages import access
from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.methods import posts_only
from workflows.pages.requests import INVALID, reason_of
from workflows.pages.run.page import RunPage, answer_form
from workflows.pages.views.runs import after, run_response, visible_run
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.forms.schema_form import SchemaForm
    from workflows.pages.requests import HtmxRequest


@require_safe
@members_only
def list_approvals(request: HtmxRequest) -> HttpResponse:
    """Show the questions that wait for the person who looks."""
    context = LISTS["approvals"].context(request.GET.dict(), request.user)
    return render(request, "approvals/list.html", context)


@posts_only
@members_only
@answers_request_errors
def answer(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Answer the question a run waits with; a form that does not fit comes back."""
    found = visible_run(request, run_id)
    asked = open_question(found, request.POST.get("question", ""))
    form = answer_form(asked, data=request.POST, files=request.FILES, by=request.user)
    if form.is_valid() and answered(request, found, form):
        messages.success(request, "Your answer was recorded. The run goes on.")
        return after(request, system.find_run(run_id, by=request.user))
    page = RunPage(found, access.rights(request.user, found), form)
    return run_response(request, found, page, status=INVALID)


def open_question(found: Run, sequence: str) -> Approval:
    """Return the run's question, if it is still the one that was answered.

    Raises ApprovalNotFound, AlreadyAnswered.
    """
    asked = system.find_approval(found.pk)
    is_same = not sequence or str(asked.sequence) == sequence
    if asked.status == ApprovalStatus.OPEN and is_same:
        return asked
    who = asked.answered_by.get_username() if asked.answered_by else ""
    if is_same and who:
        raise AlreadyAnswered(f"{who} has answered this already.")
    raise AlreadyAnswered("This question is not open any more.")


def answered(request: HtmxRequest, found: Run, form: SchemaForm) -> bool:
    """Record the answer; False, with messages in the form, if it does not fit."""
    try:
        system.answer(
            found.pk, form.values(), by=request.user, comment=reason_of(request)
        )
    except InvalidParams as refused:
        form.take_errors(refused)
        return False
    except ReasonMissing as refused:
        form.add_error(None, str(refused))
        return False
    return True
