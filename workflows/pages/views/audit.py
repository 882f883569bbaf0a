"""The audit log: who did what, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.http import Http404
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.engine.json_patch import diff
from workflows.execution.state_changes import Changes, describe_patch
from workflows.models import AuditEvent
from workflows.pages.access import members_only
from workflows.pages.catalog import title_of
from workflows.pages.lists import period
from workflows.pages.lists.audit_export import AuditExport
from workflows.pages.lists.audit_filters import AuditFilters, can_read
from workflows.pages.lists.export import KINDS
from workflows.pages.query_string import int_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.streaming import streamed
from workflows.pages.visible_rows import existing_runs
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse, StreamingHttpResponse

    from workflows.pages.requests import HtmxRequest

MAX_CHANGES = 40  # shown of one event


@dataclass(frozen=True, slots=True)
class Row:
    """An audit event as its reader may see it."""

    event: AuditEvent
    is_there: bool  # its run is still stored
    can_read: bool  # its reason and values, which may quote data of the run

    @property
    def subject(self) -> str:
        """Return the object of an event without a run; "" if the reader may not see it."""
        is_of_run = self.event.run_id is not None
        return (
            ""
            if is_of_run or not self.can_read
            else audit_events.subject_of(self.event)
        )

    @property
    def changes(self) -> Changes:
        """Return the changed values; none if the reader may not see them."""
        was, now = self.event.before, self.event.after
        if not (self.can_read and was and now):
            return Changes()
        return describe_patch(diff(was, now), was, limit=MAX_CHANGES)

    @property
    def whole(self) -> dict[str, Any]:
        """Return the added or deleted values; {} if the reader may not see them."""
        was, now = self.event.before or {}, self.event.after or {}
        return was | now if self.can_read and not (was and now) else {}


@require_safe
@members_only
@answers_request_errors
def list_audit_events(request: HtmxRequest) -> HttpResponse:
    """Show a page of the matching audit events, newest first."""
    permissions.require(permissions.can_audit(request.user), "view the audit log")
    filters = AuditFilters.read(request.GET.dict())
    before = int_in(request.GET, "before") or None
    found = filters.page(request.user, before)
    existing = existing_runs(event.run_id for event in found.rows)
    workflows = system.list_workflows(by=request.user)
    context = {
        "filters": filters,
        "found": found,
        "rows": [
            Row(event, event.run_id in existing, can_read(request.user, event))
            for event in found.rows
        ],
        "before": before,
        "query": filters.encoded,
        "actions": audit_events.ACTIONS,
        "is_declared": audit_events.is_declared(filters.action),
        "workflows": [(one.name, title_of(one.name)) for one in workflows],
        "spans": period.CHOICES,
    }
    return render(request, "audit/list.html", context)


@require_safe
@members_only
@answers_request_errors
def export(request: HtmxRequest, kind: str) -> StreamingHttpResponse:
    """Stream the matching events as a file. Raises TooManyDownloads."""
    permissions.require(permissions.can_audit(request.user), "view the audit log")
    if kind not in KINDS:
        raise Http404
    filters = AuditFilters.read(request.GET.dict())
    response = streamed(
        request,
        AuditExport(filters, request.user, kind).parts,
        name=f"audit-{timezone.now():%Y-%m-%d-%H%M}-UTC.{kind}",
        content_type=KINDS[kind],
    )
    response["Cache-Control"] = "no-store"
    return response
