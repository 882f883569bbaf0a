"""Golden runs: mark, unmark, list."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router
from ninja import Status as Reply

from workflows.access import permissions
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import Reason
from workflows.api.schemas_reviews import (
    GoldenFieldOut,
    GoldenRunIn,
    GoldenRunOut,
    GoldenRunPage,
)
from workflows.models import GoldenRun
from workflows.pages.lists.pagination import forward_page
from workflows.pages.redaction import HIDDEN
from workflows.services import golden_runs
from workflows.services.golden_fields import GoldenField
from workflows.services.golden_runs import Expectation
from workflows.system import system

of_run_router = Router(tags=["golden runs"])
golden_router = Router(tags=["golden runs"])


@of_run_router.put(
    "/{uuid:run_id}/golden", response={200: GoldenRunOut, **errors(403, 404, 409)}
)
def mark_golden(request: ApiRequest, run_id: UUID, body: GoldenRunIn) -> Any:
    """Mark a completed or failed run golden, or change what of it is compared; pin it."""
    fields = [GoldenField(one.field, one.tolerance) for one in body.fields]
    expected = Expectation(body.dataset, body.checks_path, fields)
    row = system.mark_golden(run_id, expected, by=request.user, reason=body.reason)
    return _golden(row, request)


@of_run_router.delete(
    "/{uuid:run_id}/golden", response={204: None, **errors(403, 404, 409)}
)
def unmark_golden(request: ApiRequest, run_id: UUID, query: Query[Reason]) -> Any:
    """Unmark a golden run; unpin it if marking it had pinned it."""
    system.unmark_golden(run_id, by=request.user, reason=query.reason)
    return Reply(204, None)


@golden_router.get("", response={200: GoldenRunPage, **errors(400)})
def list_golden_runs(
    request: ApiRequest,
    response: HttpResponse,
    paging: Query[Paging],
    workflow: str = "",
    dataset: str = "",
) -> Any:
    """List golden runs, oldest first."""
    rows = golden_runs.golden_runs(_plain(workflow), _plain(dataset).lower())
    page = forward_page(
        permissions.visible(request.user, rows),
        after=paging.after_id,
        size=paging.limit,
    )
    return {
        "items": [_golden(row, request) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


def _plain(text: str) -> str:
    return text.replace("\x00", "")


def _golden(row: GoldenRun, request: ApiRequest) -> GoldenRunOut:
    is_readable = permissions.can_read(request.user, row.workflow_name)
    return GoldenRunOut(
        run=row.run_id,
        workflow=row.workflow_name,
        dataset=row.dataset,
        checks_path=row.checks_path,
        fields=[GoldenFieldOut(**one) for one in row.fields] if is_readable else None,
        reason=row.reason if is_readable or not row.reason else HIDDEN,
        marked_by=row.person_name,
        created_at=row.created_at,
    )
