"""Who works, and what people did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows import access
from workflows.admin.reading import ReadingAdmin, run_link
from workflows.models import BulkJob, Intervention, Run, Worker

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest


@admin.register(Worker)
class WorkerAdmin(ReadingAdmin):
    """Every worker that ever registered."""

    list_display = (
        "name",
        "host",
        "pid",
        "running",
        "capacity",
        "heartbeat_at",
        "stopped_at",
    )
    search_fields = ("name", "host")
    ordering = ("-heartbeat_at",)


@admin.register(BulkJob)
class BulkJobAdmin(ReadingAdmin):
    """Every deed on several runs; what became of each is on its page."""

    list_display = (
        "deed",
        "page",
        "person_name",
        "total",
        "done",
        "refused",
        "created_at",
        "ended_at",
    )
    list_filter = ("deed", "created_at")
    search_fields = ("person_name", "reason", "=id")
    ordering = ("-id",)
    readonly_fields = ("page",)

    @admin.display(description="Page")
    def page(self, job: BulkJob) -> SafeString:
        """Lead to the job's page."""
        return format_html('<a href="{}">Open</a>', reverse("bulk-job", args=[job.pk]))


@admin.register(Intervention)
class InterventionAdmin(ReadingAdmin):
    """Every human action; it outlives its run."""

    list_display = (
        "actor_name",
        "address",
        "action",
        "page",
        "reason",
        "status_before",
        "status_after",
        "created_at",
    )
    list_filter = ("action", "created_at")
    search_fields = ("actor_name", "reason", "=address", "=run__id")
    ordering = ("-id",)
    fields = (
        "actor",
        "actor_name",
        "address",
        "action",
        "page",
        "workflow_name",
        "reason",
        "status_before",
        "status_after",
        "before",
        "after",
        "created_at",
    )
    readonly_fields = ("page",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Intervention]:
        """Return them with their runs, those that are left.

        What was done to no run is for those who see the runs of every workflow.
        """
        rows: QuerySet[Intervention] = super().get_queryset(request)
        rows = access.those_seen(request.user, rows, read=True)
        if not access.sight_of(request.user).see.are_all:
            rows = rows.exclude(workflow_name="")
        return rows.prefetch_related("run")

    @admin.display(description="Run")
    def page(self, one: Intervention) -> SafeString | str:
        """Lead to the run's page; name the id of one that was deleted."""
        try:
            run = one.run
        except Run.DoesNotExist:
            run = None
        return f"{one.run_id} (deleted)" if run is None else run_link(run)
