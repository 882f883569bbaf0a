"""What people do with incoming webhooks: create, change, rotate the secret, replay, delete."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import InvalidToken as NotDecrypted
from django.db import transaction

from workflows.access import permissions, tokens
from workflows.audit import audit_events
from workflows.documents import uses
from workflows.errors import (
    InvalidParams,
    InvalidWebhook,
    WebhookDeliveryNotFound,
    WebhookNotFound,
)
from workflows.execution.params import check_params
from workflows.infra import clock, encryption, notifications
from workflows.models import (
    Deduplication,
    VerificationStyle,
    WebhookDelivery,
    WebhookEndpoint,
)
from workflows.services import entry_rules, named_rows
from workflows.system import System, system
from workflows.webhooks import mapping, receiving, signatures
from workflows.webhooks.checks import check_plan, require_valid_secret
from workflows.webhooks.receiving import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.webhooks.receiving import Receipt

PATH_BYTES: Final = 24  # random; 32 characters of an address
OVERLAP: Final = dt.timedelta(hours=24)  # in which a replaced secret is still valid


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person enters about a webhook."""

    name: str
    style: str = VerificationStyle.STANDARD
    token_header: str = ""
    mapping: Sequence[Mapping[str, Any]] = ()
    filters: Sequence[Mapping[str, Any]] = ()
    deduplication: str = Deduplication.DELIVERY
    deduplication_field: str = ""
    profile: str | None = None  # "" = the workflow's defaults, None = by weight
    priority: int = 0
    owner: User | None = None  # who launches the runs; None: who saves
    secret: str = ""  # "": a random one


@dataclass(frozen=True, slots=True)
class Preview:
    """What a payload would launch."""

    params: Mapping[str, Any] | None = None  # None: nothing
    ignored: str = ""  # why the filter excludes it
    missing: Sequence[str] = ()  # params whose source is not in the delivery
    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)


def visible_webhooks(user: User) -> QuerySet[WebhookEndpoint]:
    """Return the webhooks of the workflows that a person may see."""
    return permissions.visible(user, WebhookEndpoint.objects.select_related("owner"))


def find(webhook_id: UUID | str, *, by: User) -> WebhookEndpoint:
    """Return a webhook. Raises WebhookNotFound, also if `by` may not see it."""
    try:
        return visible_webhooks(by).get(pk=webhook_id)
    except (WebhookEndpoint.DoesNotExist, ValueError) as error:
        raise WebhookNotFound from error


def find_delivery(
    webhook_id: UUID | str, delivery_id: UUID | str, *, by: User
) -> WebhookDelivery:
    """Return a delivery of a webhook. Raises WebhookNotFound, WebhookDeliveryNotFound."""
    rows = find(webhook_id, by=by).deliveries.select_related("endpoint", "replay_of")
    try:
        found: WebhookDelivery = rows.get(pk=delivery_id)
    except (WebhookDelivery.DoesNotExist, ValueError) as error:
        raise WebhookDeliveryNotFound from error
    return found


def can_change(user: User, webhook: WebhookEndpoint) -> bool:
    """Return whether a person may change a webhook, and see its address.

    That is who may launch its workflow, and acts through it, saved it last, or may operate
    the runs.
    """
    granted, name = permissions.permissions_for(user), webhook.workflow_name
    is_own = user.pk in {webhook.owner_id, webhook.saved_by_id}
    return name in granted.launch and (is_own or name in granted.operate)


def create(
    workflow: str, plan: Plan, *, by: User, executor: System = system
) -> tuple[WebhookEndpoint, str]:
    """Create a webhook; return it with its secret, which is shown once.

    Raises WorkflowNotFound, NotAllowed, InvalidWebhook.
    """
    executor.find_workflow(workflow, by=by)
    permissions.require(permissions.can_launch(by, workflow), "launch this workflow")
    path = secrets.token_urlsafe(PATH_BYTES)
    webhook = WebhookEndpoint(workflow_name=workflow, path=path, digest=digest_of(path))
    _apply(webhook, plan, by=by)
    secret = _set_secret(webhook, plan.secret)
    _save(webhook, "create webhook", by=by)
    return webhook, secret


def change(
    webhook_id: UUID | str, plan: Plan, *, by: User, executor: System = system
) -> tuple[WebhookEndpoint, str]:
    """Change a webhook; return it with its new secret, "" if it keeps the present one.

    Another style needs another secret. Otherwise an empty `plan.secret` keeps it; the
    replaced one stays valid for a day. Raises WebhookNotFound, NotAllowed, InvalidWebhook,
    WorkflowNotFound.
    """
    with transaction.atomic():
        webhook = _locked(webhook_id, by)
        permissions.require(can_change(by, webhook), "change this webhook")
        executor.find_workflow(webhook.workflow_name, by=by)
        has_other_style = webhook.style != plan.style
        _apply(webhook, plan, by=by)
        secret = ""
        if has_other_style or plan.secret:
            secret = _set_secret(webhook, plan.secret, keep=not has_other_style)
        _save(webhook, "change webhook", by=by)
    return webhook, secret


def rotate(
    webhook_id: UUID | str, *, by: User, secret: str = ""
) -> tuple[WebhookEndpoint, str]:
    """Replace the secret; the replaced one stays valid for a day.

    Raises WebhookNotFound, NotAllowed, InvalidWebhook.
    """
    with transaction.atomic():
        webhook = _locked(webhook_id, by)
        permissions.require(can_change(by, webhook), "change this webhook")
        new = _set_secret(webhook, secret, keep=True)
        _save(webhook, "rotate webhook secret", by=by)
    return webhook, new


