"""Deliveries to incoming webhooks: who may send, what they launch, and how often."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from tests.support.factories import make_user
from workflows.engine import State, Workflow, node
from workflows.errors import InvalidWebhook, NotAllowed
from workflows.infra import encryption
from workflows.models import (
    AuditEvent,
    Run,
    ServiceAccount,
    WebhookDelivery,
    WebhookEndpoint,
)
from workflows.registry import registry
from workflows.retention.purge import purge_due
from workflows.system import system
from workflows.webhooks import receiving, service
from workflows.webhooks.service import Plan

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django import Settings

ORDERS = "orders"
SECRET = "a secret of the sender"
LIMIT = {"param": "limit", "source": "body", "value": "order.limit"}


class Order(State):
    """State of the launched workflow."""

    limit: int = 3
    city: str = ""


@pytest.fixture(autouse=True)
def orders_workflow(db: None) -> Iterator[None]:
    """Install a workflow that takes a limit and a city."""

    @node
    async def work(state: Order) -> Order:
        return state

    registry.register(Workflow(ORDERS, state=Order, start=work, routes={}))
    yield
    registry.unregister(ORDERS)


def create(user: User, **fields: Any) -> WebhookEndpoint:
    plan = {
        "name": "orders",
        "style": "github",
        "secret": SECRET,
        "mapping": [LIMIT],
        **fields,
    }
    return service.create(ORDERS, Plan(**plan), by=user)[0]


def signed(body: bytes, *, secret: str = SECRET, **headers: str) -> dict[str, str]:
    """Return the headers of a delivery in GitHub's style."""
    digest = hmac.new(secret.encode(), body, sha256).hexdigest()
    own = {"X-GitHub-Delivery": "d-1", "X-GitHub-Event": "order", **headers}
    return {"X-Hub-Signature-256": f"sha256={digest}", **own}


def send(webhook: WebhookEndpoint, payload: Any = None, **headers: str) -> Any:
    """Send a delivery in GitHub's style; `payload` may be bytes."""
    given = {"order": {"limit": 7}} if payload is None else payload
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    return post(webhook.path, body, signed(body, **headers))


def post(path: str, body: bytes, headers: dict[str, str]) -> Any:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return client.post(
        f"/hooks/{path}", body, content_type="application/json", headers=headers
    )


# Signatures -----------------------------------------------------------------------------


def headers_of(style: str, secret: str, body: bytes, at: dt.datetime) -> dict[str, str]:
    """Return the headers with which a sender of each style authenticates."""
    if style == "github":
        return signed(body, secret=secret)
    if style == "token":
        return {"X-Token": secret}
    if style == "standard":
        text = Webhook(secret).sign("m-1", at, body.decode())
        stamp = str(int(at.timestamp()))
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        return dict(zip(names, ("m-1", stamp, text), strict=True))
    stamp = str(int(at.timestamp()))
    signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, sha256)
    return {"Stripe-Signature": f"t={stamp},v0=00,v1=00,v1={signature.hexdigest()}"}


@pytest.mark.parametrize("style", ["github", "standard", "stripe", "token"])
def test_only_requests_with_a_valid_signature_are_accepted(
    alice: User, style: str
) -> None:
    options: dict[str, Any] = (
        {"token_header": "X-Token", "deduplication": "body"} if style == "token" else {}
    )
    plan = Plan("orders", style=style, mapping=[LIMIT], **options)
    webhook, secret = service.create(ORDERS, plan, by=alice)
    body, now = b'{"id": "e-1", "order": {"limit": 7}}', timezone.now()
    other = (
        f"whsec_{base64.b64encode(b'x' * 32).decode()}"
        if style == "standard"
        else SECRET
    )
    refused = [headers_of(style, other, body, now), {}, {"X-Token": "é"}]
    refused.append({"Stripe-Signature": "t=x,v1=,,=", "webhook-signature": "v1"})
    if style in {"standard", "stripe"}:
        for minutes in (6, -6):
            at = now + dt.timedelta(minutes=minutes)
            refused.append(headers_of(style, secret, body, at))
    for headers in refused:
        response = post(webhook.path, body, headers)
        assert response.status_code == 401
        assert response.json()["code"] == "signature_invalid"
    if style != "token":
        valid = headers_of(style, secret, body, now)
        assert post(webhook.path, body + b" ", valid).status_code == 401
    assert not WebhookDelivery.objects.exists()
    webhook.refresh_from_db()
    assert webhook.rejected == len(refused) + (style != "token")
    response = post(webhook.path, body, headers_of(style, secret, body, now))
    assert response.status_code == 202
    assert Run.objects.get().params["limit"] == 7


def test_a_replaced_secret_is_valid_for_a_day(alice: User) -> None:
    webhook = create(alice)
    _, new = service.rotate(webhook.pk, by=alice)
    body = b"{}"
    for number, secret in enumerate((SECRET, new)):
        headers = signed(body, secret=secret) | {"X-GitHub-Delivery": str(number)}
        assert post(webhook.path, body, headers).status_code == 202
    later = timezone.now() + dt.timedelta(hours=25)
    with mock.patch("workflows.infra.clock.now", return_value=later):
        assert send(webhook, {}).status_code == 401
    assert SECRET.encode() not in bytes(webhook.secrets)
    events = AuditEvent.objects.filter(action="rotate webhook secret")
    assert SECRET not in str(list(events.values()))


