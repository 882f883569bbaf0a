"""Webhook destinations: list, create, change, pause, test, and their deliveries."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router
from ninja import Status as Reply
from pydantic import Field

from workflows.access import permissions
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import Reason
from workflows.api.schemas_destinations import (
    MAX_ID,
    DeliveryDetail,
    DeliveryOut,
    DeliveryPage,
    DeliveryTry,
    DestinationIn,
    DestinationOut,
    DestinationPage,
    DestinationSecret,
    Replayed,
    ReplayIn,
)
from workflows.deliveries import service
from workflows.deliveries.service import Plan
from workflows.models import Delivery, DeliveryStatus, Destination, DestinationKind
from workflows.pages.lists.destinations import deliveries_page
from workflows.pages.lists.pagination import forward_page

router = Router(tags=["webhook destinations"])


class DeliveryQuery(Paging):
    """Filters of deliveries."""

    status: Literal["", "pending", "delivered", "failed", "withheld"] = ""


@router.get("", response={200: DestinationPage, **errors(400, 403)})
def list_destinations(
    request: ApiRequest, response: HttpResponse, paging: Query[Paging]
) -> Any:
    """List the webhook destinations, oldest first."""
    permissions.require(
        permissions.can_view_destinations(request.user), "view webhook destinations"
    )
    rows = service.visible_destinations(request.user)
    page = forward_page(rows, after=paging.after_id, size=paging.limit)
    return {
        "items": [_destination(row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@router.post("", response={201: DestinationSecret, **errors(403)})
def create_destination(
    request: ApiRequest, response: HttpResponse, body: DestinationIn
) -> Any:
    """Create a webhook destination. You own it: it receives what you may view."""
    created, secret = service.create(_plan(body), by=request.user)
    response["Location"] = reverse("api:get_destination", args=[created.pk])
    return Reply(201, {"destination": _destination(created), "secret": secret})


@router.get("/{uuid:destination_id}", response={200: DestinationOut, **errors(404)})
def get_destination(request: ApiRequest, destination_id: UUID) -> Any:
    """Get a webhook destination."""
    return _found(request, destination_id)


@router.put(
    "/{uuid:destination_id}", response={200: DestinationOut, **errors(403, 404)}
)
def change_destination(
    request: ApiRequest, destination_id: UUID, body: DestinationIn
) -> Any:
    """Replace a webhook destination, and become its owner."""
    service.change(destination_id, _plan(body), by=request.user)
    return _found(request, destination_id)


@router.delete("/{uuid:destination_id}", response={204: None, **errors(403, 404)})
def delete_destination(
    request: ApiRequest, destination_id: UUID, query: Query[Reason]
) -> Any:
    """Delete a webhook destination with its deliveries; pending messages are not sent."""
    service.delete(destination_id, by=request.user, reason=query.reason)
    return Reply(204, None)


@router.post(
    "/{uuid:destination_id}/pause", response={200: DestinationOut, **errors(403, 404)}
)
def pause_destination(request: ApiRequest, destination_id: UUID, body: Reason) -> Any:
    """Pause a webhook destination: its messages wait."""
    service.pause(destination_id, by=request.user, reason=body.reason)
    return _found(request, destination_id)


@router.post(
    "/{uuid:destination_id}/resume", response={200: DestinationOut, **errors(403, 404)}
)
def resume_destination(request: ApiRequest, destination_id: UUID) -> Any:
    """Resume a paused webhook destination, or try a failing one now."""
    service.resume(destination_id, by=request.user)
    return _found(request, destination_id)


@router.post(
    "/{uuid:destination_id}/rotate-secret",
    response={200: DestinationSecret, **errors(403, 404)},
)
def rotate_destination_secret(request: ApiRequest, destination_id: UUID) -> Any:
    """Replace the signing secret. For 24 hours, messages are signed with both."""
    found, secret = service.rotate_secret(destination_id, by=request.user)
    return {"destination": _destination(found), "secret": secret}


@router.post(
    "/{uuid:destination_id}/test", response={202: DeliveryOut, **errors(403, 404)}
)
def send_test_message(request: ApiRequest, destination_id: UUID) -> Any:
    """Queue a message of the type `test`."""
    return Reply(202, _delivery(service.send_test(destination_id, by=request.user)))


@router.get(
    "/{uuid:destination_id}/deliveries",
    response={200: DeliveryPage, **errors(400, 404)},
)
def list_deliveries(
    request: ApiRequest,
    response: HttpResponse,
    destination_id: UUID,
    query: Query[DeliveryQuery],
) -> Any:
    """List the messages to a webhook destination, newest first."""
    page = deliveries_page(
        request.user,
        service.find(destination_id, by=request.user),
        status=query.status,
        before=query.after_number,
        size=query.limit,
    )
    return {
        "items": [_delivery(row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@router.post(
    "/{uuid:destination_id}/replay", response={202: Replayed, **errors(403, 404)}
)
def replay_deliveries(request: ApiRequest, destination_id: UUID, body: ReplayIn) -> Any:
    """Send messages again that have ended, with the ids that they had."""
    sent = service.replay(destination_id, body.deliveries, by=request.user)
    return Reply(202, {"deliveries": [_delivery(row) for row in sent]})


@router.get("/deliveries/{delivery}", response={200: DeliveryDetail, **errors(404)})
def get_delivery(
    request: ApiRequest, delivery: Annotated[int, Field(ge=1, le=MAX_ID)]
) -> Any:
    """Get a message with its body and its attempts."""
    row = service.find_delivery(delivery, by=request.user)
    return DeliveryDetail(
        **_delivery(row).model_dump(),
        body=json.loads(row.body),
        tries=[
            DeliveryTry(
                number=one.number,
                started_at=one.started_at,
                duration_ms=one.duration_ms,
                response_status=one.response_status,
                error=one.error or None,
                excerpt=one.excerpt,
            )
            for one in row.tries.order_by("number")
        ],
    )


# Rows -----------------------------------------------------------------------------------


def _plan(body: DestinationIn) -> Plan:
    return Plan(body.name, body.url, [str(one) for one in body.events], body.workflows)


def _found(request: ApiRequest, destination_id: UUID) -> DestinationOut:
    return _destination(service.find(destination_id, by=request.user))


def _destination(row: Destination) -> DestinationOut:
    return DestinationOut(
        id=row.pk,
        kind=DestinationKind(row.kind),
        name=row.name,
        url=row.url,
        events=row.events,
        workflows=row.workflows,
        owner=row.owner_name,
        state=row.state,
        failures=row.failures,
        failing_since=row.failing_since,
        next_attempt_at=row.next_attempt_at,
        paused_by=row.paused_by_name or None,
        pause_reason=row.pause_reason or None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        page=reverse("destination", args=[row.pk]),
    )


def _delivery(row: Delivery) -> DeliveryOut:
    return DeliveryOut(
        id=row.pk,
        destination=row.destination_id,
        message_id=row.webhook_id,
        type=row.kind,
        workflow=row.workflow_name or None,
        run=row.run_id,
        status=DeliveryStatus(row.status),
        attempts=row.attempts,
        replayed_by=row.replayed_by_name or None,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
