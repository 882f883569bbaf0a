"""Incoming webhooks with their last delivery, and the deliveries of a webhook by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db.models import OuterRef, Subquery

from workflows.access import permissions
from workflows.models import WebhookDelivery
from workflows.models.webhooks import KEY_PREFIX
from workflows.pages.lists.pagination import PAGE_SIZE, Page
from workflows.pages.redaction import redact
from workflows.pages.visible_rows import visible_runs
from workflows.webhooks import service

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Run, WebhookEndpoint

MAX_WEBHOOKS: Final = 500  # on one page


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery with its run, None if there is none or it was deleted."""

    delivery: WebhookDelivery
    run: Run | None


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook as lists show it."""

    webhook: WebhookEndpoint
    last: DeliveryRow | None


def webhook_rows(user: User, webhooks: QuerySet[WebhookEndpoint]) -> list[WebhookRow]:
    """Return visible webhooks with their last deliveries, redacted for the user."""
    newest = WebhookDelivery.objects.filter(endpoint=OuterRef("pk")).order_by("-pk")
    last = Subquery(newest.values("pk")[:1])
    found = list(webhooks.annotate(last_pk=last)[:MAX_WEBHOOKS])
    deliveries = WebhookDelivery.objects.defer("body", "headers").in_bulk(
        [one.last_pk for one in found]
    )
    rows = {row.delivery.pk: row for row in delivery_rows(user, deliveries.values())}
    readable = permissions.permissions_for(user).read
    for webhook in found:
        if webhook.workflow_name not in readable:
            redact(webhook)
            if webhook.last_pk is not None:
                redact(rows[webhook.last_pk].delivery)
    return [WebhookRow(one, rows.get(one.last_pk)) for one in found]


def delivery_rows(
    user: User, deliveries: Iterable[WebhookDelivery]
) -> list[DeliveryRow]:
    """Return deliveries with those of their runs that are stored."""
    rows = list(deliveries)
    ids = [row.run_id for row in rows if row.run_id]
    runs = visible_runs(user).only("workflow_name", "status").in_bulk(ids)
    return [DeliveryRow(row, runs.get(row.run_id)) for row in rows]


def deliveries_page(
    webhook: WebhookEndpoint,
    before: UUID | None,
    *,
    can_read: bool,
    outcome: str = "",
    size: int = PAGE_SIZE,
) -> Page[WebhookDelivery]:
    """Return a page of the deliveries of a webhook, newest first."""
    found = webhook.deliveries.defer("body", "headers").order_by("-pk")
    if outcome:
        found = found.filter(outcome=outcome)
    if before is not None:
        found = found.filter(pk__lt=before)
    rows = list(found[: size + 1])
    after = rows[size - 1].pk if len(rows) > size else None
    shown = rows[:size]
    return Page(shown if can_read else [redact(row) for row in shown], after)


def of_workflow(user: User, name: str) -> list[WebhookRow]:
    """Return the webhooks of a workflow."""
    visible = service.visible_webhooks(user)
    return webhook_rows(user, visible.filter(workflow_name=name))


def delivery_of(run: Run) -> WebhookDelivery | None:
    """Return the delivery that launched a run; None also if it was deleted."""
    if not (run.idempotency_key or "").startswith(KEY_PREFIX):
        return None
    found = WebhookDelivery.objects.filter(run_id=run.pk).defer("body", "headers")
    return found.select_related("endpoint").first()
