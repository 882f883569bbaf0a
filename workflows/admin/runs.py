"""Runs and approvals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.safestring import SafeString

from workflows import bulk
from workflows.access import permissions
from workflows.admin.bulk_actions import ACTIONS, respond
from workflows.admin.read_only import ReadOnlyAdmin, WorkflowFilter, as_json, run_link
from workflows.models import Approval, AuditEvent, Run
from workflows.pages.query_string import uuid_in
from workflows.pages.render.text import span
from workflows.services import approvals

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

MAX_EVENTS = 500  # in the history of a run


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs, with bulk actions."""

    workflow = "workflow_name"
    list_display = (
        "page",
        "workflow_name",
        "status",
        "launched_by",
        "created_at",
        "duration",
        "worker",
    )
    list_display_links = ("workflow_name",)
    list_filter = ("status", WorkflowFilter, "created_at")
    list_select_related = ("launched_by",)
    search_fields = ("=id", "workflow_name", "worker", "error_message")
    search_help_text = "Full ID, or part of a workflow, worker or error."
    ordering = ("-id",)
    object_history_template = "admin/workflows/run/history.html"
    actions = tuple(f"{name}_selected" for name in ACTIONS)
    fields = (
        "page",
        "workflow_name",
        "status",
        "launched_by",
        "created_at",
        "started_at",
        "completed_at",
        "worker",
        "attempt",
        "recoveries",
        "suspicion",
        "sequence",
        "version",
        "lease_expires_at",
        "waiting_for",
        "waiting_node",
        "wake_at",
        "scheduled_for",
        "priority",
        "limit_key",
        "idempotency_key",
        "parent",
        "forked_from",
        "cancel_requested_at",
        "cancel_requested_by",
        "cancel_reason",
        "deadline_at",
        "has_closing",
        "steps_to_undo",
        "steps_undone",
        "error_code",
        "error_node",
        "error_message",
        "fingerprint",
        "params_shown",
        "result_shown",
    )
    readonly_fields = ("page", "params_shown", "result_shown")

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the audit events of the run in place of Django's log."""
        events = AuditEvent.objects.filter(run=uuid_in(object_id)).order_by("-id")
        read = permissions.permissions_for(request.user).read
        shown = [(event, event.workflow_name in read) for event in events[:MAX_EVENTS]]
        context = {"events": shown, **(extra_context or {})}
        return super().history_view(request, object_id, context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Return the runs without their large columns."""
        rows: QuerySet[Run] = super().get_queryset(request)
        return rows.defer("graph", "secrets")

    @admin.display(description="Run", ordering="id")
    def page(self, run: Run) -> SafeString | str:
        """Return a link to the run."""
        return run_link(run)

    @admin.display(description="Duration")
    def duration(self, run: Run) -> str:
        """Return the time from the start to the end, or to now."""
        length: dt.timedelta | None = run.elapsed
        return span(length.total_seconds()) if length is not None else "—"

    @admin.display(description="Parameters")
    def params_shown(self, run: Run) -> SafeString:
        """Return the params as JSON."""
        return as_json(run.params)

    @admin.display(description="Result")
    def result_shown(self, run: Run) -> SafeString:
        """Return the result as JSON."""
        return as_json(run.result)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may operate runs of any workflow."""
        return permissions.permissions_for(request.user).operate.is_any

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the bulk actions, if this person may operate any runs."""
        if not self.has_operate_permission(request):
            return {}
        return {
            f"{name}_selected": (
                _action(bulk.BULK_ACTIONS[name]),
                f"{name}_selected",
                f"{bulk.BULK_ACTIONS[name].verb} the selected runs",
            )
            for name in ACTIONS
        }


Action = Callable[[RunAdmin, "HttpRequest", "QuerySet[Run]"], "HttpResponse | None"]


def _action(action: bulk.BulkAction) -> Action:
    """Return the admin action for a bulk action."""

    def act(
        model_admin: RunAdmin, request: HttpRequest, runs: QuerySet[Run]
    ) -> HttpResponse | None:
        context = model_admin.admin_site.each_context(request)
        return respond(request, runs, action, context)

    return act


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    """Approvals and their responses."""

    workflow = "run__workflow_name"
    list_display = (
        "question",
        "page",
        "status",
        "created_at",
        "responded_by",
        "responded_at",
    )
    list_filter = ("status", "created_at")
    list_select_related = ("run", "responded_by")
    search_fields = ("question", "comment")
    exclude = ("form", "evidence", "initial", "response", "on_expiry", "excluded")
    readonly_fields = (
        "page",
        "votes_shown",
        "response_shown",
        "form_shown",
        "evidence_shown",
    )

    @admin.display(description="Run")
    def page(self, approval: Approval) -> SafeString | str:
        """Return a link to the run."""
        return run_link(approval.run)

    @admin.display(description="Votes")
    def votes_shown(self, approval: Approval) -> str:
        """Return who has voted, and when."""
        votes = [
            f"{vote.voter_name} ({vote.created_at:%Y-%m-%d %H:%M:%S} UTC)"
            for vote in approvals.votes_of(approval)
        ]
        return ", ".join(votes) or "—"

    @admin.display(description="Response")
    def response_shown(self, approval: Approval) -> SafeString:
        """Return the response as JSON."""
        return as_json(approval.response)

    @admin.display(description="Form")
    def form_shown(self, approval: Approval) -> SafeString:
        """Return the JSON schema of the response."""
        return as_json(approval.form)

    @admin.display(description="Evidence")
    def evidence_shown(self, approval: Approval) -> SafeString:
        """Return the evidence as JSON."""
        return as_json(approval.evidence)