def test_unknown_and_disabled_addresses_get_the_same_response(alice: User) -> None:
    webhook = create(alice)
    service.set_enabled(webhook.pk, False, by=alice, reason="Maintenance.")
    disabled, unknown = send(webhook), post("nowhere", b"{}", signed(b"{}"))
    assert disabled.status_code == unknown.status_code == 404
    assert disabled.content == unknown.content
    assert disabled.headers.items() == unknown.headers.items()
    assert not WebhookDelivery.objects.exists()


def test_failed_requests_are_limited_by_address(
    alice: User, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    webhook = create(alice)
    settings.RATES = {**settings.RATES, "webhook_failure": 2, "webhook": 1}
    statuses = [post(webhook.path, b"{}", {}).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    assert send(webhook).status_code == 202
    limited = send(webhook, **{"X-GitHub-Delivery": "d-2"})
    assert limited.status_code == 429
    assert int(limited["Retry-After"]) > 0
    assert webhook.path not in caplog.text


def test_an_internal_error_is_logged_without_the_address(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    webhook = create(alice)
    with mock.patch.object(receiving, "authenticate", side_effect=LookupError("lost")):
        assert send(webhook).status_code == 500
    assert "lost" in caplog.text
    assert "/hooks/•••" in caplog.text
    assert webhook.path not in caplog.text


# What a delivery launches ---------------------------------------------------------------


def test_a_delivery_launches_one_run_however_often_it_is_received(alice: User) -> None:
    constant = {"param": "city", "source": "constant", "value": "Oslo"}
    webhook = create(alice, mapping=[LIMIT, constant], priority=5)
    responses = [send(webhook) for _ in range(3)]
    assert [one.status_code for one in responses] == [202] * 3
    assert [one.json()["repeated"] for one in responses] == [False, True, True]
    run, delivery = Run.objects.get(), WebhookDelivery.objects.get()
    assert run.params == {"limit": 7, "city": "Oslo"}
    assert (run.launched_by, run.priority) == (alice, 5)
    assert (delivery.run_id, delivery.times, delivery.event) == (run.pk, 3, "order")
    assert "x-hub-signature-256" not in delivery.headers
    assert delivery.headers["x-github-event"] == "order"
    text = b"".join(one.content for one in responses).decode()
    assert str(run.pk) not in text


def test_a_filter_ignores_deliveries(alice: User) -> None:
    header = {"source": "header", "value": "X-GitHub-Event", "values": ["order"]}
    field = {"source": "body", "value": "order.paid", "values": ["true"]}
    webhook = create(alice, filters=[header, field])
    payload = {"order": {"limit": 1, "paid": True}}
    for number, (given, event) in enumerate(
        [(payload, "ping"), ({"order": {}}, "order"), (payload, "order")]
    ):
        own = {"X-GitHub-Event": event, "X-GitHub-Delivery": str(number)}
        assert send(webhook, given, **own).status_code == 202
    rows = WebhookDelivery.objects.order_by("pk").values_list("outcome", "message")
    assert [outcome for outcome, _ in rows] == ["ignored", "ignored", "launched"]
    assert rows[0][1] == "Header X-GitHub-Event is “ping”; accepted: order."
    assert rows[1][1] == "order.paid is missing; accepted: true."


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\x00", b'{"order": {"limit": "many"}}', b'{"a": NaN}', b"[" * 99_999],
)
def test_a_body_that_cannot_be_used_is_stored_and_refused(
    alice: User, body: bytes
) -> None:
    response = send(create(alice), body)
    assert response.status_code == 422
    assert "many" not in response.content.decode()
    delivery = WebhookDelivery.objects.get()
    assert (delivery.outcome, delivery.run_id) == ("refused", None)
    assert delivery.message
    assert not Run.objects.exists()


def test_a_refused_delivery_is_tried_again_when_it_is_repeated(alice: User) -> None:
    webhook = create(alice)
    alice.is_active = False
    alice.save()
    response = send(webhook)
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    assert "no active account" in WebhookDelivery.objects.get().message
    alice.is_active = True
    alice.save()
    assert send(webhook).status_code == 202
    delivery = WebhookDelivery.objects.get()
    assert (delivery.outcome, delivery.times) == ("launched", 2)
    assert delivery.message == ""


def test_the_permission_of_the_account_is_checked_at_each_delivery(
    alice: User, settings: Settings
) -> None:
    webhook = create(alice)
    settings.DEFAULT_ACCESS = "closed"
    assert send(webhook).status_code == 503
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"deduplication": "header", "deduplication_field": "X-Id"},
        {"deduplication": "field", "deduplication_field": "order.id"},
        {"deduplication": "body"},
    ],
)
def test_repeated_deliveries_are_recognised_as_configured(
    alice: User, fields: dict[str, Any]
) -> None:
    webhook = create(alice, **fields)
    payload = {"order": {"id": "o-1", "limit": 1}}
    for delivery in ("a", "b"):
        own = {"X-GitHub-Delivery": delivery, "X-Id": "o-1"}
        assert send(webhook, payload, **own).status_code == 202
    assert Run.objects.count() == 1
    other = {"order": {"id": "\ud800" * 300, "limit": 1}}
    assert send(webhook, other, **{"X-Id": "o" * 300}).status_code == 202
    assert Run.objects.count() == 2


