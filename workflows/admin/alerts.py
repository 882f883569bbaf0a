"""Alert rules and the times at which they were raised."""

from __future__ import annotations

from django.contrib import admin

from workflows.admin.read_only import ReadOnlyAdmin, WorkflowFilter
from workflows.models import AlertIncident, AlertRule


@admin.register(AlertRule)
class AlertRuleAdmin(ReadOnlyAdmin):
    """Alert rules; they are changed on their pages."""

    workflow = "workflow_name"
    list_display = ("name", "workflow_name", "metric", "raise_above", "raised_at")
    list_filter = (WorkflowFilter, "metric")
    search_fields = ("name", "owner_name", "=id")
    ordering = ("workflow_name", "name")


@admin.register(AlertIncident)
class AlertIncidentAdmin(ReadOnlyAdmin):
    """The times at which alerts were raised and cleared."""

    workflow = "rule__workflow_name"
    list_display = ("rule", "raised_at", "raised_value", "cleared_at")
    list_select_related = ("rule",)
    search_fields = ("rule__name",)
    ordering = ("-id",)
