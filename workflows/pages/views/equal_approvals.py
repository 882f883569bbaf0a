"""One response to several approvals that ask the same: those of one node, with equal forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from workflows.access import permissions
from workflows.models import Approval, ApprovalKind
from workflows.pages.access import members_only
from workflows.pages.lists import open_approvals
from workflows.pages.query_string import int_in, uuid_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID, reason_of
from workflows.pages.run.page import response_form
from workflows.registry import registry
from workflows.services.approval_handling import Target
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import User
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MAX_APPROVALS: Final = 50  # of one form
SEQUENCE: Final = "sequence-"  # before the id of a run: the step that the form shows


@dataclass(frozen=True, slots=True)
class Shown:
    """An approval in the form."""

    approval: Approval
    is_chosen: bool


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def respond_to_equal(request: HtmxRequest) -> HttpResponse:
    """Show one form for several approvals; on POST respond to each of those chosen."""
    sent = request.POST if request.method == "POST" else request.GET
    chosen, offered = _ids(sent.getlist("run")), _ids(sent.getlist("offered"))
    found = equal_approvals(request.user, offered or chosen)
    if not found:
        messages.info(request, "These approvals are not open for you any more.")
        return redirect("approvals")
    picked = [one for one in found if one.run_id in chosen]
    options: dict[str, Any] = {"by": request.user}
    if request.method == "POST":
        options |= {"data": request.POST, "files": request.FILES}
    form = response_form(found[0], **options)
    error = ""
    asks = registry.asks_reason(found[0].run.workflow_name, "respond")
    if request.method == "POST":
        error = _error(picked, reason_of(request), asks=asks)
        if form.is_valid() and not error:
            _respond(request, picked, form.values())
            return redirect("approvals")
    context = {
        "shown": [Shown(one, one in picked) for one in found],
        "first": found[0],
        "form": form,
        "error": error,
        "reason": reason_of(request),
        "asks": asks,
        "prefix": SEQUENCE,
    }
    status = INVALID if request.method == "POST" else 200
    return render(request, "approvals/equal.html", context, status=status)


def _ids(texts: Sequence[str]) -> list[UUID]:
    return [run_id for text in texts if (run_id := uuid_in(text))]


def equal_approvals(user: User, run_ids: Sequence[UUID]) -> list[Approval]:
    """Return the open approvals of these runs that ask a person the same as the first one."""
    granted = permissions.permissions_for(user)
    rows = open_approvals.open_for(granted, user.pk).filter(kind=ApprovalKind.NODE)
    rows = rows.filter(run__in=run_ids[:MAX_APPROVALS]).select_related("run")
    found = list(rows.order_by("pk"))
    return [one for one in found if _asks_as(one, found[0])]


def _asks_as(one: Approval, other: Approval) -> bool:
    return (one.run.workflow_name, one.node_name, one.form) == (
        other.run.workflow_name,
        other.node_name,
        other.form,
    )


def _error(picked: Sequence[Approval], reason: str, *, asks: bool) -> str:
    if not picked:
        return "Select at least one approval."
    return "Enter a reason." if asks and not reason else ""


def _respond(
    request: HtmxRequest, picked: Sequence[Approval], values: Mapping[str, Any]
) -> None:
    """Respond to each approval, as one by one; report what was saved and what was not."""
    names = {one.run_id: one.run.title or one.run.short_id for one in picked}
    targets = [
        Target(run_id, int_in(request.POST, f"{SEQUENCE}{run_id}")) for run_id in names
    ]
    found = system.respond_to_each(
        targets, values, by=request.user, comment=reason_of(request)
    )
    for one in found:
        if one.error is not None:
            named = names[one.target.run_id]
            messages.warning(request, f"Not saved for {named}: {one.error}")
    if saved := sum(one.error is None for one in found):
        plural = "" if saved == 1 else "s"
        messages.success(request, f"{saved} decision{plural} saved.")
