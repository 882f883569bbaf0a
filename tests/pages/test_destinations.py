"""Pages and API of webhook destinations: configuration, deliveries, replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.support.responses import text_of
from workflows.models import (
    AuditEvent,
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Destination,
    Interest,
)

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def client(admin: User, sign_in: Callable[[User], Client]) -> Client:
    return sign_in(admin)


@pytest.fixture
def destination(admin: User) -> Destination:
    return Destination.objects.create(
        name="erp", url=URL, owner=admin, owner_name="admin"
    )


def message(destination: Destination, status: str, **fields: Any) -> Delivery:
    values = {"kind": "run.failed", "body": json.dumps({"type": "run.failed"})}
    return Delivery.objects.create(
        destination=destination, status=status, **{**values, **fields}
    )


def test_a_destination_is_created_and_its_secret_shown_once(client: Client) -> None:
    form = {"name": "erp", "url": URL, "events": ["run.failed", "approval.requested"]}
    answer = client.post(reverse("destination-new"), form)
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    text = text_of(answer)
    secret = text.split('id="secret">')[1].split("<")[0]
    assert secret.startswith("whsec_")
    created = Destination.objects.get()
    assert created.open_secrets() == [secret]
    kinds = Interest.objects.filter(destination=created).values_list("kind", flat=True)
    assert sorted(kinds) == ["approval.requested", "run.failed"]
    page = text_of(client.get(reverse("destination", args=[created.pk])))
    assert secret not in page
    assert "Approval requested, Run failed" in page
    rotated = text_of(client.post(reverse("destination-rotate", args=[created.pk])))
    assert secret not in rotated
    assert "signed with the previous secret as well" in rotated


def test_a_form_with_errors_names_the_fields(
    client: Client, destination: Destination
) -> None:
    answer = client.post(reverse("destination-new"), {"name": "erp", "url": "nowhere"})
    assert answer.status_code == 422
    assert "Enter a full URL that begins with" in text_of(answer)
    address = reverse("destination-new")
    answer = client.post(address, {"name": "erp", "url": URL})
    assert "There is a destination “erp” already." in text_of(answer)


def test_failed_deliveries_show_why_and_are_replayed(
    client: Client, destination: Destination
) -> None:
    failed = message(destination, DeliveryStatus.FAILED)
    pending = message(destination, DeliveryStatus.PENDING)
    DeliveryAttempt.objects.create(
        delivery=failed,
        number=1,
        response_status=500,
        error="The receiver responded with status 500.",
        excerpt="<script>alert(1)</script>",
    )
    page = text_of(client.get(reverse("destination", args=[destination.pk])))
    assert "The receiver responded with status 500." in page
    only = reverse("destination", args=[destination.pk]) + "?status=pending"
    assert f'value="{failed.pk}"' not in text_of(client.get(only))
    detail = text_of(client.get(reverse("delivery", args=[failed.pk])))
    assert "&lt;script&gt;alert(1)" in detail
    address = reverse("destination-replay", args=[destination.pk])
    answer = client.post(
        address, {"delivery": [failed.pk, pending.pk, "x"]}, follow=True
    )
    assert "1 message queued." in text_of(answer)
    replayed = Delivery.objects.latest("pk")
    assert replayed.message_id == failed.message_id
    assert replayed.replayed_by_name == "admin"
    assert AuditEvent.objects.get().action == "replay delivery"


def test_the_list_shows_state_and_number_of_messages(
    client: Client, destination: Destination
) -> None:
    message(destination, DeliveryStatus.FAILED)
    message(destination, DeliveryStatus.PENDING)
    Destination.objects.update(failures=1)
    text = text_of(client.get(reverse("destinations")))
    assert '<span class="tag" data-tone="warn">failing</span>' in text
    assert '<span class="bad">1</span>' in text


def test_actions_pause_resume_and_delete_with_a_reason(
    client: Client, destination: Destination
) -> None:
    def act(name: str, **form: str) -> str:
        address = reverse(f"destination-{name}", args=[destination.pk])
        return text_of(client.post(address, form, follow=True))

    assert "Enter a reason" in act("pause")
    assert "Destination “erp” paused." in act("pause", reason="Maintenance.")
    assert "The destination is paused already." in act("pause", reason="Again.")
    assert "Destination “erp” resumed." in act("resume")
    assert "Test message queued." in act("test")
    assert Delivery.objects.get().kind == "test"
    assert "Destination “erp” deleted." in act("delete", reason="Replaced.")
    assert not Destination.objects.exists()


def test_the_api_creates_shows_and_replays(client: Client) -> None:
    def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = client.generic(
            method,
            f"/api/v1/destinations{path}",
            json.dumps(body) if body is not None else "",
            content_type="application/json",
        )
        return answer.status_code, json.loads(answer.content or "null")

    status, created = call("POST", "", {"name": "erp", "url": URL})
    assert (status, created["secret"][:6]) == (201, "whsec_")
    pk = created["destination"]["id"]
    errors = call("POST", "", {"name": "erp", "url": URL})[1]["errors"]
    assert "There is a destination “erp” already." in str(errors)
    status, test = call("POST", f"/{pk}/test")
    assert (status, test["type"], test["status"]) == (202, "test", "pending")
    assert call("POST", f"/{pk}/replay", {"deliveries": [test["id"]]})[0] == 422
    Delivery.objects.update(status=DeliveryStatus.FAILED)
    status, replayed = call("POST", f"/{pk}/replay", {"deliveries": [test["id"]]})
    assert replayed["deliveries"][0]["message_id"] == test["message_id"]
    listed = call("GET", f"/{pk}/deliveries?status=failed")[1]["items"]
    assert [one["id"] for one in listed] == [test["id"]]
    detail = call("GET", f"/deliveries/{test['id']}")[1]
    assert detail["body"]["data"] == {"destination": "erp"}
    plan = {"name": "erp", "url": URL, "events": ["run.failed"]}
    assert call("PUT", f"/{pk}", plan)[1]["events"] == ["run.failed"]
    assert "secret" not in call("GET", f"/{pk}")[1]
    assert call("DELETE", f"/{pk}?reason=Replaced.")[0] == 204
    assert call("GET", f"/{pk}")[1]["code"] == "destination_not_found"
