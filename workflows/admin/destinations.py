"""Destinations, deliveries with their attempts, events of the outbox, notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.admin.read_only import ReadOnlyAdmin, WorkflowFilter, as_json
from workflows.models import (
    Delivery,
    DeliveryAttempt,
    Destination,
    DestinationKind,
    Notification,
    OutboxEvent,
    Subscription,
)

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest


@admin.register(Destination)
class DestinationAdmin(ReadOnlyAdmin):
    """Destinations; they are changed on their pages."""

    list_display = ("name", "page", "url", "state", "owner_name", "paused_at")
    list_select_related = False
    search_fields = ("name", "url", "owner_name", "=id")
    ordering = ("name",)
    readonly_fields = ("page",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        """Return the destinations without the chats of people, which only they see."""
        rows: QuerySet[Destination] = super().get_queryset(request)
        return rows.exclude(kind=DestinationKind.PERSONAL)

    @admin.display(description="Page")
    def page(self, destination: Destination) -> SafeString:
        """Return a link to the page of the destination."""
        address = reverse("destination", args=[destination.pk])
        return format_html('<a href="{}">Open</a>', address)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries; they are replayed on the page of their destination."""

    workflow = "workflow_name"
    list_display = ("kind", "destination", "status", "attempts", "created_at", "run_id")
    list_filter = (WorkflowFilter, "status", "kind")
    list_select_related = ("destination",)
    search_fields = ("=message_id", "=run_id")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Return the deliveries without those to chats of people, which only they see."""
        rows: QuerySet[Delivery] = super().get_queryset(request)
        return rows.exclude(destination__kind=DestinationKind.PERSONAL)


@admin.register(DeliveryAttempt)
class DeliveryAttemptAdmin(ReadOnlyAdmin):
    """Attempts to deliver a message."""

    workflow = "delivery__workflow_name"
    list_display = ("delivery", "number", "started_at", "response_status", "error")
    list_filter = ("response_status",)
    list_select_related = ("delivery",)
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeliveryAttempt]:
        """Return the attempts without those to chats of people, which only they see."""
        rows: QuerySet[DeliveryAttempt] = super().get_queryset(request)
        return rows.exclude(delivery__destination__kind=DestinationKind.PERSONAL)


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    """Events of the outbox."""

    workflow = "workflow_name"
    list_display = ("kind", "workflow_name", "run_id", "created_at", "expanded_at")
    list_filter = (WorkflowFilter, "kind")
    search_fields = ("=run_id",)
    ordering = ("-id",)
    exclude = ("facts",)
    readonly_fields = ("details_shown",)

    @admin.display(description="Facts")
    def details_shown(self, event: OutboxEvent) -> SafeString:
        """Return the facts, indented."""
        return as_json(event.facts)


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """What people follow; each person changes it on a page."""

    list_display = ("user", "kind", "target", "mail", "created_at")
    list_filter = ("kind", "mail")
    list_select_related = ("user",)
    search_fields = ("user__username", "target")
    ordering = ("-id",)


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """Notifications of people."""

    workflow = "workflow_name"
    list_display = ("user", "kind", "workflow_name", "run_id", "created_at", "read_at")
    list_filter = (WorkflowFilter, "kind")
    list_select_related = ("user",)
    search_fields = ("user__username", "=run_id")
    ordering = ("-id",)
    exclude = ("facts",)
