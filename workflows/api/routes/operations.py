"""Workers with the queue, and the audit log."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from ninja import Query, Router

from workflows.access import permissions
from workflows.api import representations_operations as representations
from workflows.api.filters import AuditQuery
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas_operations import AuditPage, WorkersOut
from workflows.pages.lists.workers import workers_for

workers_router = Router(tags=["operations"])
audit_router = Router(tags=["audit"])


@workers_router.get("", response={200: WorkersOut, **errors(403)})
def list_workers(request: ApiRequest) -> Any:
    """List the workers with their runs, and the pending runs by workflow."""
    permissions.require(permissions.can_view_workers(request.user), "view the workers")
    return representations.workers(workers_for(request.user), request.user)


@audit_router.get("", response={200: AuditPage, **errors(400, 403)})
def list_audit_events(
    request: ApiRequest,
    response: HttpResponse,
    query: Query[AuditQuery],
    paging: Query[Paging],
) -> Any:
    """List the events of the audit log, newest first."""
    require_auditor(request)
    page = query.filters().page(request.user, paging.after_number, size=paging.limit)
    return {
        "items": representations.audit_events(page.rows, request.user),
        "next": link_next(request, response, page.after),
        "scanned_to": page.scanned_to,
    }


def require_auditor(request: ApiRequest) -> None:
    """Raise NotAllowed unless the user may see the audit log."""
    permissions.require(permissions.can_audit(request.user), "view the audit log")
