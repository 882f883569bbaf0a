"""Hostile texts in every column of every row that a user can fill."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import models

EXCLUDED_FIELDS = {
    "workflows.Retention.workflow_name",
    "auth.Group.name",
    "auth.User.password",
    "workflows.Agent.capabilities",
    "workflows.ApiToken.digest",
    "workflows.ApiToken.scopes",
    "workflows.ApiToken.workflows",
    "workflows.Approval.form",
    "workflows.Approval.evidence",
    "workflows.Approval.groups",
    "workflows.Budget.groups",
    "workflows.Budget.workflow_name",
    "workflows.BulkItem.status_before",
    "workflows.BulkItem.workflow_name",
    "workflows.BulkJob.action",
    "workflows.Checkpoint.data",
    "workflows.Checkpoint.node_name",
    "workflows.Decision.from_node",
    "workflows.Decision.to_node",
    "workflows.Decision.workflow_name",
    "workflows.Document.sha256",
    "workflows.EdgeTally.workflow_name",
    "workflows.EdgeTally.from_node",
    "workflows.EdgeTally.to_node",
    "workflows.PageImage.options",
    "workflows.Profile.workflow_name",
    "workflows.Profile.stages",
    "workflows.Run.graph",
    "workflows.Run.idempotency_key",
    "workflows.Run.profile_stages",
    "workflows.Run.result",
    "workflows.Run.closing",
    "workflows.Run.current_stage",
    "workflows.Run.workflow_name",
    "workflows.RunTally.status",
    "workflows.RunTally.workflow_name",
    "workflows.SavedView.query",
    "workflows.Assessment.workflow_name",
    "workflows.GoldenRun.fields",
    "workflows.GoldenRun.workflow_name",
    "workflows.GoldenResult.differences",
    "workflows.AlertRule.metric",
    "workflows.AlertRule.workflow_name",
    "workflows.Delivery.body",
    "workflows.Destination.events",
    "workflows.Destination.workflows",
    "workflows.Interest.workflow_name",
    "workflows.Notification.facts",
    "workflows.Notification.workflow_name",
    "workflows.OutboxEvent.facts",
    "workflows.Subscription.kind",
    "workflows.Subscription.target",
    "workflows.Schedule.cron",
    "workflows.Schedule.params",
    "workflows.Schedule.workflow_name",
    "workflows.Schedule.zone",
    "workflows.Stage.node_name",
    "workflows.StageItem.data",
    "workflows.Tally.name",
    "workflows.WebhookEndpoint.digest",
    "workflows.WebhookEndpoint.filters",
    "workflows.WebhookEndpoint.mapping",
    "workflows.WebhookEndpoint.path",
    "workflows.WebhookEndpoint.workflow_name",
}


def make_hostile(payload: str) -> None:
    """Write the text to every text column."""
    for model in apps.get_models():
        meta = model._meta  # noqa: SLF001 - Django's documented model API
        if (
            meta.app_label not in {"workflows", "auth"}
            or model.__name__ == "Permission"
        ):
            continue
        rows = model._default_manager  # noqa: SLF001 - Django's documented model API
        for number, pk in enumerate(rows.values_list("pk", flat=True)):
            values = {
                field.attname: hostile_value(field, payload, number)
                for field in meta.concrete_fields
                if is_text(field)
                and f"{meta.label}.{field.name}" not in EXCLUDED_FIELDS
            }
            if values:
                rows.filter(pk=pk).update(**values)


def is_text(field: models.Field[Any, Any]) -> bool:
    """Return whether a field can contain text that a user entered."""
    if field.choices or field.primary_key or isinstance(field, models.FileField):
        return False
    return isinstance(field, models.CharField | models.TextField | models.JSONField)


def hostile_value(field: models.Field[Any, Any], payload: str, number: int) -> Any:
    """Return the text as a value of a field; numbered per row where it must be unique."""
    if field.name == "holds":  # written by workers; only the names come from authors
        since = "2026-01-01T00:00:00+00:00"
        return [{"kind": "thread", "run": payload, "node": payload, "since": since}]
    if isinstance(field, models.JSONField):
        return {payload: payload, "list": [payload, [payload, {payload: payload}]]}
    text = (
        f"{payload}{number}"
        if number and (field.unique or field.name in {"name", "key"})
        else payload
    )
    max_length = field.max_length
    if max_length is None or len(text) <= max_length:
        return text
    return text[: max_length - 2] + (str(number) if number else "")
