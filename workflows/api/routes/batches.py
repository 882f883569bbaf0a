"""Batches: launch a run for each row of a CSV or JSON Lines file."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid5

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router, Schema
from ninja import Status as Reply
from pydantic import Field

from workflows import bulk
from workflows.access import permissions
from workflows.api import representations_operations as representations
from workflows.api.requests import ApiRequest, errors
from workflows.api.routes.workflows import IdempotencyKey, params_schema
from workflows.api.schemas_operations import BulkOut
from workflows.errors import InvalidBatch
from workflows.pages.forms.batch import Batch, kind_of, read_batch
from workflows.pages.rate_limits import count
from workflows.registry import AnyWorkflow
from workflows.services.entry_rules import MAX_PRIORITY
from workflows.system import system

router = Router(tags=["bulk actions"])
KEYS = UUID("5a8e0c6c-3f0b-4b7e-9d2a-7f1c6e8b4d90")  # namespace of idempotency keys
FILE = {"type": "string", "format": "binary"}
BATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": FILE},
            "application/x-ndjson": {"schema": FILE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": FILE},
                    "required": ["file"],
                }
            },
        },
    }
}


class BatchQuery(Schema):
    """Options of a batch."""

    mapping: str = Field(
        "",
        max_length=20_000,
        description="JSON object: column → path of the param, “” to ignore it. Columns are"
        " else found by name or title.",
    )
    profile: str | None = Field(
        None, max_length=60, description="A profile, “” for none; by weight if omitted."
    )
    priority: int = Field(0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)


@router.post(
    "/{name}/batches",
    response={202: BulkOut, **errors(403, 404, 413)},
    openapi_extra=BATCH_BODY,
)
def launch_batch(
    request: ApiRequest,
    response: HttpResponse,
    name: str,
    query: Query[BatchQuery],
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Launch a run for each row, after all rows were checked: one error, and none is queued.

    Workers launch the runs; a small batch is launched before the response. A batch is a
    bulk operation, where its progress and the result of each row are found.
    """
    count("launch", f"person {request.user.pk}")
    workflow = system.find_workflow(name, by=request.user)
    permissions.require(
        permissions.can_launch(request.user, name), "launch this workflow"
    )
    batch = _read(request, workflow, query)
    batch.require_valid()
    job_id = None
    if idempotency_key is not None:
        job_id = uuid5(KEYS, f"{request.user.pk} {name} {idempotency_key}")
    job = bulk.start_launches(
        name,
        batch.params,
        by=request.user,
        profile=None if query.profile is None else query.profile.replace("\x00", ""),
        priority=query.priority,
        job_id=job_id,
    )
    response["Location"] = reverse("api:get_bulk_action", args=[job.pk])
    return Reply(202, representations.bulk_job(job))


def _read(request: ApiRequest, workflow: AnyWorkflow, query: BatchQuery) -> Batch:
    most = settings.MAX_BATCH_BYTES + 1
    media, name = request.content_type or "", ""
    if media == "multipart/form-data":
        file = request.FILES.get("file")
        if file is None:
            raise InvalidBatch({"file": ["Send the rows as the field `file`."]})
        data, name, media = file.read(most), file.name or "", file.content_type or ""
    else:
        data = request.read(most)
    return read_batch(
        workflow,
        params_schema(workflow),
        data,
        kind_of(name, media),
        by=request.user,
        mapping=_mapping(query.mapping),
    )


def _mapping(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(one, str) for one in found.values()
    ):
        raise InvalidBatch({"mapping": ["Enter a JSON object of column: path."]})
    return found
