"""Notifications of the user, and what they follow. A GET never changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from workflows.deliveries import following, mail, notification_texts, personal_chat
from workflows.errors import InvalidDestination
from workflows.models import Chat, Followed, Mail, Run
from workflows.pages.access import members_only
from workflows.pages.catalog import title_of
from workflows.pages.forms.notifications import ChatForm
from workflows.pages.forms.service_errors import add_service_errors
from workflows.pages.lists.pagination import keyset_page
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import clean_text, int_in, is_row_id
from workflows.pages.rate_limits import limited
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import status_of_form
from workflows.pages.visible_rows import visible_runs

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

    from workflows.models import Destination, Notification, Subscription
    from workflows.pages.requests import HtmxRequest

MAX_TARGET_LENGTH = 100  # characters
GENERAL = (Followed.APPROVALS, Followed.FAILURES)
EXPLANATIONS = {
    Followed.APPROVALS: "A run waits for an approval that you can respond to.",
    Followed.FAILURES: (
        "A run fails, or a schedule launches nothing, of a workflow that you can view."
    ),
}


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """A notification as the list shows it."""

    notification: Notification

    @property
    def label(self) -> str:
        """Return what happened."""
        kind = self.notification.kind
        return notification_texts.LABELS.get(kind, kind)

    @property
    def path(self) -> str:
        """Return the path of the page that shows more."""
        return notification_texts.path_of(self.notification)


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """What a user follows, in words."""

    subscription: Subscription
    title: str


@require_safe
@members_only
def list_notifications(request: HtmxRequest) -> HttpResponse:
    """Show the notifications of the user, newest first."""
    before = int_in(request.GET, "before")
    is_unread = bool(request.GET.get("unread"))
    rows = following.notifications_of(request.user)
    page = keyset_page(rows.filter(read_at=None) if is_unread else rows, before=before)
    context = {
        "rows": [NotificationRow(row) for row in page.rows],
        "after": page.after,
        "before": before,
        "is_unread": is_unread,
        "follows": following.subscriptions_of(request.user).exists(),
    }
    return render(request, "notifications/list.html", context)


@posts_only
@members_only
def mark_read(request: HtmxRequest) -> HttpResponse:
    """Mark notifications as read: one, or all."""
    sent = request.POST.get("notification", "")
    ids = [int(sent)] if is_row_id(sent) else None
    if sent and ids is None:
        return redirect("notifications")
    following.mark_read(request.user, ids)
    return redirect("notifications")


@require_safe
@members_only
def notification_settings(request: HtmxRequest) -> HttpResponse:
    """Show what the user follows, and how they are notified."""
    return _settings_page(request)


def _settings_page(request: HtmxRequest, form: ChatForm | None = None) -> HttpResponse:
    rows = following.subscriptions_of(request.user)
    chat = personal_chat.chat_of(request.user)
    known = {row.kind: row for row in rows if row.kind in GENERAL}
    context = {
        "general": [(kind, known.get(kind), EXPLANATIONS[kind]) for kind in GENERAL],
        "rows": [
            SubscriptionRow(row, describe(row, request.user))
            for row in rows
            if row.kind not in GENERAL
        ],
        **_channels(request.user, chat),
        "chat_error": personal_chat.last_error(chat) if chat else "",
        "form": form or ChatForm(initial={"address": chat.url if chat else ""}),
        "has_chats": personal_chat.is_available(),
    }
    status = status_of_form(request)
    return render(request, "notifications/settings.html", context, status=status)


def _channels(user: User, chat: Destination | None) -> dict[str, Any]:
    """Return how a person can be notified, in addition to the notification centre."""
    return {
        "mails": Mail.choices,
        "has_mail": mail.is_configured(),
        "address": user.email,
        "chats": Chat.choices if chat else [],
        "chat": chat,
    }


@posts_only
@members_only
@answers_request_errors
@limited("chat")
def save_chat(request: HtmxRequest) -> HttpResponse:
    """Set the address of the user's chat."""
    form = ChatForm(request.POST)
    if form.is_valid():
        try:
            personal_chat.save(form.cleaned_data["address"], by=request.user)
        except InvalidDestination as error:
            add_service_errors(form, error)
        else:
            messages.success(request, "Chat saved. Choose below what to send to it.")
            return redirect("notification-settings")
    return _settings_page(request, form)


@posts_only
@members_only
@answers_request_errors
@limited("chat")
def test_chat(request: HtmxRequest) -> HttpResponse:
    """Queue a test message to the user's chat."""
    personal_chat.send_test(by=request.user)
    messages.success(request, "Test message queued. Reload to see the result.")
    return redirect("notification-settings")


@posts_only
@members_only
@answers_request_errors
def remove_chat(request: HtmxRequest) -> HttpResponse:
    """Delete the user's chat."""
    personal_chat.remove(by=request.user)
    messages.success(request, "Chat removed.")
    return redirect("notification-settings")


def describe(row: Subscription, user: User) -> str:
    """Return what a subscription is about, as far as its person may see it."""
    if row.kind == Followed.WORKFLOW:
        return f"Workflow {title_of(row.target)}"
    if row.kind == Followed.VIEW:
        return f"View {row.view}"
    if row.kind == Followed.RUN:
        run: Run | None = visible_runs(user).filter(pk=row.target).first()
        return f"Run {title_of(run.workflow_name)} {run.short_id}" if run else "A run"
    return Followed(row.kind).label


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def follow(request: HtmxRequest) -> HttpResponse:
    """Show the form to follow something; follow it on POST."""
    sent = request.POST if request.method == "POST" else request.GET
    kind = clean_text(sent.get("kind", ""))
    target = clean_text(sent.get("target", ""))[:MAX_TARGET_LENGTH]
    if request.method == "POST":
        chosen = clean_text(request.POST.get("mail", Mail.NONE))
        chat = clean_text(request.POST["chat"]) if "chat" in request.POST else None
        row = following.follow(kind, target, by=request.user, mail=chosen, chat=chat)
        messages.success(request, f"Following: {describe(row, request.user)}.")
        return redirect("notification-settings")
    if kind not in Followed.values:
        return redirect("notification-settings")
    row = following.draft(kind, target, by=request.user)
    mine = following.subscriptions_of(request.user)
    known = mine.filter(kind=row.kind, target=row.target).first()
    context = {
        "subscription": known or row,
        "title": describe(row, request.user),
        "target": target,
        **_channels(request.user, personal_chat.chat_of(request.user)),
    }
    return render(request, "notifications/follow.html", context)


@posts_only
@members_only
@answers_request_errors
def unfollow(request: HtmxRequest, subscription_id: int) -> HttpResponse:
    """Delete a subscription of the user."""
    row = following.find(subscription_id, by=request.user)
    title = describe(row, request.user)
    following.unfollow(subscription_id, by=request.user)
    messages.success(request, f"No longer following: {title}.")
    return redirect("notification-settings")
