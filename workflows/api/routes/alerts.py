"""Alert rules: list, create, change, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router
from ninja import Status as Reply

from workflows.alerts import service
from workflows.alerts.service import Plan
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import Reason
from workflows.api.schemas_alerts import AlertIn, AlertOut, AlertPage
from workflows.models import AlertMetric, AlertRule
from workflows.pages.lists.pagination import forward_page

router = Router(tags=["alerts"])
of_workflow_router = Router(tags=["alerts"])


@router.get("", response={200: AlertPage, **errors(400)})
def list_alerts(
    request: ApiRequest, response: HttpResponse, paging: Query[Paging]
) -> Any:
    """List the alert rules of the workflows that you may see, oldest first."""
    rows = service.visible_rules(request.user)
    page = forward_page(rows, after=paging.after_id, size=paging.limit)
    return {
        "items": [_alert(request, row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@of_workflow_router.post("/{name}/alerts", response={201: AlertOut, **errors(403, 404)})
def create_alert(
    request: ApiRequest, response: HttpResponse, name: str, body: AlertIn
) -> Any:
    """Create an alert rule; needs the permission to operate runs of the workflow."""
    created = service.create(name, _plan(body), by=request.user)
    response["Location"] = reverse("api:get_alert", args=[created.pk])
    return Reply(201, _alert(request, created))


@router.get("/{uuid:alert_id}", response={200: AlertOut, **errors(404)})
def get_alert(request: ApiRequest, alert_id: UUID) -> Any:
    """Get an alert rule with its present value."""
    return _alert(request, service.find(alert_id, by=request.user))


@router.put("/{uuid:alert_id}", response={200: AlertOut, **errors(403, 404)})
def change_alert(request: ApiRequest, alert_id: UUID, body: AlertIn) -> Any:
    """Replace an alert rule. A raised alert stays raised until its value is low enough."""
    return _alert(request, service.change(alert_id, _plan(body), by=request.user))


@router.delete("/{uuid:alert_id}", response={204: None, **errors(403, 404)})
def delete_alert(request: ApiRequest, alert_id: UUID, query: Query[Reason]) -> Any:
    """Delete an alert rule with its history."""
    service.delete(alert_id, by=request.user, reason=query.reason)
    return Reply(204, None)


def _plan(body: AlertIn) -> Plan:
    return Plan(**body.model_dump())


def _alert(request: ApiRequest, row: AlertRule) -> AlertOut:
    return AlertOut(
        id=row.pk,
        workflow=row.workflow_name,
        name=row.name,
        metric=AlertMetric(row.metric),
        raise_above=row.raise_above,
        clear_at=row.clear_at,
        window_minutes=row.window_minutes,
        min_count=row.min_count,
        from_node=row.from_node,
        to_node=row.to_node,
        owner=row.owner_name,
        raised_at=row.raised_at,
        value=row.value,
        evaluated_at=row.evaluated_at,
        can_change=service.can_change(request.user, row.workflow_name),
        created_at=row.created_at,
        updated_at=row.updated_at,
        url=reverse("alert", args=[row.pk]),
    )
