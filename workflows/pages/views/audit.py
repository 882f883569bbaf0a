"""The audit: what everybody did, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows import access
from workflows.models import Intervention, Run
from workflows.pages import period
from workflows.pages.access import members_only
from workflows.pages.audit_filters import AuditFilters
from workflows.pages.catalog import title_of
from workflows.pages.errors import answers_request_errors
from workflows.pages.views.history import number
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

ACTIONS = (
    "launch",
    "cancel",
    "resume",
    "delete",
    "answer",
    "raise budget",
    "label",
    "unlabel",
)


@dataclass(frozen=True, slots=True)
class Told:
    """A deed, and how much of it is shown."""

    deed: Intervention
    is_there: bool  # its run was not removed
    may_read: bool  # its reason, which may speak of what the run is about


@require_safe
@members_only
@answers_request_errors
def list_deeds(request: HtmxRequest) -> HttpResponse:
    """Show what people did that matches, newest first."""
    access.require(access.may_audit(request.user), "see what everybody did")
    filters = AuditFilters.read(request.GET.dict())
    before = number(request, "before") or None
    found = filters.page(request.user, before)
    there = _there(deed.run_id for deed in found.rows)
    read = access.sight_of(request.user).read
    workflows = system.list_workflows(by=request.user)
    context = {
        "filters": filters,
        "found": found,
        "rows": [
            Told(deed, deed.run_id in there, deed.workflow_name in read)
            for deed in found.rows
        ],
        "before": before,
        "query": filters.encoded,
        "actions": ACTIONS,
        "workflows": [(one.name, title_of(one.name)) for one in workflows],
        "spans": period.CHOICES,
    }
    return render(request, "audit/list.html", context)


def _there(ids: Iterable[UUID | None]) -> set[UUID]:
    """Return the runs among these that were not removed."""
    asked = {run_id for run_id in ids if run_id}
    return set(Run.objects.filter(pk__in=asked).values_list("pk", flat=True))
