"""Approvals: those you may respond to, the one of a run, and responses."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router

from workflows.access import permissions
from workflows.api import representations
from workflows.api.paging import Paging, link_next
from workflows.api.problems import code_of
from workflows.api.requests import ApiRequest, errors, require_version, visible_run
from workflows.api.schemas import (
    ApprovalOut,
    ApprovalPage,
    Response,
    RunDetail,
)
from workflows.api.schemas_approvals import (
    ApprovalRef,
    Escalation,
    Reassignment,
    ResponseResult,
    Responses,
    Snooze,
    SnoozeOut,
)
from workflows.models import Approval
from workflows.pages.lists import open_approvals
from workflows.pages.redaction import redact_rows
from workflows.services.approval_handling import Target
from workflows.system import system

router = Router(tags=["approvals"])
of_run_router = Router(tags=["approvals"])


@router.get("", response={200: ApprovalPage, **errors(400)})
def list_approvals(
    request: ApiRequest, response: HttpResponse, paging: Query[Paging]
) -> Any:
    """List the open approvals that you may respond to, oldest first."""
    after = paging.after_number
    granted = permissions.permissions_for(request.user)
    page = open_approvals.open_page(
        granted, after, person_id=request.user.pk, size=paging.limit, whole=True
    )
    return {
        "items": [representations.approval(row, request.user) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@of_run_router.get(
    "/{uuid:run_id}/approvals", response={200: list[ApprovalOut], **errors(404)}
)
def list_run_approvals(request: ApiRequest, run_id: UUID) -> Any:
    """List the approvals of a run, newest first."""
    run = visible_run(request, run_id)
    rows = Approval.objects.filter(run=run_id)
    rows = rows.select_related(
        "run", "responded_by", "claim", "assignment", "escalation"
    )
    rows = rows.prefetch_related("votes")
    return [
        representations.approval(row, request.user) for row in redact_rows(run, rows)
    ]


@of_run_router.post(
    "/{uuid:run_id}/respond", response={200: RunDetail, **errors(403, 404, 409, 412)}
)
def respond(request: ApiRequest, run_id: UUID, body: Response) -> Any:
    """Respond to the open approval of a run, which resumes the run.

    The first response counts; a later one is refused with 409. An approval that needs several
    votes takes one of each person, and the last one resumes the run.
    """
    require_version(request, run_id)
    system.respond(
        *(run_id, body.value),
        by=request.user,
        comment=body.reason,
        sequence=body.sequence,
    )
    return representations.run_detail(visible_run(request, run_id), request.user)


@router.post(
    "/{uuid:run_id}/claim", response={200: ApprovalOut, **errors(403, 404, 409)}
)
def claim_approval(request: ApiRequest, run_id: UUID, body: ApprovalRef) -> Any:
    """Note that you work on the open approval of a run; others may still respond.

    The claim ends with a response, when it is released, and after `APPROVAL_CLAIM_HOURS`. While
    another person has claimed the approval, a claim is refused with 409.
    """
    system.claim_approval(run_id, by=request.user, sequence=body.sequence)
    return _approval(request, run_id)


@router.post(
    "/{uuid:run_id}/release", response={200: ApprovalOut, **errors(403, 404, 409)}
)
def release_approval(request: ApiRequest, run_id: UUID, body: ApprovalRef) -> Any:
    """End claim and assignment of the open approval of a run, also those of another person."""
    system.release_approval(run_id, by=request.user, sequence=body.sequence)
    return _approval(request, run_id)


@router.post(
    "/{uuid:run_id}/reassign", response={200: ApprovalOut, **errors(403, 404, 409)}
)
def reassign_approval(request: ApiRequest, run_id: UUID, body: Reassignment) -> Any:
    """Assign the open approval of a run to a person or group that may respond.

    The assignee is notified. It gives no permission, and others may still respond.
    """
    system.reassign_approval(
        run_id,
        body.to,
        by=request.user,
        reason=body.reason,
        sequence=body.sequence,
    )
    return _approval(request, run_id)


@router.post(
    "/{uuid:run_id}/escalate", response={200: ApprovalOut, **errors(403, 404, 409)}
)
def escalate_approval(request: ApiRequest, run_id: UUID, body: Escalation) -> Any:
    """Let the open approval of a run go to the group that its workflow declares, at once.

    Its members are notified and may respond from then on; others still may.
    """
    system.escalate_approval(
        run_id, by=request.user, reason=body.reason, sequence=body.sequence
    )
    return _approval(request, run_id)


@router.post(
    "/{uuid:run_id}/snooze", response={200: SnoozeOut, **errors(403, 404, 409)}
)
def snooze_approval(request: ApiRequest, run_id: UUID, body: Snooze) -> Any:
    """Hide the open approval of a run from your lists on the pages until a time."""
    until = system.snooze_approval(
        run_id, body.until, by=request.user, sequence=body.sequence
    )
    return {"until": until}


@router.post("/{uuid:run_id}/remind", response={204: None, **errors(403, 404, 409)})
def remind_approvers(request: ApiRequest, run_id: UUID, body: ApprovalRef) -> Any:
    """Notify the assignee or the approvers of a run again, at most once an hour."""
    system.remind_approvers(run_id, by=request.user, sequence=body.sequence)
    return HttpResponse(status=204)


@router.post("/respond", response={200: list[ResponseResult], **errors()})
def respond_to_several(request: ApiRequest, body: Responses) -> Any:
    """Give several approvals one response; each is checked, saved and refused by itself."""
    targets = [Target(one.run, one.sequence) for one in body.approvals]
    found = system.respond_to_each(
        targets, body.value, by=request.user, comment=body.reason
    )
    return [
        {
            "run": one.target.run_id,
            "saved": one.error is None,
            "code": code_of(type(one.error)) if one.error else "",
            "detail": str(one.error) if one.error else "",
        }
        for one in found
    ]


def _approval(request: ApiRequest, run_id: UUID) -> ApprovalOut:
    """Return the newest approval of a run that the caller may respond to."""
    return representations.approval(system.find_approval(run_id), request.user)
