"""The audit: what everybody did, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.audit import trail
from workflows.engine.delta import diff
from workflows.execution.changes import Changes, told
from workflows.models import AuditEvent, Run
from workflows.pages.access import members_only
from workflows.pages.catalog import title_of
from workflows.pages.errors import answers_request_errors
from workflows.pages.lists import period
from workflows.pages.lists.audit_filters import AuditFilters, may_read
from workflows.pages.views.history import number
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MAX_CHANGES = 40  # told of one deed


@dataclass(frozen=True, slots=True)
class Told:
    """A deed, and how much of it is shown."""

    deed: AuditEvent
    is_there: bool  # its run was not removed
    may_read: bool  # its reason, which may speak of what the run is about

    @property
    def subject(self) -> str:
        """What it is about where that is no run, as far as it may be read."""
        is_of_run = self.deed.run_id is not None
        return "" if is_of_run or not self.may_read else trail.subject_of(self.deed)

    @property
    def changes(self) -> Changes:
        """What it changed, as far as it may be read."""
        was, now = self.deed.before, self.deed.after
        if not (self.may_read and was and now):
            return Changes()
        return told(diff(was, now), was, most=MAX_CHANGES)

    @property
    def whole(self) -> dict[str, Any]:
        """What it added or deleted, as far as it may be read."""
        was, now = self.deed.before or {}, self.deed.after or {}
        return was | now if self.may_read and not (was and now) else {}


@require_safe
@members_only
@answers_request_errors
def list_audit_events(request: HtmxRequest) -> HttpResponse:
    """Show what people did that matches, newest first."""
    permissions.require(permissions.may_audit(request.user), "see what everybody did")
    filters = AuditFilters.read(request.GET.dict())
    before = number(request, "before") or None
    found = filters.page(request.user, before)
    there = _there(deed.run_id for deed in found.rows)
    workflows = system.list_workflows(by=request.user)
    context = {
        "filters": filters,
        "found": found,
        "rows": [
            Told(deed, deed.run_id in there, may_read(request.user, deed))
            for deed in found.rows
        ],
        "before": before,
        "query": filters.encoded,
        "actions": trail.ACTIONS,
        "is_declared": trail.is_declared(filters.action),
        "workflows": [(one.name, title_of(one.name)) for one in workflows],
        "spans": period.CHOICES,
    }
    return render(request, "audit/list.html", context)


def _there(ids: Iterable[UUID | None]) -> set[UUID]:
    """Return the runs among these that were not removed."""
    asked = {run_id for run_id in ids if run_id}
    return set(Run.objects.filter(pk__in=asked).values_list("pk", flat=True))
