"""The pauses of workflows; pausing and unpausing are operations of a workflow."""

from __future__ import annotations

from typing import Any

from ninja import Router

from workflows.api import representations
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import PausedWorkflow

router = Router(tags=["workflows"])


@router.get("", response={200: list[PausedWorkflow], **errors()})
def list_pauses(request: ApiRequest) -> Any:
    """List the paused workflows that you may see, by name."""
    return representations.paused_workflows(request.user)
