"""Incoming webhooks: the list, one with its deliveries, its form, and actions on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from django.contrib import messages
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from workflows.access import permissions
from workflows.errors import InvalidWebhook
from workflows.models import WebhookOutcome
from workflows.pages.access import members_only
from workflows.pages.catalog import entries, entry, installed_workflow, title_of
from workflows.pages.forms.schedules import profile_form, profile_of
from workflows.pages.forms.service_errors import add_service_errors
from workflows.pages.forms.webhooks import (
    MAX_SAMPLE,
    Shown,
    Tables,
    WebhookForm,
    headers_in,
    preview_of,
    shown,
)
from workflows.pages.lists.webhooks import (
    deliveries_page,
    delivery_rows,
    webhook_rows,
)
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import clean_text, text_in, uuid_in
from workflows.pages.redaction import redact
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of, status_of_form
from workflows.pages.secret_page import secret_page
from workflows.pages.views.workflows import params_schema
from workflows.system import system
from workflows.webhooks import service
from workflows.webhooks.service import Plan

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpResponse

    from workflows.models import WebhookEndpoint
    from workflows.pages.forms.launch_form import AgentForm
    from workflows.pages.requests import HtmxRequest
    from workflows.registry import AnyWorkflow

SAMPLE: Final = "sample"  # name of the input with a payload to preview
HEADERS: Final = "sample-headers"
PREVIEW: Final = "preview"  # name of the button


@require_safe
@members_only
def list_webhooks(request: HtmxRequest) -> HttpResponse:
    """Show the webhooks that the user may see, of one workflow or of all."""
    visible = service.visible_webhooks(request.user)
    name = clean_text(request.GET.get("workflow", ""))
    found = visible.filter(workflow_name=name) if name else visible
    names = visible.order_by("workflow_name").values_list("workflow_name", flat=True)
    launchable = permissions.permissions_for(request.user).launch
    context = {
        "rows": webhook_rows(request.user, found),
        "workflow": name,
        "workflows": [(one, title_of(one)) for one in names.distinct()],
        "launchable": [one for one in entries(request.user) if one.name in launchable],
    }
    return render(request, "webhooks/list.html", context)


@require_safe
@members_only
@answers_request_errors
def webhook(request: HtmxRequest, webhook_id: UUID) -> HttpResponse:
    """Show a webhook and a page of its deliveries."""
    found = service.find(webhook_id, by=request.user)
    can_read = permissions.can_read(request.user, found.workflow_name)
    can_change = service.can_change(request.user, found)
    before = uuid_in(text_in(request.GET, "before", 40))
    outcome = request.GET.get("outcome", "")
    outcome = outcome if outcome in WebhookOutcome.values else ""
    page = deliveries_page(found, before, can_read=can_read, outcome=outcome)
    granted = permissions.permissions_for(request.user)
    context = {
        "webhook": found if can_read else redact(found),
        "mapping": [_shown_row(row) for row in found.mapping] if can_read else [],
        "filters": found.filters if can_read else [],
        "can_read": can_read,
        "can_change": can_change,
        "can_switch": can_change or found.workflow_name in granted.operate,
        "is_installed": installed_workflow(found.workflow_name) is not None,
        "address": _address(request, found) if can_change else "",
        "rows": delivery_rows(request.user, page.rows),
        "after": page.after,
        "before": before,
        "outcome": outcome,
        "outcomes": WebhookOutcome.choices,
        "query": f"outcome={outcome}" if outcome else "",
    }
    return render(request, "webhooks/detail.html", context)


def _secret_page(
    request: HtmxRequest, found: WebhookEndpoint, secret: str, *, is_new: bool
) -> HttpResponse:
    address = _address(request, found)
    context = {"webhook": found, "secret": secret, "is_new": is_new, "address": address}
    return secret_page(request, "webhooks/secret.html", context, status=201)


def _shown_row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "text": shown(row)}


def _address(request: HtmxRequest, found: WebhookEndpoint) -> str:
    return request.build_absolute_uri(reverse("hook", args=[found.path]))


@require_safe
@members_only
@answers_request_errors
def delivery(
    request: HtmxRequest, webhook_id: UUID, webhook_delivery_id: UUID
) -> HttpResponse:
    """Show one delivery: headers, body, outcome."""
    found = service.find_delivery(webhook_id, webhook_delivery_id, by=request.user)
    endpoint = found.endpoint
    can_read = permissions.can_read(request.user, endpoint.workflow_name)
    (row,) = delivery_rows(request.user, [found if can_read else redact(found)])
    context = {
        "row": row,
        "delivery": row.delivery,
        "webhook": endpoint,
        "body": _pretty(found.body) if can_read else "",
        "headers": sorted(found.headers.items()) if can_read else [],
        "can_read": can_read,
        "can_replay": service.can_change(request.user, endpoint) and bool(found.body),
        "replay_id": uuid4(),
        "replays": delivery_rows(request.user, found.replays.defer("body")[:20]),
    }
    return render(request, "webhooks/delivery.html", context)


def _pretty(body: str) -> str:
    """Return a body as indented JSON, unchanged if it is none."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return body


