"""Alert rules: the list, one with its incidents, its form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from workflows.access import permissions
from workflows.alerts import service
from workflows.alerts.evaluation import SHARES
from workflows.errors import InvalidAlert
from workflows.models import AlertMetric
from workflows.pages.access import members_only
from workflows.pages.catalog import (
    entries,
    entry,
    installed_workflow,
    title_of,
)
from workflows.pages.forms.alerts import AlertForm
from workflows.pages.forms.service_errors import add_service_errors
from workflows.pages.post_only_views import posts_only
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of, status_of_form
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpResponse

    from workflows.models import AlertRule
    from workflows.pages.requests import HtmxRequest

FIELDS = {"from_node": "edge"}  # of the form, where they differ
MAX_INCIDENTS = 100  # shown, the newest
DENIED = "set up alerts of this workflow"


@dataclass(frozen=True, slots=True)
class AlertRow:
    """A rule with its numbers in words."""

    rule: AlertRule

    @property
    def value(self) -> str:
        """Return the present value; "No data" without one."""
        value = self.rule.value
        return "No data" if value is None else with_unit(self.rule, value)

    @property
    def limit(self) -> str:
        """Return the limit."""
        return with_unit(self.rule, self.rule.raise_above)

    @property
    def cleared(self) -> str:
        """Return the value at which the alert is cleared."""
        return with_unit(self.rule, self.rule.clear_at)


def with_unit(rule: AlertRule, value: float) -> str:
    """Return a value with its unit."""
    if rule.metric in SHARES:
        return f"{value * 100:.4g}%"
    if rule.metric in {AlertMetric.COST, AlertMetric.PERSON_COST}:
        return f"{value:,.2f} {settings.CURRENCY}"
    return f"{value:,.4g} min"


@require_safe
@members_only
def list_alerts(request: HtmxRequest) -> HttpResponse:
    """Show the rules of the workflows that the user may see, raised ones first."""
    rules = list(service.visible_rules(request.user))
    rules.sort(key=lambda rule: not rule.is_raised)
    operated = permissions.permissions_for(request.user).operate
    context = {
        "rows": [AlertRow(rule) for rule in rules],
        "operated": [one for one in entries(request.user) if one.name in operated],
    }
    return render(request, "alerts/list.html", context)


@require_safe
@members_only
@answers_request_errors
def alert(request: HtmxRequest, alert_id: UUID) -> HttpResponse:
    """Show a rule with its incidents."""
    rule = service.find(alert_id, by=request.user)
    incidents = rule.incidents.all()[:MAX_INCIDENTS]
    context = {
        "rule": rule,
        "row": AlertRow(rule),
        "incidents": [(one, with_unit(rule, one.raised_value)) for one in incidents],
        "can_change": service.can_change(request.user, rule.workflow_name),
    }
    return render(request, "alerts/detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def new(request: HtmxRequest, name: str) -> HttpResponse:
    """Show the form of a new rule of a workflow; create it on POST."""
    system.find_workflow(name, by=request.user)
    permissions.require(service.can_change(request.user, name), DENIED)
    return _form_page(request, name, None)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def edit(request: HtmxRequest, alert_id: UUID) -> HttpResponse:
    """Show the form of a rule; change it on POST."""
    found = service.find(alert_id, by=request.user)
    allowed = service.can_change(request.user, found.workflow_name)
    permissions.require(allowed, DENIED)
    return _form_page(request, found.workflow_name, found)


def _form_page(
    request: HtmxRequest, name: str, found: AlertRule | None
) -> HttpResponse:
    edges = _edges(name)
    form = AlertForm(request.POST or None, edges=edges, found=found)
    if request.method == "POST" and form.is_valid():
        try:
            if found is None:
                saved = service.create(name, form.plan(), by=request.user)
            else:
                saved = service.change(found.pk, form.plan(), by=request.user)
        except InvalidAlert as error:
            add_service_errors(form, error, FIELDS)
        else:
            messages.success(request, f"Alert “{saved.name}” saved.")
            return redirect("alert", alert_id=saved.pk)
    context = {"form": form, "rule": found, "name": name, "title": title_of(name)}
    status = status_of_form(request)
    return render(request, "alerts/form.html", context, status=status)


def _edges(name: str) -> list[tuple[str, str]]:
    """Return the edges of the installed workflow."""
    workflow = installed_workflow(name)
    if workflow is None:
        return []
    edges = entry(workflow).graph["edges"]
    return [(edge["source"], edge["target"]) for edge in edges]


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, alert_id: UUID) -> HttpResponse:
    """Delete a rule."""
    found = service.delete(alert_id, by=request.user, reason=reason_of(request))
    messages.success(request, f"Alert “{found.name}” deleted.")
    return redirect("alerts")
