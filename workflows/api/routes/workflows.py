"""Workflows: the list, the schema of the params, launches."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from django.http import HttpResponse
from django.urls import reverse
from ninja import Body, Router
from ninja import Status as Reply
from ninja.params import functions as param_functions

from workflows.access import permissions
from workflows.api import representations
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import (
    Launch,
    RunDetail,
    WorkflowDetail,
    WorkflowReason,
    WorkflowSummary,
)
from workflows.engine.adapters import schema
from workflows.models import Profile
from workflows.pages.rate_limits import count
from workflows.pages.redaction import redact
from workflows.registry import AnyWorkflow
from workflows.system import system

router = Router(tags=["workflows"])
EMPTY = Launch(params={}, priority=0, deadline_seconds=None, profile=None, token="")
MAX_KEY_LENGTH = 200  # characters of an idempotency key
IdempotencyKey = Annotated[
    str | None,
    param_functions.Header(
        alias="Idempotency-Key",
        max_length=MAX_KEY_LENGTH,
        min_length=1,
        description="Repeating a launch with the same key and params returns the same run.",
    ),
]


@router.get("", response={200: list[WorkflowSummary], **errors()})
def list_workflows(request: ApiRequest) -> Any:
    """List the workflows that you may see, by name."""
    found = system.list_workflows(by=request.user)
    return representations.workflow_summaries(found, request.user)


@router.get("/{name}", response={200: WorkflowDetail, **errors(404)})
def get_workflow(request: ApiRequest, name: str) -> Any:
    """Get a workflow with the JSON Schema of its params and its graph."""
    return _detail(request, name)


def _detail(request: ApiRequest, name: str) -> WorkflowDetail:
    found = system.find_workflow(name, by=request.user)
    profiles = Profile.objects.filter(workflow_name=name).order_by("name")
    return representations.workflow_detail(
        found,
        request.user,
        params_schema(found),
        list(profiles.values_list("name", flat=True)),
    )


@router.post("/{name}/runs", response={202: RunDetail, **errors(403, 404, 409)})
def launch_run(
    request: ApiRequest,
    response: HttpResponse,
    name: str,
    body: Body[Launch] = EMPTY,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Launch a run. It is queued when the response arrives, and cannot be lost."""
    count("launch", f"person {request.user.pk}")
    run = system.execute(
        name,
        body.params,
        by=request.user,
        token=body.token,
        priority=body.priority,
        deadline=as_deadline(body.deadline_seconds),
        profile=body.profile,
        idempotency_key=idempotency_key,
    )
    response["Location"] = reverse("api:get_run", args=[run.pk])
    if run.already_launched:
        response["Idempotent-Replayed"] = "true"
    if not permissions.can_read(request.user, name):
        run = redact(system.find_run(run.pk, by=request.user))
    return Reply(202, representations.run_detail(run, request.user))


@router.post("/{name}/pause", response={200: WorkflowDetail, **errors(403, 404, 409)})
def pause_workflow(request: ApiRequest, name: str, body: WorkflowReason) -> Any:
    """Pause a workflow: no run of it starts after the response; started runs continue."""
    system.pause_workflow(name, by=request.user, reason=body.reason)
    return _detail(request, name)


@router.post("/{name}/unpause", response={200: WorkflowDetail, **errors(403, 404, 409)})
def unpause_workflow(request: ApiRequest, name: str) -> Any:
    """End the pause of a workflow: its pending runs are claimed."""
    system.unpause_workflow(name, by=request.user)
    return _detail(request, name)


def as_deadline(seconds: float | None) -> dt.timedelta | None:
    """Return the deadline of a launch."""
    return None if seconds is None else dt.timedelta(seconds=seconds)


def params_schema(workflow: AnyWorkflow) -> dict[str, Any]:
    """Return the JSON Schema of the params of a workflow; any object without a type."""
    if workflow.params_type is None:
        return {"type": "object"}
    return dict(schema(workflow.params_type))
