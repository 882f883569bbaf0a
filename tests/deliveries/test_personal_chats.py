"""The chat of a person: their notifications at an address of their own, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from tests.api.conftest import api_client as api_client  # noqa: PLC0414 - a fixture
from tests.support.factories import make_run
from tests.support.receiver import Receiver, Reply
from tests.support.responses import text_of
from workflows.deliveries import (
    chat,
    expansion,
    following,
    personal_chat,
    retention,
    service,
)
from workflows.deliveries.deliverer import Deliverer
from workflows.deliveries.service import Plan
from workflows.errors import DestinationNotFound, InvalidDestination
from workflows.execution import run_cancellation
from workflows.models import (
    AuditEvent,
    Delivery,
    Destination,
    Mail,
    Run,
    Status,
    Subscription,
    WorkflowPermission,
)

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import Settings

    from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "a-secret-of-the-chat"
PRIVATE = "a reason that is data of the run"
NAME = "classify-document"


@pytest.fixture(autouse=True)
def _enough_time(settings: Settings) -> None:
    settings.WEBHOOK_SECONDS = 60
    settings.PUBLIC_URL = "https://runs.example.org"


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an address that is accepted without the process that checks it."""
    monkeypatch.setattr(chat, "check", lambda _: ("", "jsons://example.org/***"))
    return f"jsons://example.org/{SECRET}"


def address_of(receiver: Receiver) -> str:
    return receiver.url.replace("http://", "json://") + f"?+X-Token={SECRET}"


def end_run(**fields: Any) -> Run:
    run = make_run(status=Status.PENDING, params={"text": PRIVATE}, **fields)
    run_cancellation.cancel(run, by=None, reason=PRIVATE)
    return run


def deliver() -> None:
    async def drain() -> None:
        await Deliverer().drain()

    asyncio.run(drain())


def test_a_person_saves_an_address_and_chooses_what_is_sent_to_it(
    unchecked: str, alice: User, sign_in: Callable[[User], Client]
) -> None:
    client, form = sign_in(alice), {"address": unchecked}
    page = text_of(client.get(reverse("notification-settings")))
    assert 'name="chat"' not in page, "there is no chat to choose yet"
    page = text_of(client.post(reverse("chat-save"), form, follow=True))
    assert "Chat saved." in page
    assert 'name="chat"' in page
    assert SECRET not in page
    found = Destination.objects.get()
    assert found.open_secrets() == [form["address"]]
    assert SECRET.encode() not in bytes(found.secrets or b"")
    choice = {"kind": "workflow", "target": NAME, "chat": "each"}
    client.post(reverse("follow"), choice)
    assert Subscription.objects.get().chat == "each"
    client.post(reverse("chat-remove"))
    assert not Destination.objects.exists()
    actions = [one.action_name for one in AuditEvent.objects.order_by("pk")]
    assert actions == ["set chat", "remove chat"]
    assert SECRET not in str(list(AuditEvent.objects.values()))


def test_notifications_arrive_in_order_after_failures_without_data_of_the_run(
    receiver: Receiver, alice: User, bob: User, sign_in: Callable[[User], Client]
) -> None:
    client = sign_in(alice)
    personal_chat.save(address_of(receiver), by=alice)
    following.follow("workflow", NAME, by=alice, chat="each")
    following.follow("failures", "", by=bob, chat="each")
    run = end_run()
    receiver.reply = lambda _: Reply(500)
    deliver()
    page = text_of(client.get(reverse("notification-settings")))
    assert "The last attempt failed." in page
    assert "The message was not sent" in page
    receiver.reply = lambda _: Reply(200)
    receiver.received.clear()
    for _ in range(2):
        client.post(reverse("chat-test"))
    deliver()
    bodies = [one.body for one in receiver.received]
    title = f"Run cancelled: {NAME} {run.short_id}"
    assert [one["title"] for one in bodies] == [title, "Test"]
    assert bodies[0]["message"] == f"View: https://runs.example.org/runs/{run.pk}/"
    assert {one.headers["x-token"] for one in receiver.received} == {SECRET}
    assert PRIVATE not in str(bodies)


def test_only_its_owner_sees_and_uses_a_chat(
    unchecked: str, admin: User, alice: User, sign_in: Callable[[User], Client]
) -> None:
    found = personal_chat.save(unchecked, by=alice)
    following.follow("workflow", NAME, by=alice, chat="each")
    end_run()
    expansion.expand()
    client = sign_in(admin)
    assert client.get(reverse("destination", args=[found.pk])).status_code == 404
    assert found.url not in text_of(client.get(reverse("destinations")))
    message = Delivery.objects.get()
    assert client.get(reverse("delivery", args=[message.pk])).status_code == 404
    assert found.url not in text_of(client.get(reverse("notification-settings")))
    in_admin = client.get(reverse("admin:workflows_destination_changelist"))
    assert in_admin.status_code == 200
    assert found.name not in text_of(in_admin)
    message.tries.create(number=1, error="no answer")
    for name in ("delivery", "deliveryattempt"):
        listed = client.get(reverse(f"admin:workflows_{name}_changelist"))
        assert listed.context["cl"].result_count == 0, name
    with pytest.raises(DestinationNotFound):
        personal_chat.remove(by=admin)
    with pytest.raises(InvalidDestination, match="reserved"):
        service.create(
            Plan(f"Chat of account {admin.pk}", "https://example.org"), by=admin
        )
    service.create(Plan("Mail to accounting", "https://example.org"), by=admin)


