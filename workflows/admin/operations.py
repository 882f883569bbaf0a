"""Workers, bulk operations and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.access import permissions
from workflows.admin.read_only import ReadOnlyAdmin, run_link
from workflows.audit import audit_events
from workflows.models import AuditEvent, BulkJob, Run, Worker
from workflows.models.operations import stored_actions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet
    from django.http import HttpRequest


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """All workers that ever registered."""

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
class BulkJobAdmin(ReadOnlyAdmin):
    """Bulk operations; the results are on their pages."""

    list_display = (
        "action",
        "page",
        "person_name",
        "total",
        "done",
        "refused",
        "created_at",
        "ended_at",
    )
    list_filter = ("action", "created_at")
    search_fields = ("person_name", "reason", "=id")
    ordering = ("-id",)
    readonly_fields = ("page",)

    @admin.display(description="Page")
    def page(self, job: BulkJob) -> SafeString:
        """Return a link to the page of the job."""
        return format_html('<a href="{}">Open</a>', reverse("bulk-job", args=[job.pk]))


class ActionFilter(admin.SimpleListFilter):
    """Filter by action, with the declared actions by subject as choices."""

    title = "action"
    parameter_name = "action"
    template = "admin/workflows/auditevent/action_filter.html"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: Any,  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        """Return the names."""
        known = audit_events.ACTIONS.values()
        return [(name, name) for names in known for name in sorted(names)]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield the choices with their subject, of which the chosen one's is open."""
        found = iter(super().choices(changelist))
        yield {**next(found), "heading": ""}
        for heading, names in audit_events.ACTIONS.items():
            is_open = self.value() in names
            for _ in names:
                yield {**next(found), "heading": heading, "is_open": is_open}

    def queryset(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Any],
    ) -> QuerySet[Any]:
        """Return the rows of the chosen action."""
        action = self.value()
        if not action:
            return queryset
        return queryset.filter(action__in=stored_actions(action))


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Audit events; kept after the deletion of their runs."""

    list_display = (
        "created_at",
        "actor_name",
        "action_name",
        "about",
        "reason",
        "status_before",
        "status_after",
        "address",
        "token_name",
    )
    list_filter = (ActionFilter, "created_at")
    search_fields = ("actor_name", "reason", "=address", "=run__id")
    ordering = ("-id",)
    fields = (
        "actor",
        "actor_name",
        "address",
        "token_name",
        "action_name",
        "about",
        "workflow_name",
        "reason",
        "status_before",
        "status_after",
        "before",
        "after",
        "created_at",
    )
    readonly_fields = ("action_name", "about")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        """Return the visible events with their existing runs.

        Events without a run require the permission to view every workflow; events on
        documents, which contain their names, the permission to read all values.
        """
        rows: QuerySet[AuditEvent] = super().get_queryset(request)
        rows = permissions.visible(request.user, rows, read=True)
        if not permissions.permissions_for(request.user).view.are_all:
            rows = rows.exclude(workflow_name="")
        if not permissions.permissions_for(request.user).read.are_all:
            rows = rows.exclude(action__in=audit_events.ON_DOCUMENTS)
        return rows.prefetch_related("run")

    @admin.display(description="Action", ordering="action")
    def action_name(self, event: AuditEvent) -> str:
        """Return the current name of the action."""
        return event.action_name

    @admin.display(description="About")
    def about(self, event: AuditEvent) -> SafeString | str:
        """Return a link to the run, the id of a deleted run, or the subject."""
        if event.run_id is None:
            return audit_events.subject_of(event)
        try:
            run = event.run  # None if prefetched and deleted
        except Run.DoesNotExist:
            run = None
        if run is None:
            return f"Run {event.run_id} (deleted)"
        return format_html("Run {}", run_link(run))