# Form -----------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def new(request: HtmxRequest, name: str) -> HttpResponse:
    """Show the form of a new webhook of a workflow; create it on POST."""
    workflow = system.find_workflow(name, by=request.user)
    permissions.require(
        permissions.can_launch(request.user, name), "launch this workflow"
    )
    return _form_page(request, workflow, None)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def edit(request: HtmxRequest, webhook_id: UUID) -> HttpResponse:
    """Show the form of a webhook; change it on POST."""
    found = service.find(webhook_id, by=request.user)
    permissions.require(service.can_change(request.user, found), "change this webhook")
    workflow = system.find_workflow(found.workflow_name, by=request.user)
    return _form_page(request, workflow, found)


class _Forms:
    """The parts of the page: settings, profile, and the tables."""

    def __init__(
        self, request: HtmxRequest, workflow: AnyWorkflow, found: WebhookEndpoint | None
    ) -> None:
        self.request, self.workflow, self.found = request, workflow, found
        data = request.POST if request.method == "POST" else None
        sent: dict[str, Any] = {} if data is None else {"data": data}
        self.webhook = WebhookForm(by=request.user, webhook=found, **sent)
        self.profile: AgentForm | None = profile_form(workflow, found, **sent)
        self.hides = found is not None and not permissions.can_read(
            request.user, workflow.name
        )
        stored = None if self.hides else found
        self.tables = Tables(params_schema(workflow), stored, data)

    def plan(self) -> Plan:
        """Return what the forms describe; fields of an invalid form are left out."""
        values = dict(getattr(self.webhook, "cleaned_data", {}))
        return Plan(
            **{"name": self.workflow.name, **values},
            mapping=self.tables.mapping,
            filters=self.tables.filters,
            profile=profile_of(self.profile),
        )

    def save(self) -> tuple[WebhookEndpoint, str] | None:
        """Return the saved webhook and its new secret; None, with errors, if invalid."""
        valid = [one.is_valid() for one in (self.webhook, self.profile) if one]
        if not all(valid):
            return None
        try:
            if self.found is None:
                name = self.workflow.name
                return service.create(name, self.plan(), by=self.request.user)
            return service.change(self.found.pk, self.plan(), by=self.request.user)
        except InvalidWebhook as error:
            add_service_errors(self.webhook, error)
        return None

    def preview(self) -> Shown | None:
        """Return what the sample would launch, None without one."""
        sample = text_in(self.request.POST, SAMPLE, MAX_SAMPLE)
        if PREVIEW not in self.request.POST or not sample.strip():
            return None
        valid = [one.is_valid() for one in (self.webhook, self.profile) if one]
        if not all(valid):
            return Shown(error="Fix the fields that are marked first.")
        headers = headers_in(text_in(self.request.POST, HEADERS, MAX_SAMPLE))
        return preview_of(
            self.workflow, self.plan(), sample, headers, self.request.user
        )