def test_a_message_about_a_workflow_that_the_person_may_not_view_any_more_is_not_sent(
    unchecked: str, alice: User
) -> None:
    personal_chat.save(unchecked, by=alice)
    following.follow("workflow", NAME, by=alice, chat="each")
    end_run()
    expansion.expand()
    team = Group.objects.create(name="team")
    WorkflowPermission.objects.create(workflow_name=NAME, group=team, can_view=True)
    deliver()
    assert Delivery.objects.get().status == "withheld"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("jsons://127.0.0.1/hook", "internal address"),
        ("json://example.org/hook", "Use jsons:// instead"),
        ("https://example.org/hook", "Enter the address of a chat"),
        ("jsons://example.org/a b", "without spaces"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused_in_the_form(
    alice: User,
    settings: Settings,
    sign_in: Callable[[User], Client],
    address: str,
    message: str,
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    sent = sign_in(alice).post(reverse("chat-save"), {"address": address})
    assert sent.status_code == 422
    assert message in text_of(sent)
    assert not Destination.objects.exists()


def test_an_internal_address_is_refused_at_the_connection(
    receiver: Receiver, unchecked: str, alice: User, settings: Settings
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    personal_chat.save(address_of(receiver).replace("json://", "jsons://"), by=alice)
    personal_chat.send_test(by=alice)
    deliver()
    assert receiver.received == []
    found = personal_chat.find(alice)
    assert "internal address" in personal_chat.last_error(found)


def test_the_form_as_it_is_shown_keeps_the_address_and_ends_a_suspension(
    unchecked: str, alice: User
) -> None:
    found = personal_chat.save(unchecked, by=alice)
    now = timezone.now()
    Destination.objects.update(failures=7, suspended_at=now, next_attempt_at=now)
    personal_chat.save(found.url, by=alice)
    found.refresh_from_db()
    assert (found.failures, found.next_attempt_at, found.state) == (0, None, "working")
    assert found.open_secrets() == [unchecked]


def test_a_chat_that_is_removed_meanwhile_is_not_saved_without_its_address(
    unchecked: str, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = personal_chat.save(unchecked, by=alice)
    personal_chat.remove(by=alice)
    monkeypatch.setattr(personal_chat, "chat_of", lambda _: found)  # as it was read
    with pytest.raises(InvalidDestination, match="meanwhile"):
        personal_chat.save(found.url, by=alice)
    assert not Destination.objects.exists()
    personal_chat.save(f"{unchecked}-2", by=alice)
    monkeypatch.setattr(personal_chat, "chat_of", lambda _: None)
    again = personal_chat.save(f"{unchecked}-3", by=alice)
    assert again.open_secrets() == [f"{unchecked}-3"]


def test_the_choice_of_a_chat_is_kept_until_it_is_changed(alice: User) -> None:
    following.follow("failures", "", by=alice, chat="each")
    following.follow("failures", "", by=alice, mail=Mail.DAILY)
    found = Subscription.objects.get()
    assert (found.mail, found.chat) == ("daily", "each")
    end_run()
    expansion.expand()
    assert not Delivery.objects.exists(), "there is no chat"
    following.follow("failures", "", by=alice, chat="none")
    found.refresh_from_db()
    assert found.chat == "none"


def test_the_address_is_deleted_with_the_chat_or_the_account(
    unchecked: str, alice: User, bob: User
) -> None:
    for user in (alice, bob):
        personal_chat.save(unchecked, by=user)
    personal_chat.remove(by=alice)
    assert Destination.objects.get().owner == bob
    Destination.objects.update(owner=None)  # as the deletion of an account does
    retention.purge(timezone.now())
    assert not Destination.objects.exists()


def test_the_api_sets_tests_and_removes_a_chat(
    receiver: Receiver, alice: User, api_client: Caller
) -> None:
    client, api = api_client(alice), "/api/v1/notifications/chat"
    json = "application/json"
    assert client.get(api).json()["code"] == "destination_not_found"
    body: dict[str, Any] = {"address": address_of(receiver)}
    saved = client.put(api, body, content_type=json)
    assert (saved.status_code, saved.json()["state"]) == (200, "working")
    assert SECRET not in text_of(saved)
    follow = {"kind": "failures", "chat": "each"}
    subscribed = client.post("/api/v1/subscriptions", follow, content_type=json)
    assert subscribed.json()["chat"] == "each"
    assert client.post(f"{api}/test").status_code == 202
    deliver()
    assert receiver.received[0].body["message"] == "Signalbox can reach your chat."
    refused = client.put(api, {"address": "syslog://localhost"}, content_type=json)
    assert [one["field"] for one in refused.json()["errors"]] == ["address"]
    assert client.delete(api).status_code == 204
    assert client.get(api).status_code == 404
    limited = api_client(alice, "launch").put(api, body, content_type=json)
    assert limited.status_code == 403
    personal_chat.save(body["address"], by=alice)
    assert api_client(alice, "read").get(api).status_code == 403
