"""Schedules and their moments."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.admin.read_only import ReadOnlyAdmin, WorkflowFilter, as_json
from workflows.models import Schedule, ScheduleMoment


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    """Schedules; they are changed on their pages."""

    workflow = "workflow_name"

    list_display = (
        "name",
        "page",
        "workflow_name",
        "cron",
        "zone",
        "next_moment",
        "owner_name",
        "paused_at",
    )
    list_filter = (WorkflowFilter, "overlap", "catch_up")
    list_select_related = False
    search_fields = ("name", "owner_name", "=id")
    ordering = ("workflow_name", "name")
    exclude = ("params",)
    readonly_fields = ("page", "params_shown")

    @admin.display(description="Page")
    def page(self, schedule: Schedule) -> SafeString:
        """Return a link to the page of the schedule."""
        address = reverse("schedule", args=[schedule.pk])
        return format_html('<a href="{}">Open</a>', address)

    @admin.display(description="Params")
    def params_shown(self, schedule: Schedule) -> SafeString:
        """Return the params, indented."""
        return as_json(schedule.params)


@admin.register(ScheduleMoment)
class ScheduleMomentAdmin(ReadOnlyAdmin):
    """Moments of schedules with their results."""

    workflow = "schedule__workflow_name"

    list_display = ("schedule", "moment", "result", "is_backfill", "run_id", "message")
    list_filter = ("result", "is_backfill")
    list_select_related = ("schedule",)
    search_fields = ("schedule__name", "message")
    ordering = ("-id",)
