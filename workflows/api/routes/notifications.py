"""Notifications of the user, and what they follow."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router
from ninja import Status as Reply
from pydantic import Field

from workflows.access import permissions
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas_destinations import MAX_ID
from workflows.api.schemas_notifications import (
    ChatIn,
    ChatOut,
    NotificationOut,
    NotificationPage,
    ReadIn,
    ReadOut,
    SubscriptionIn,
    SubscriptionOut,
    SubscriptionPage,
)
from workflows.deliveries import following, notification_texts, personal_chat
from workflows.models import (
    Chat,
    Destination,
    Followed,
    Mail,
    Notification,
    Subscription,
)
from workflows.pages.lists.pagination import forward_page, keyset_page
from workflows.pages.rate_limits import count

router = Router(tags=["notifications"])
subscriptions_router = Router(tags=["notifications"])


class NotificationQuery(Paging):
    """Filters of notifications."""

    unread: bool = False


@router.get("", response={200: NotificationPage, **errors(400)})
def list_notifications(
    request: ApiRequest, response: HttpResponse, query: Query[NotificationQuery]
) -> Any:
    """List your notifications, newest first."""
    rows = following.notifications_of(request.user)
    if query.unread:
        rows = rows.filter(read_at=None)
    page = keyset_page(rows, before=query.after_number, size=query.limit)
    return {
        "items": [_notification(row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@router.post("/read", response={200: ReadOut, **errors(403)})
def read_notifications(request: ApiRequest, body: ReadIn) -> Any:
    """Mark notifications of yours as read."""
    _require_whole_token(request)
    return {"read": following.mark_read(request.user, body.notifications)}


@router.get("/chat", response={200: ChatOut, **errors(403, 404)})
def get_chat(request: ApiRequest) -> Any:
    """Get your chat, to which notifications are sent as well."""
    _require_whole_token(request, "view your chat")
    return _chat(personal_chat.find(request.user))


@router.put("/chat", response={200: ChatOut, **errors(403)})
def save_chat(request: ApiRequest, body: ChatIn) -> Any:
    """Set the address of your chat; subscriptions choose what is sent to it."""
    _require_whole_token(request)
    count("chat", f"person {request.user.pk}")
    return _chat(personal_chat.save(body.address, by=request.user))


@router.delete("/chat", response={204: None, **errors(403, 404)})
def remove_chat(request: ApiRequest) -> Any:
    """Delete your chat; messages that wait are not sent."""
    _require_whole_token(request)
    personal_chat.remove(by=request.user)
    return Reply(204, None)


@router.post("/chat/test", response={202: ChatOut, **errors(403, 404)})
def test_chat(request: ApiRequest) -> Any:
    """Queue a test message to your chat, and try waiting messages again now."""
    _require_whole_token(request)
    count("chat", f"person {request.user.pk}")
    personal_chat.send_test(by=request.user)
    return Reply(202, _chat(personal_chat.find(request.user)))


@subscriptions_router.get("", response={200: SubscriptionPage, **errors(400)})
def list_subscriptions(
    request: ApiRequest, response: HttpResponse, paging: Query[Paging]
) -> Any:
    """List what you follow, oldest first."""
    rows = following.subscriptions_of(request.user)
    page = forward_page(rows, after=paging.after_number, size=paging.limit)
    return {
        "items": [_subscription(row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@subscriptions_router.post("", response={201: SubscriptionOut, **errors(403, 404)})
def follow(request: ApiRequest, body: SubscriptionIn) -> Any:
    """Follow a run, a workflow, a saved view, approvals for you, or failures.

    A repetition changes whether mail, and messages to your chat, are sent.
    """
    _require_whole_token(request)
    row = following.follow(
        body.kind, body.target, by=request.user, mail=body.mail, chat=body.chat
    )
    return Reply(201, _subscription(row))


@subscriptions_router.delete(
    "/{subscription_id}", response={204: None, **errors(403, 404)}
)
def unfollow(
    request: ApiRequest, subscription_id: Annotated[int, Field(ge=1, le=MAX_ID)]
) -> Any:
    """Follow something no longer."""
    _require_whole_token(request)
    following.unfollow(subscription_id, by=request.user)
    return Reply(204, None)


def _require_whole_token(request: ApiRequest, to: str = "change notifications") -> None:
    permissions.require(
        not permissions.is_limited(request.user), f"{to} with this token"
    )


def _notification(row: Notification) -> NotificationOut:
    return NotificationOut(
        id=row.pk,
        type=row.kind,
        title=notification_texts.title_of(row),
        workflow=row.workflow_name,
        run=row.run_id,
        created_at=row.created_at,
        read_at=row.read_at,
        url=notification_texts.path_of(row),
    )


def _chat(row: Destination) -> ChatOut:
    return ChatOut(
        address=row.url,
        state=row.state,
        failures=row.failures,
        error=personal_chat.last_error(row) or None,
        next_attempt_at=row.next_attempt_at,
        updated_at=row.updated_at,
    )


def _subscription(row: Subscription) -> SubscriptionOut:
    is_run = row.kind == Followed.RUN
    return SubscriptionOut(
        id=row.pk,
        kind=Followed(row.kind),
        target=str(UUID(row.target)) if is_run else row.target,
        mail=Mail(row.mail),
        chat=Chat(row.chat),
        created_at=row.created_at,
    )
