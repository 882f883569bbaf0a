"""Pages of incoming webhooks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.webhooks.test_deliveries import (
    ORDERS,
    create,
    orders_workflow,
    send,
)
from workflows.models import AuditEvent, Run, WebhookDelivery, WebhookEndpoint

SignIn = Callable[[User], Client]
__all__ = ["orders_workflow"]  # a fixture
SETTINGS = {
    "launch-name": "new orders",
    "launch-style": "github",
    "launch-deduplication": "delivery",
    "launch-priority": "0",
    "map-0-param": "limit",
    "map-0-source": "body",
    "map-0-value": "order.limit",
    "map-1-param": "city",
    "map-1-source": "constant",
    "map-1-value": "Oslo",
    "if-0-source": "header",
    "if-0-value": "X-GitHub-Event",
    "if-0-values": "order, refund",
}


def post(client: Client, name: str, *arguments: Any, **form: Any) -> Any:
    return client.post(reverse(name, args=arguments), form)


def test_a_form_creates_a_webhook_and_shows_its_secret_once(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    form = {**SETTINGS, "launch-owner": alice.pk}
    response = post(client, "webhook-new", ORDERS, **form)
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    webhook = WebhookEndpoint.objects.get()
    assert webhook.filters[0]["values"] == ["order", "refund"]
    found = re.search(r'id="secret">([^<]+)<', response.content.decode())
    assert found is not None
    page = client.get(reverse("webhook", args=[webhook.pk])).content.decode()
    assert found[1] not in page
    assert f"/hooks/{webhook.path}" in page
    assert send(webhook, secret=found[1]).status_code == 202
    assert Run.objects.get().params == {"limit": 7, "city": "Oslo"}
    edit = client.get(reverse("webhook-edit", args=[webhook.pk])).content.decode()
    assert 'value="order.limit"' in edit
    assert 'value="order, refund"' in edit
    changed = post(client, "webhook-edit", webhook.pk, **form)
    assert changed.status_code == 302, "the secret is kept"


def test_the_preview_shows_what_a_sample_would_launch(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    form = {**SETTINGS, "launch-owner": alice.pk, "preview": "1"}
    samples = {
        '{"order": {"limit": 7}}': "Launches a run with these parameters",
        '{"order": {"limit": "many"}}': "valid integer",
        '{"order": {}}': "Missing in the sample: limit",
        "{": "not valid JSON",
    }
    for sample, expected in samples.items():
        given = {"sample": sample, "sample-headers": "X-GitHub-Event: order"}
        response = post(client, "webhook-new", ORDERS, **form, **given)
        assert expected in response.content.decode()
    given = {"sample": "{}", "sample-headers": "X-GitHub-Event: ping"}
    response = post(client, "webhook-new", ORDERS, **form, **given)
    assert "Ignored by the filter" in response.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_invalid_entries_are_shown_at_their_fields_and_kept(
    alice: User, sign_in: SignIn
) -> None:
    form = {**SETTINGS, "launch-owner": alice.pk, "launch-style": "token"}
    form["map-0-value"] = "order..limit"
    response = post(sign_in(alice), "webhook-new", ORDERS, **form)
    page = response.content.decode()
    assert response.status_code == 422
    assert "Enter the name of a header" in page
    assert "limit: Enter a path such as" in page
    assert 'value="order..limit"' in page


def test_a_delivery_is_shown_with_its_run_and_can_be_replayed(
    alice: User, sign_in: SignIn
) -> None:
    webhook, client = create(alice), sign_in(alice)
    send(webhook, {"order": {"limit": "<b>many"}})
    delivery = WebhookDelivery.objects.get()
    address = reverse("webhook-delivery", args=[webhook.pk, delivery.pk])
    page = client.get(address).content.decode()
    assert "&lt;b&gt;many" in page
    assert "valid integer" in page
    WebhookDelivery.objects.update(body=json.dumps({"order": {"limit": 5}}))
    response = post(client, "webhook-replay", webhook.pk, delivery.pk)
    assert response.status_code == 302
    run = Run.objects.get()
    replayed = client.get(response["Location"]).content.decode()
    assert run.short_id in replayed
    shown = client.get(reverse("run", args=[run.pk])).content.decode()
    assert response["Location"] in shown
    assert AuditEvent.objects.filter(action="replay webhook").exists()


def test_actions_on_a_webhook_are_audited(alice: User, sign_in: SignIn) -> None:
    webhook, client = create(alice), sign_in(alice)
    assert post(client, "webhook-disable", webhook.pk).status_code == 422
    post(client, "webhook-disable", webhook.pk, reason="Too many.")
    assert (
        "Disabled."
        in client.get(reverse("webhook", args=[webhook.pk])).content.decode()
    )
    post(client, "webhook-enable", webhook.pk)
    assert post(client, "webhook-secret", webhook.pk).status_code == 201
    post(client, "webhook-delete", webhook.pk, reason="Not needed.")
    actions = AuditEvent.objects.exclude(action="launch").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == [
        "create webhook",
        "disable webhook",
        "enable webhook",
        "rotate webhook secret",
        "delete webhook",
    ]
    assert webhook.path not in str(list(actions.values("before", "after")))