def set_enabled(
    webhook_id: UUID | str, enabled: bool, *, by: User, reason: str = ""
) -> WebhookEndpoint:
    """Enable or disable a webhook: deliveries to a disabled one get 404.

    Raises WebhookNotFound, NotAllowed, ReasonMissing (to disable).
    """
    with transaction.atomic():
        webhook = _locked(webhook_id, by)
        name = webhook.workflow_name
        may = can_change(by, webhook) or name in permissions.permissions_for(by).operate
        permissions.require(may, "change this webhook")
        if not enabled:
            audit_events.require_reason(reason, by=by)
        action = "enable webhook" if enabled else "disable webhook"
        text = f"{webhook}: {reason}" if reason else ""
        with audit_events.changing(action, webhook, by=by, reason=text, workflow=name):
            webhook.enabled = enabled
            webhook.save(update_fields=["enabled"])
        notifications.lists_changed_on_commit()
    return webhook


def delete(webhook_id: UUID | str, *, by: User, reason: str) -> WebhookEndpoint:
    """Delete a webhook with its deliveries, and return it; its runs are kept.

    Raises WebhookNotFound, NotAllowed, ReasonMissing.
    """
    with transaction.atomic():
        webhook = _locked(webhook_id, by)
        permissions.require(can_change(by, webhook), "delete this webhook")
        name = webhook.workflow_name
        named_rows.delete(
            webhook, "delete webhook", by=by, reason=reason, workflow=name
        )
        notifications.lists_changed_on_commit()
    return webhook


def replay(
    webhook_id: UUID | str,
    delivery_id: UUID | str,
    *,
    by: User,
    replay_id: UUID | None = None,
) -> Receipt:
    """Process a delivery again, with the present mapping, and launch another run.

    Raises WebhookNotFound, WebhookDeliveryNotFound, NotAllowed.
    """
    with transaction.atomic():
        delivery = find_delivery(webhook_id, delivery_id, by=by)
        webhook = delivery.endpoint
        permissions.require(can_change(by, webhook), "replay deliveries")
        receipt = receiving.replay(delivery, by=by, replay_id=replay_id)
        if not receipt.is_repeated:
            text = f"{webhook}: {delivery.pk}, {receipt.delivery.get_outcome_display()}"
            name = webhook.workflow_name
            audit_events.note("replay webhook", by=by, reason=text, workflow=name)
            notifications.lists_changed_on_commit()
    return receipt


def preview(  # noqa: PLR0913 - what a delivery consists of
    workflow: str,
    plan: Plan,
    body: str,
    headers: Mapping[str, str],
    *,
    by: User,
    executor: System = system,
) -> Preview:
    """Return what a payload would launch; nothing is changed.

    Raises WorkflowNotFound, InvalidWebhook, InvalidPayload.
    """
    found = executor.find_workflow(workflow, by=by)
    check_plan(workflow, plan)
    payload = mapping.payload_of(body, "")
    given = {name.lower(): value for name, value in headers.items()}
    if ignored := mapping.why_ignored(plan.filters, payload, given):
        return Preview(ignored=ignored)
    mapped = mapping.params_of(plan.mapping, payload, given)
    try:
        params = check_params(found, mapped.params, by=by)
    except InvalidParams as error:
        return Preview(missing=mapped.missing, errors=error.errors)
    return Preview(params=params, missing=mapped.missing)


# Rows -----------------------------------------------------------------------------------


def _locked(webhook_id: UUID | str, by: User) -> WebhookEndpoint:
    return named_rows.locked(find(webhook_id, by=by), WebhookNotFound)


def _apply(webhook: WebhookEndpoint, plan: Plan, *, by: User) -> None:
    """Set the fields of a valid plan. Raises InvalidWebhook, NotAllowed."""
    check_plan(webhook.workflow_name, plan)
    owner = plan.owner or by
    tokens.require_may_act_as(owner, by, "webhooks")
    webhook.name = entry_rules.normalised(plan.name)
    webhook.style, webhook.token_header = plan.style, plan.token_header
    webhook.mapping = [dict(row) for row in plan.mapping]
    webhook.filters = [dict(row) for row in plan.filters]
    webhook.deduplication = plan.deduplication
    webhook.deduplication_field = plan.deduplication_field
    webhook.profile, webhook.priority = plan.profile, plan.priority
    webhook.owner, webhook.owner_name = owner, owner.get_username()
    webhook.saved_by, webhook.updated_at = by, clock.now()


def _set_secret(webhook: WebhookEndpoint, secret: str, *, keep: bool = False) -> str:
    """Set a secret, a random one if it is empty; return it. Raises InvalidWebhook."""
    secret = secret.strip()
    if secret:
        require_valid_secret(secret, webhook.style)
    secret = secret or signatures.new_secret(webhook.style)
    values = {"current": secret}
    webhook.previous_until = None
    previous = _current_secret(webhook) if keep else ""
    if previous:
        values["previous"] = previous
        webhook.previous_until = clock.now() + OVERLAP
    webhook.secrets = encryption.encrypt(values)
    return secret


def _current_secret(webhook: WebhookEndpoint) -> str:
    """Return the secret, "" if no secret key decrypts it: it is replaced without overlap."""
    try:
        return encryption.decrypt(webhook.secrets)["current"]
    except NotDecrypted:
        return ""


def _save(webhook: WebhookEndpoint, action: str, *, by: User) -> None:
    name = webhook.workflow_name
    taken = f"{name} has a webhook “{webhook.name}” already."
    with (
        named_rows.unique_name(taken, InvalidWebhook),
        audit_events.changing(action, webhook, by=by, workflow=name),
    ):
        webhook.save()
        constants = {
            row["param"]: row["value"]
            for row in webhook.mapping
            if row["source"] == mapping.CONSTANT
        }
        uses.note(name, constants)
    notifications.lists_changed_on_commit()