def test_bodies_are_limited(alice: User, settings: Settings) -> None:
    webhook = create(alice)
    settings.MAX_WEBHOOK_BYTES = 10
    assert send(webhook).status_code == 413
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5
    assert send(webhook).status_code == 413
    assert not WebhookDelivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_simultaneous_requests_with_one_delivery_launch_one_run(alice: User) -> None:
    webhook = create(alice)

    def deliver(_number: int) -> int:
        try:
            return int(send(webhook).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(deliver, range(8))) == {202}
    assert Run.objects.count() == 1
    assert WebhookDelivery.objects.get().times == 8


# People ---------------------------------------------------------------------------------


def test_a_replay_uses_the_present_mapping_and_is_audited(alice: User) -> None:
    webhook = create(alice)
    send(webhook)
    city = {"param": "city", "source": "header", "value": "X-GitHub-Event"}
    plan = Plan("orders", style="github", mapping=[city])
    service.change(webhook.pk, plan, by=alice)
    delivery = WebhookDelivery.objects.get()
    new_id = Run(workflow_name=ORDERS).pk
    for _ in range(2):
        service.replay(webhook.pk, delivery.pk, by=alice, replay_id=new_id)
    run = Run.objects.order_by("pk").last()
    assert run is not None
    assert run.params == {"city": "order"}
    assert Run.objects.count() == 2
    event = AuditEvent.objects.get(action="replay webhook")
    assert str(delivery.pk) in event.reason
    bob = make_user()
    with (
        mock.patch.object(service, "can_change", return_value=False),
        pytest.raises(NotAllowed),
    ):
        service.replay(webhook.pk, delivery.pk, by=bob)


def test_a_webhook_acts_only_as_an_account_that_its_author_may_use(
    alice: User, admin: User
) -> None:
    robot = make_user("robot")
    with pytest.raises(NotAllowed):
        create(alice, owner=robot)
    with pytest.raises(NotAllowed):
        create(admin, owner=robot)
    ServiceAccount.objects.create(user=robot)
    webhook = create(admin, owner=robot)
    assert send(webhook).status_code == 202
    assert Run.objects.get().launched_by == robot


def test_invalid_settings_are_refused_with_a_message_for_each_field(
    alice: User,
) -> None:
    twice = [LIMIT, LIMIT]
    secret = [{"param": "city", "source": "header", "value": "Authorization"}]
    bad = [{"param": "a", "source": "body", "value": "a[b"}]
    for fields, name in (
        ({"mapping": twice}, "mapping"),
        ({"mapping": secret}, "mapping"),
        ({"mapping": bad}, "mapping"),
        ({"secret": "short"}, "secret"),
        ({"style": "standard", "secret": "whsec_%%%"}, "secret"),
        ({"style": "token"}, "token_header"),
        ({"filters": [{"source": "body", "value": "a", "values": []}]}, "filters"),
        ({"profile": "none"}, "profile"),
        ({"name": " "}, "name"),
    ):
        with pytest.raises(InvalidWebhook) as refused:
            create(alice, **fields)
        assert name in refused.value.errors
    create(alice)
    with pytest.raises(InvalidWebhook):
        create(alice)


def test_deliveries_are_deleted_with_age_and_with_the_data_of_their_run(
    alice: User, settings: Settings
) -> None:
    webhook = create(alice)
    send(webhook)
    run = Run.objects.get()
    system.cancel(run.pk, by=alice, reason="x")
    system.delete_run(run.pk, by=alice, reason="x")
    delivery = WebhookDelivery.objects.get()
    assert (delivery.body, delivery.headers) == ("", {})
    assert purge_due().deliveries == 0
    WebhookDelivery.objects.update(last_at=timezone.now() - dt.timedelta(days=31))
    assert purge_due().deliveries == 1
    assert not WebhookDelivery.objects.exists()


def test_a_secret_that_cannot_be_decrypted_refuses_deliveries_for_now(
    alice: User, settings: Settings
) -> None:
    webhook = create(alice)
    key = settings.SECRET_KEY
    settings.SECRET_KEY = "another" * 10
    webhook.secrets = encryption.encrypt({"current": SECRET})
    webhook.save()
    settings.SECRET_KEY = key
    assert send(webhook).status_code == 503
    _, secret = service.rotate(webhook.pk, by=alice)
    assert send(webhook, secret=secret).status_code == 202
