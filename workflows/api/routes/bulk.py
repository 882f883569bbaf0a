"""Bulk actions on runs: preview, start, progress, cancel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal
from uuid import UUID

from django.core import signing
from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router
from ninja import Status as Reply
from pydantic import Field

from workflows import bulk
from workflows.access import permissions
from workflows.api import representations_operations as representations
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas_operations import (
    BulkItemPage,
    BulkOut,
    BulkPreview,
    BulkSelection,
    BulkStart,
)
from workflows.errors import EmptySelection, InvalidParams
from workflows.models import BulkItem, Run
from workflows.models.runs import new_run_id
from workflows.pages.lists import bulk_operations
from workflows.pages.lists.pagination import forward_page
from workflows.pages.rate_limits import count
from workflows.services.labels import clean

router = Router(tags=["bulk actions"])
CONFIRMATION = "api-bulk-confirmation"  # salt of its signature


@router.post("/preview", response={200: BulkPreview, **errors(400, 403)})
def preview_bulk_action(request: ApiRequest, body: BulkSelection) -> Any:
    """Count the runs that a bulk action would be applied to; nothing is changed."""
    found = bulk_operations.preview(
        bulk.BULK_ACTIONS[body.action], _selected(request, body, None), request.user
    )
    if not found.total:
        raise EmptySelection
    signed = [request.user.pk, str(new_run_id()), str(found.newest)]
    return BulkPreview(
        total=found.total,
        applicable=found.fitting,
        confirmation=signing.dumps(signed, salt=CONFIRMATION),
    )


@router.post("", response={202: BulkOut, **errors(400, 403)})
def start_bulk_action(
    request: ApiRequest, response: HttpResponse, body: BulkStart
) -> Any:
    """Start an action on many runs, each with its own check of permissions and status.

    Workers process them; a small number is processed before the response.
    """
    count("launch", f"person {request.user.pk}")
    action = bulk.BULK_ACTIONS[body.action]
    _require_reason(action, body.reason)
    job_id, newest = _confirmed(request, body.confirmation)
    job = bulk.start(
        action,
        _selected(request, body, newest),
        by=request.user,
        reason=body.reason.strip(),
        label=clean(body.label) if action.needs_label else "",
        job_id=job_id,
    )
    response["Location"] = reverse("api:get_bulk_action", args=[job.pk])
    return Reply(202, representations.bulk_job(job))


@router.get("/{uuid:job_id}", response={200: BulkOut, **errors(404)})
def get_bulk_action(request: ApiRequest, job_id: UUID) -> Any:
    """Get the progress of a bulk action of yours; auditors see all."""
    return representations.bulk_job(bulk.find(job_id, by=request.user))


class ItemQuery(Paging):
    """Filters of results."""

    result: Literal["", "done", "refused"] = Field("")


@router.get("/{uuid:job_id}/runs", response={200: BulkItemPage, **errors(400, 404)})
def list_bulk_results(
    request: ApiRequest, response: HttpResponse, job_id: UUID, query: Query[ItemQuery]
) -> Any:
    """List the runs of a bulk action with the result of each."""
    job = bulk.find(job_id, by=request.user)
    rows = permissions.visible(request.user, BulkItem.objects.filter(job=job))
    if query.result:
        rows = rows.filter(result=query.result)
    page = forward_page(
        rows.defer("params"), after=query.after_number, size=query.limit, key="position"
    )
    bulk_operations.redact_items(page.rows, request.user)
    return {
        "items": [representations.bulk_item(row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@router.post("/{uuid:job_id}/cancel", response={200: BulkOut, **errors(403, 404)})
def cancel_bulk_action(request: ApiRequest, job_id: UUID) -> Any:
    """Cancel a bulk action; runs that it has not reached stay unchanged."""
    return representations.bulk_job(bulk.cancel(job_id, by=request.user))


def _selected(
    request: ApiRequest, body: BulkSelection, newest: UUID | None
) -> Iterator[Run]:
    """Return the selected runs. Raises InvalidParams."""
    if (body.runs is None) == (body.filters is None):
        raise InvalidParams({"runs": ["Give either `runs` or `filters`."]})
    if body.runs is not None:
        return bulk_operations.selected(request.user, body.runs)
    assert body.filters is not None  # noqa: S101 - for the type checker
    query = body.filters.filters(request.user).encoded
    return bulk_operations.matching(request.user, query, newest)


def _require_reason(action: bulk.BulkAction, reason: str) -> None:
    if not action.needs_label and not reason.strip():
        raise InvalidParams({"reason": ["Enter a reason."]})


def _confirmed(request: ApiRequest, text: str) -> tuple[UUID | None, UUID | None]:
    """Return the id of the job and the newest run of a preview. Raises InvalidParams."""
    if not text:
        return None, None
    invalid = {"confirmation": ["Use the confirmation of your own preview."]}
    try:
        user_id, job_id, newest = signing.loads(text, salt=CONFIRMATION)
    except signing.BadSignature as error:
        raise InvalidParams(invalid) from error
    if user_id != request.user.pk:
        raise InvalidParams(invalid)
    return UUID(job_id), UUID(newest)
