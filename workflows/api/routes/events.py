"""Events: send a message to the runs that wait for it; what a run waits for."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Router
from ninja import Status as Reply
from ninja.params import functions as param_functions

from workflows.api.representations_waits import wait
from workflows.api.requests import ApiRequest, errors, visible_run
from workflows.api.schemas_events import EventIn, SentOut, WaitOut
from workflows.pages.lists.event_waits import waits_of
from workflows.services.events import MAX_IDEMPOTENCY_KEY, Sent
from workflows.system import system

router = Router(tags=["events"])
of_run_router = Router(tags=["events"])

IdempotencyKey = Annotated[
    str | None,
    param_functions.Header(
        alias="Idempotency-Key",
        max_length=MAX_IDEMPOTENCY_KEY,
        min_length=1,
        description="Repeating a message with the same key and content sends it once.",
    ),
]


@router.post("", response={202: list[SentOut], **errors(403, 404, 409)})
def send_event(
    request: ApiRequest,
    response: HttpResponse,
    body: EventIn,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Send a message to every run that waits for an event with this name and key.

    Needs the permission to operate runs of each workflow that waits for the event, or of
    `workflow` alone. A message that no run waits for is kept for the next one that does.
    """
    sent = system.send(
        body.name,
        body.key,
        body.value,
        by=request.user,
        workflow=body.workflow,
        idempotency_key=idempotency_key,
    )
    if all(one.message.already_sent for one in sent):
        response["Idempotent-Replayed"] = "true"
    return Reply(202, [_sent(one) for one in sent])


@of_run_router.get("/{uuid:run_id}/waits", response={200: list[WaitOut], **errors(404)})
def list_waits(request: ApiRequest, run_id: UUID) -> Any:
    """List what a run waits and waited for besides approvals, with what it received."""
    run = visible_run(request, run_id)
    return [wait(row) for row in waits_of(run)]


def _sent(sent: Sent) -> SentOut:
    row = sent.message
    return SentOut(
        id=row.pk,
        workflow=row.workflow_name,
        name=row.name,
        key=row.key,
        sent_at=row.created_at,
        runs=list(sent.runs),
        kept=sent.is_kept,
    )
