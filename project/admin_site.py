"""Django admin with its models in the groups of an operator's tasks, not by Python app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.urls import reverse
from django.utils.text import slugify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

OTHER: Final = "Other"
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Runs and workers": (
        *("workflows.Run", "workflows.Approval", "workflows.BulkJob"),
        *("workflows.WorkflowPause", "workflows.Worker"),
        *("workflows.EventWait", "workflows.EventMessage", "workflows.Document"),
    ),
    "History and audit": (
        *("workflows.AuditEvent", "workflows.Decision", "workflows.Stage"),
        *("workflows.Attempt", "workflows.Checkpoint", "workflows.RemovedRun"),
    ),
    "People and permissions": (
        *("auth.User", "auth.Group", "workflows.WorkflowPermission"),
        *("workflows.ServiceAccount", "workflows.ApiToken"),
        *("axes.AccessAttempt", "axes.AccessFailureLog", "axes.AccessLog"),
    ),
    "Settings of workflows": ("workflows.Variable", "workflows.Retention"),
    "Agents and cost": (
        *("workflows.Provider", "workflows.Agent", "workflows.Profile"),
        *("workflows.Price", "workflows.Budget", "workflows.BudgetRaise"),
        "workflows.AgentCall",
    ),
    "Schedules and webhooks": (
        *("workflows.Schedule", "workflows.ScheduleMoment"),
        *("workflows.WebhookEndpoint", "workflows.WebhookDelivery"),
    ),
    "Notifications and alerts": (
        *("workflows.Destination", "workflows.Delivery", "workflows.DeliveryAttempt"),
        *("workflows.OutboxEvent", "workflows.Subscription", "workflows.Notification"),
        *("workflows.AlertRule", "workflows.AlertIncident"),
    ),
}


class OperatorsSite(AdminSite):
    """The index and the side bar list the groups; a model that is in none comes last."""

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[Any]:
        """Return the groups that a person may see, or the models of one Python app."""
        apps = super().get_app_list(request, app_label)
        if app_label:
            return apps
        listed = {
            entry["model"]._meta.label: entry  # noqa: SLF001 - documented model API
            for app in apps
            for entry in app["models"]
        }
        grouped = {
            name: [listed.pop(label) for label in labels if label in listed]
            for name, labels in GROUPS.items()
        }
        grouped[OTHER] = list(listed.values())
        return [_group(name, models) for name, models in grouped.items() if models]


class OperatorsAdminConfig(AdminConfig):
    """The app of Django admin, with this site."""

    default_site = "project.admin_site.OperatorsSite"


def _group(name: str, models: list[Any]) -> dict[str, Any]:
    """Return a group in the form of Django's entry of an app."""
    label = slugify(name)
    return {
        "name": name,
        "app_label": label,
        "app_url": f"{reverse('admin:index')}#{label}",
        "has_module_perms": True,
        "models": models,
    }
