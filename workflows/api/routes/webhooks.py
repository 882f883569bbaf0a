"""Incoming webhooks: list, create, change, rotate the secret, deliveries, replay."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router
from ninja import Status as Reply
from pydantic import Field

from workflows.access import permissions
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import Reason
from workflows.api.schemas_webhooks import (
    NewSecret,
    PreviewIn,
    PreviewOut,
    WebhookDeliveryDetail,
    WebhookDeliveryOut,
    WebhookDeliveryPage,
    WebhookIn,
    WebhookOut,
    WebhookPage,
    WebhookSaved,
)
from workflows.errors import InvalidCursor, InvalidWebhook
from workflows.models import (
    Deduplication,
    VerificationStyle,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookOutcome,
)
from workflows.pages.lists.pagination import forward_page
from workflows.pages.lists.webhooks import deliveries_page
from workflows.pages.redaction import is_redacted, redact
from workflows.system import system
from workflows.webhooks import service
from workflows.webhooks.service import Plan

router = Router(tags=["webhooks"])
of_workflow_router = Router(tags=["webhooks"])


class WebhookQuery(Paging):
    """Filters of webhooks."""

    workflow: str = Field("", max_length=100)


class DeliveryQuery(Paging):
    """Filters of deliveries."""

    outcome: WebhookOutcome | None = None


@router.get("", response={200: WebhookPage, **errors(400)})
def list_webhooks(
    request: ApiRequest, response: HttpResponse, query: Query[WebhookQuery]
) -> Any:
    """List the incoming webhooks that you may see, oldest first."""
    rows = service.visible_webhooks(request.user)
    if name := query.workflow.replace("\x00", ""):
        rows = rows.filter(workflow_name=name)
    page = forward_page(rows, after=query.after_id, size=query.limit)
    return {
        "items": [_webhook(request, row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@of_workflow_router.post(
    "/{name}/webhooks", response={201: WebhookSaved, **errors(403, 404)}
)
def create_webhook(
    request: ApiRequest, response: HttpResponse, name: str, body: WebhookIn
) -> Any:
    """Create a webhook. It launches runs as you, or as a service account."""
    created, secret = service.create(name, _plan(body), by=request.user)
    response["Location"] = reverse("api:get_webhook", args=[created.pk])
    return Reply(201, _saved(request, created, secret))


@of_workflow_router.post(
    "/{name}/webhooks/preview", response={200: PreviewOut, **errors(403, 404)}
)
def preview_webhook(request: ApiRequest, name: str, body: PreviewIn) -> Any:
    """Show what a payload would launch; nothing is changed."""
    permissions.require(
        permissions.can_launch(request.user, _workflow(request, name)),
        "launch this workflow",
    )
    payload = json.dumps(body.payload)
    found = service.preview(
        name, _plan(body.webhook), payload, body.headers, by=request.user
    )
    return PreviewOut(
        params=None if found.params is None else dict(found.params),
        ignored=found.ignored,
        missing=list(found.missing),
        errors={field: list(texts) for field, texts in found.errors.items()},
    )


@router.get("/{uuid:webhook_id}", response={200: WebhookOut, **errors(404)})
def get_webhook(request: ApiRequest, webhook_id: UUID) -> Any:
    """Get an incoming webhook."""
    return _found(request, webhook_id)


@router.put("/{uuid:webhook_id}", response={200: WebhookSaved, **errors(403, 404)})
def change_webhook(request: ApiRequest, webhook_id: UUID, body: WebhookIn) -> Any:
    """Replace a webhook; from now on it launches runs as you, or as a service account.

    Another style needs another secret: it is entered, or generated.
    """
    changed, secret = service.change(webhook_id, _plan(body), by=request.user)
    return _saved(request, changed, secret)


@router.delete("/{uuid:webhook_id}", response={204: None, **errors(403, 404)})
def delete_webhook(request: ApiRequest, webhook_id: UUID, query: Query[Reason]) -> Any:
    """Delete a webhook with its deliveries; its runs are kept."""
    service.delete(webhook_id, by=request.user, reason=query.reason)
    return Reply(204, None)


@router.post(
    "/{uuid:webhook_id}/secret", response={200: WebhookSaved, **errors(403, 404)}
)
def rotate_webhook_secret(
    request: ApiRequest, webhook_id: UUID, body: NewSecret
) -> Any:
    """Replace the secret; the replaced one stays valid for a day."""
    changed, secret = service.rotate(webhook_id, by=request.user, secret=body.secret)
    return _saved(request, changed, secret)


@router.post(
    "/{uuid:webhook_id}/enable", response={200: WebhookOut, **errors(403, 404)}
)
def enable_webhook(request: ApiRequest, webhook_id: UUID) -> Any:
    """Enable a webhook."""
    service.set_enabled(webhook_id, True, by=request.user)
    return _found(request, webhook_id)


@router.post(
    "/{uuid:webhook_id}/disable", response={200: WebhookOut, **errors(403, 404)}
)
def disable_webhook(request: ApiRequest, webhook_id: UUID, body: Reason) -> Any:
    """Disable a webhook: deliveries to it get 404."""
    service.set_enabled(webhook_id, False, by=request.user, reason=body.reason)
    return _found(request, webhook_id)


# Deliveries -----------------------------------------------------------------------------


@router.get(
    "/{uuid:webhook_id}/deliveries",
    response={200: WebhookDeliveryPage, **errors(400, 404)},
)
def list_webhook_deliveries(
    request: ApiRequest,
    response: HttpResponse,
    webhook_id: UUID,
    query: Query[DeliveryQuery],
) -> Any:
    """List the deliveries of a webhook, newest first."""
    found = service.find(webhook_id, by=request.user)
    can_read = permissions.can_read(request.user, found.workflow_name)
    page = deliveries_page(
        found,
        _id(query.after),
        can_read=can_read,
        outcome=query.outcome.value if query.outcome else "",
        size=query.limit,
    )
    return {
        "items": [WebhookDeliveryOut(**_delivery(row)) for row in page.rows],
        "next": link_next(request, response, page.after and str(page.after)),
    }


@router.get(
    "/{uuid:webhook_id}/deliveries/{uuid:webhook_delivery_id}",
    response={200: WebhookDeliveryDetail, **errors(404)},
)
def get_webhook_delivery(
    request: ApiRequest, webhook_id: UUID, webhook_delivery_id: UUID
) -> Any:
    """Get a delivery with its headers and body."""
    return _detail(request, webhook_id, webhook_delivery_id)


@router.post(
    "/{uuid:webhook_id}/deliveries/{uuid:webhook_delivery_id}/replay",
    response={202: WebhookDeliveryDetail, **errors(403, 404)},
)
def replay_webhook_delivery(
    request: ApiRequest, webhook_id: UUID, webhook_delivery_id: UUID
) -> Any:
    """Process a delivery again, with the present mapping and filter."""
    receipt = service.replay(webhook_id, webhook_delivery_id, by=request.user)
    return Reply(202, _detail(request, webhook_id, receipt.delivery.pk))


# Rows -----------------------------------------------------------------------------------


def _workflow(request: ApiRequest, name: str) -> str:
    """Return the name of a workflow that the user may see. Raises WorkflowNotFound."""
    return system.find_workflow(name, by=request.user).name


def _plan(body: WebhookIn) -> Plan:
    values = body.model_dump(exclude={"owner"})
    return Plan(**values, owner=_owner(body.owner))


def _owner(name: str | None) -> User | None:
    if name is None:
        return None
    found = User.objects.filter(username=name, is_active=True).first()
    if found is None or not hasattr(found, "service_account"):
        raise InvalidWebhook({"owner": ["Enter the name of a service account."]})
    return found


def _found(request: ApiRequest, webhook_id: UUID) -> WebhookOut:
    return _webhook(request, service.find(webhook_id, by=request.user))


def _saved(request: ApiRequest, row: WebhookEndpoint, secret: str) -> WebhookSaved:
    return WebhookSaved(webhook=_found(request, row.pk), secret=secret or None)


def _webhook(request: ApiRequest, row: WebhookEndpoint) -> WebhookOut:
    can_change = service.can_change(request.user, row)
    if not permissions.can_read(request.user, row.workflow_name):
        redact(row)
    hidden = is_redacted(row)
    return WebhookOut(
        id=row.pk,
        workflow=row.workflow_name,
        name=row.name,
        hidden=hidden,
        address=reverse("hook", args=[row.path]) if can_change else None,
        style=VerificationStyle(row.style),
        token_header=row.token_header,
        mapping=None if hidden else row.mapping,
        filters=None if hidden else row.filters,
        deduplication=Deduplication(row.deduplication),
        deduplication_field=row.deduplication_field,
        profile=row.profile,
        priority=row.priority,
        enabled=row.enabled,
        owner=row.owner_name,
        previous_secret_until=row.previous_until,
        rejected=row.rejected,
        rejected_at=row.rejected_at,
        can_change=can_change,
        created_at=row.created_at,
        updated_at=row.updated_at,
        url=reverse("webhook", args=[row.pk]),
    )


def _delivery(row: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": row.pk,
        "webhook": row.endpoint_id,
        "outcome": WebhookOutcome(row.outcome),
        "run": row.run_id,
        "message": row.message,
        "event": row.event,
        "size": row.size,
        "received_at": row.received_at,
        "times": row.times,
        "last_at": row.last_at,
        "replay_of": row.replay_of_id,
        "replayed_by": row.replayed_by_name or None,
        "url": reverse("webhook-delivery", args=[row.endpoint_id, row.pk]),
    }


def _detail(
    request: ApiRequest, webhook_id: UUID, webhook_delivery_id: UUID
) -> WebhookDeliveryDetail:
    row = service.find_delivery(webhook_id, webhook_delivery_id, by=request.user)
    if not permissions.can_read(request.user, row.endpoint.workflow_name):
        redact(row)
    hidden = is_redacted(row)
    return WebhookDeliveryDetail(
        **_delivery(row),
        headers=None if hidden else row.headers,
        body=None if hidden else row.body,
    )


def _id(key: Any) -> UUID | None:
    """Return the key of a cursor as an id. Raises InvalidCursor."""
    if key is None:
        return None
    try:
        return UUID(key)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidCursor from error
