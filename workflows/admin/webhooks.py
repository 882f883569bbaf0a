"""Incoming webhooks and their deliveries."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.admin.read_only import ReadOnlyAdmin, WorkflowFilter, as_json
from workflows.models import WebhookDelivery, WebhookEndpoint


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Incoming webhooks; they are changed on their pages. Address and secrets are left out."""

    workflow = "workflow_name"

    list_display = (
        "name",
        "page",
        "workflow_name",
        "style",
        "enabled",
        "owner_name",
        "rejected",
        "rejected_at",
    )
    list_filter = (WorkflowFilter, "style", "enabled")
    list_select_related = False
    search_fields = ("name", "owner_name", "=id")
    ordering = ("workflow_name", "name")
    exclude = ("path", "digest", "secrets", "mapping", "filters")
    readonly_fields = ("page", "mapping_shown", "filters_shown")

    @admin.display(description="Page")
    def page(self, webhook: WebhookEndpoint) -> SafeString:
        """Return a link to the page of the webhook."""
        address = reverse("webhook", args=[webhook.pk])
        return format_html('<a href="{}">Open</a>', address)

    @admin.display(description="Mapping")
    def mapping_shown(self, webhook: WebhookEndpoint) -> SafeString:
        """Return the mapping, indented."""
        return as_json(webhook.mapping)

    @admin.display(description="Filter")
    def filters_shown(self, webhook: WebhookEndpoint) -> SafeString:
        """Return the filter, indented."""
        return as_json(webhook.filters)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """Deliveries to incoming webhooks, with their outcomes."""

    workflow = "endpoint__workflow_name"

    list_display = ("id", "endpoint", "received_at", "event", "outcome", "run_id")
    list_filter = ("outcome",)
    list_select_related = ("endpoint",)
    search_fields = ("endpoint__name", "event", "=id")
    ordering = ("-id",)
    exclude = ("body", "headers")
    readonly_fields = ("page", "headers_shown")

    @admin.display(description="Page")
    def page(self, delivery: WebhookDelivery) -> SafeString:
        """Return a link to the page of the delivery, which has its body."""
        address = reverse("webhook-delivery", args=[delivery.endpoint_id, delivery.pk])
        return format_html('<a href="{}">Open</a>', address)

    @admin.display(description="Headers")
    def headers_shown(self, delivery: WebhookDelivery) -> SafeString:
        """Return the headers, indented."""
        return as_json(delivery.headers)
