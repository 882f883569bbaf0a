"""What people follow: create, change and delete subscriptions, read notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.db import transaction

from workflows.access import permissions
from workflows.deliveries.recipients import ADDRESSED, FAILURES, MESSAGES, RUN_ENDS
from workflows.errors import InvalidSubscription, SubscriptionNotFound
from workflows.infra import clock
from workflows.models import (
    Chat,
    EventKind,
    Followed,
    Interest,
    Mail,
    Notification,
    Subscription,
)
from workflows.services.saved_views import visible_views
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import SavedView

MAX_SUBSCRIPTIONS: Final = 200  # of one person
MAX_UNREAD_COUNTED: Final = 100


def follow(
    kind: str,
    target: str,
    *,
    by: User,
    mail: str = Mail.NONE,
    chat: str | None = None,
) -> Subscription:
    """Follow something; a second call changes how the person is notified.

    `chat`: whether messages go to the chat of the person; None leaves it as it is.
    `target` is the id of a run, the name of a workflow, the id of a saved view, or "".
    Raises InvalidSubscription, RunNotFound, WorkflowNotFound.
    """
    if mail not in Mail.values:
        text = f"Choose from: {', '.join(Mail.values)}."
        raise InvalidSubscription({"mail": [text]})
    if chat is not None and chat not in Chat.values:
        text = f"Choose from: {', '.join(Chat.values)}."
        raise InvalidSubscription({"chat": [text]})
    wanted = draft(kind, target, by=by)
    with transaction.atomic():
        mine = Subscription.objects.filter(user=by)
        others = mine.exclude(kind=kind, target=wanted.target)
        if others.count() >= MAX_SUBSCRIPTIONS:
            text = f"You follow {MAX_SUBSCRIPTIONS} things already. Unfollow one first."
            raise InvalidSubscription({"": [text]})
        row, is_new = mine.get_or_create(
            user=by,
            kind=kind,
            target=wanted.target,
            defaults={
                "mail": mail,
                "chat": chat or Chat.NONE,
                "view": wanted.view,
            },
        )
        if is_new:
            Interest.objects.bulk_create(_interests(row))
        else:
            row.mail, row.chat = mail, chat or row.chat
            row.save(update_fields=["mail", "chat"])
    return row


def draft(kind: str, target: str, *, by: User) -> Subscription:
    """Return a subscription that is not saved.

    Raises InvalidSubscription, RunNotFound, WorkflowNotFound.
    """
    if kind not in Followed.values:
        text = f"Choose from: {', '.join(Followed.values)}."
        raise InvalidSubscription({"kind": [text]})
    checked, view = _checked(Followed(kind), target, by)
    return Subscription(user=by, kind=kind, target=checked, view=view)


def unfollow(subscription_id: int, *, by: User) -> Subscription:
    """Delete a subscription of a person. Raises SubscriptionNotFound."""
    row = find(subscription_id, by=by)
    Subscription.objects.filter(pk=row.pk).delete()
    return row


def find(subscription_id: int, *, by: User) -> Subscription:
    """Return a subscription of a person. Raises SubscriptionNotFound."""
    try:
        return subscriptions_of(by).get(pk=subscription_id)
    except Subscription.DoesNotExist as error:
        raise SubscriptionNotFound from error


def subscriptions_of(user: User) -> QuerySet[Subscription]:
    """Return what a person follows."""
    return Subscription.objects.filter(user=user).select_related("view")


def _checked(kind: Followed, target: str, by: User) -> tuple[str, SavedView | None]:
    """Return the target as it is stored, and its view. Raises if `by` may not see it."""
    if kind == Followed.RUN:
        run_id = system.find_run(target, by=by).pk
        return run_id.hex, None
    if kind == Followed.WORKFLOW:
        return system.find_workflow(target, by=by).name, None
    if kind == Followed.VIEW:
        views = [one for one in visible_views(by) if str(one.pk) == target]
        if not views:
            raise InvalidSubscription({"target": ["There is no such view."]})
        return target, views[0]
    return "", None


def _interests(row: Subscription) -> list[Interest]:
    """Return what the triggers look up for a subscription."""
    kinds: Iterable[str]
    workflow, run_id = "", None
    if row.kind == Followed.RUN:
        kinds, run_id = [""], UUID(row.target)
    elif row.kind == Followed.WORKFLOW:
        kinds, workflow = sorted(set(EventKind) - MESSAGES - ADDRESSED), row.target
    elif row.kind == Followed.VIEW:
        kinds = sorted(RUN_ENDS)
    elif row.kind == Followed.APPROVALS:
        kinds = [EventKind.APPROVAL_REQUESTED]
    else:
        kinds = sorted(FAILURES)
    return [
        Interest(subscription=row, kind=kind, workflow_name=workflow, run_id=run_id)
        for kind in kinds
    ]


# Notifications --------------------------------------------------------------------------


def notifications_of(user: User) -> QuerySet[Notification]:
    """Return the notifications of a person about workflows that they may see now."""
    mine = Notification.objects.filter(user=user)
    return permissions.visible(user, mine)


def unread_count(user: User) -> int:
    """Return the number of unread notifications, up to MAX_UNREAD_COUNTED."""
    unread = notifications_of(user).filter(read_at=None)
    return unread.order_by()[:MAX_UNREAD_COUNTED].count()


def mark_read(user: User, ids: Iterable[int] | None = None) -> int:
    """Mark notifications of a person as read, by default all; return their number."""
    unread = Notification.objects.filter(user=user, read_at=None)
    if ids is not None:
        unread = unread.filter(pk__in=list(ids))
    return unread.update(read_at=clock.now())