def _form_page(
    request: HtmxRequest, workflow: AnyWorkflow, found: WebhookEndpoint | None
) -> HttpResponse:
    forms = _Forms(request, workflow, found)
    is_preview = request.method == "POST" and PREVIEW in request.POST
    if request.method == "POST" and not is_preview:
        saved = forms.save()
        if saved is not None:
            return _saved(request, *saved, is_new=found is None)
    context = {
        "webhook": found,
        "workflow": entry(workflow),
        "form": forms.webhook,
        "profile": forms.profile,
        "tables": forms.tables,
        "preview": forms.preview() if is_preview else None,
        "hides_mapping": forms.hides,
        **_sample(request, found, hides=forms.hides),
    }
    status = 200 if is_preview else status_of_form(request)
    return render(request, "webhooks/form.html", context, status=status)


def _sample(
    request: HtmxRequest, found: WebhookEndpoint | None, *, hides: bool
) -> dict[str, str]:
    """Return the payload and headers to preview: as sent, or of the last delivery."""
    if request.method == "POST":
        names = {"sample": SAMPLE, "sample_headers": HEADERS}
        return {
            key: text_in(request.POST, name, MAX_SAMPLE) for key, name in names.items()
        }
    last = found.deliveries.exclude(body="").first() if found and not hides else None
    if last is None:
        return {"sample": "", "sample_headers": ""}
    headers = "\n".join(f"{name}: {value}" for name, value in last.headers.items())
    return {"sample": _pretty(last.body)[:MAX_SAMPLE], "sample_headers": headers}


def _saved(
    request: HtmxRequest, saved: WebhookEndpoint, secret: str, *, is_new: bool
) -> HttpResponse:
    if secret:
        return _secret_page(request, saved, secret, is_new=is_new)
    messages.success(request, f"Webhook “{saved.name}” saved.")
    return redirect("webhook", webhook_id=saved.pk)


# Actions --------------------------------------------------------------------------------


@posts_only
@members_only
@answers_request_errors
def rotate(request: HtmxRequest, webhook_id: UUID) -> HttpResponse:
    """Replace the secret of a webhook by a random one, and show it once."""
    found, secret = service.rotate(webhook_id, by=request.user)
    return _secret_page(request, found, secret, is_new=False)


@posts_only
@members_only
@answers_request_errors
def enable(request: HtmxRequest, webhook_id: UUID) -> HttpResponse:
    """Enable a webhook."""
    found = service.set_enabled(webhook_id, True, by=request.user)
    messages.success(request, f"Webhook “{found.name}” enabled.")
    return redirect("webhook", webhook_id=webhook_id)


@posts_only
@members_only
@answers_request_errors
def disable(request: HtmxRequest, webhook_id: UUID) -> HttpResponse:
    """Disable a webhook."""
    reason = reason_of(request)
    found = service.set_enabled(webhook_id, False, by=request.user, reason=reason)
    messages.success(request, f"Webhook “{found.name}” disabled.")
    return redirect("webhook", webhook_id=webhook_id)


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, webhook_id: UUID) -> HttpResponse:
    """Delete a webhook."""
    found = service.delete(webhook_id, by=request.user, reason=reason_of(request))
    messages.success(request, f"Webhook “{found.name}” deleted.")
    return redirect("webhooks")


@posts_only
@members_only
@answers_request_errors
def replay(
    request: HtmxRequest, webhook_id: UUID, webhook_delivery_id: UUID
) -> HttpResponse:
    """Process a delivery again."""
    receipt = service.replay(
        webhook_id,
        webhook_delivery_id,
        by=request.user,
        replay_id=uuid_in(text_in(request.POST, "replay", 40)),
    )
    replayed = receipt.delivery
    if replayed.outcome == WebhookOutcome.LAUNCHED:
        messages.success(request, "Delivery replayed: a run was launched.")
    else:
        text = f"Delivery replayed: {replayed.get_outcome_display().lower()}."
        messages.warning(request, text)
    return redirect(
        "webhook-delivery", webhook_id=webhook_id, webhook_delivery_id=replayed.pk
    )
