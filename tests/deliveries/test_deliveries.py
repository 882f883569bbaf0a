"""Messages on their way: signed, in order, at least once, to a real HTTP server."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from standardwebhooks.webhooks import WebhookVerificationError

from tests.support.factories import make_decision, make_moment, make_run
from tests.support.receiver import Receiver, Reply
from workflows.deliveries import backoff, delivery_queue, expansion, retention, service
from workflows.deliveries.deliverer import Deliverer
from workflows.deliveries.service import Plan
from workflows.deliveries.webhook_requests import Result
from workflows.errors import (
    DeliveryNotFound,
    DestinationNotFound,
    InvalidDestination,
    NotAllowed,
)
from workflows.execution import run_cancellation
from workflows.infra import clock
from workflows.models import (
    AuditEvent,
    Delivery,
    DeliveryAttempt,
    Destination,
    OutboxEvent,
    Run,
    Status,
)

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db(transaction=True)

PRIVATE = "secret params of the run"


@pytest.fixture
def destination(receiver: Receiver, admin: User) -> Destination:
    found, _ = service.create(Plan("erp", receiver.url), by=admin)
    return found


def end_run(**fields: Any) -> Run:
    run = make_run(status=Status.PENDING, params={"text": PRIVATE}, **fields)
    run_cancellation.cancel(run, by=None, reason=PRIVATE)
    return run


def deliver() -> None:
    """Deliver what is due, in a process of its own."""

    async def drain() -> None:
        await Deliverer().drain()

    asyncio.run(drain())


def make_due() -> None:
    """Let the time until the next attempts pass."""
    Destination.objects.update(next_attempt_at=clock.now())


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("status", flat=True))


def test_a_message_is_signed_and_has_the_route_but_no_data_of_the_run(
    receiver: Receiver, admin: User, settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://runs.example.org"
    found, secret = service.create(Plan("erp", receiver.url), by=admin)
    run = make_run(status=Status.WAITING, params={"text": PRIVATE}, sequence=2)
    make_decision(run, sequence=1, reason=PRIVATE, values={"text": PRIVATE})
    run_cancellation.cancel(run, by=None, reason=PRIVATE)
    deliver()
    (received,) = receiver.received
    received.verify(secret)
    with pytest.raises(WebhookVerificationError):
        received.verify("whsec_" + "A" * 44)
    assert received.id == Delivery.objects.get().webhook_id
    assert PRIVATE not in received.text
    body = received.body
    assert (body["type"], body["version"]) == ("run.cancelled", 1)
    assert body["data"]["workflow"] == run.workflow_name
    sent = body["data"]["run"]
    assert sent["id"] == str(run.pk)
    assert sent["url"] == f"https://runs.example.org/runs/{run.pk}/"
    assert (sent["status"], sent["error_code"]) == ("cancelled", "cancelled")
    (decision,) = body["data"]["decisions"]
    assert (decision["step"], decision["from"]) == (1, "weigh")
    attempt = DeliveryAttempt.objects.get()
    assert (attempt.response_status, attempt.error) == (204, "")
    assert bytes(found.secrets or b"").find(secret.encode()) == -1


def test_messages_arrive_in_order_and_a_failure_keeps_the_others_waiting(
    receiver: Receiver, destination: Destination
) -> None:
    runs = [end_run() for _ in range(4)]
    replies = iter([Reply(), Reply(500, b"<b>down</b>" * 1000), *[Reply()] * 3])
    receiver.reply = lambda _: next(replies)
    deliver()
    assert statuses() == ["delivered", "pending", "pending", "pending"]
    failed = DeliveryAttempt.objects.exclude(error="").get()
    assert failed.error == "The receiver responded with status 500."
    assert failed.excerpt.startswith("<b>down</b>")
    assert len(failed.excerpt) == 1000
    deliver()  # not due yet
    assert len(receiver.received) == 2
    make_due()
    deliver()
    assert statuses() == ["delivered"] * 4
    ids = [one.body["data"]["run"]["id"] for one in receiver.received]
    assert ids == [str(runs[index].pk) for index in (0, 1, 1, 2, 3)]
    assert receiver.ids[1] == receiver.ids[2], "the id of a message is stable"
    assert receiver.received[1].text == receiver.received[2].text
    destination.refresh_from_db()
    assert (destination.failures, destination.lease) == (0, "")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(hangs=True), "No response within 0.2 s."),
        (Reply(raw=b"\x00\xffgarbage\r\n\r\n"), "The request failed: "),
        (Reply(302, headers={"location": "http://127.0.0.1:1/"}), "with a redirect"),
        (Reply(503, headers={"retry-after": "1800"}), "with status 503."),
    ],
    ids=["timeout", "garbage", "redirect", "retry-after"],
)
def test_a_receiver_that_misbehaves_is_tried_again_later(
    reply: Reply,
    error: str,
    receiver: Receiver,
    destination: Destination,
    settings: Settings,
) -> None:
    settings.WEBHOOK_SECONDS = 0.2 if reply.hangs else 10
    receiver.reply = lambda _: reply
    end_run()
    deliver()
    assert statuses() == ["pending"]
    assert error in DeliveryAttempt.objects.get().error
    assert len(receiver.received) == 1, "no redirect was followed"
    destination.refresh_from_db()
    assert destination.next_attempt_at is not None
    if "retry-after" in reply.headers:
        wait = destination.next_attempt_at - clock.now()
        assert wait > dt.timedelta(minutes=29)


def test_an_address_that_became_private_is_refused_when_connecting(
    receiver: Receiver, destination: Destination, settings: Settings
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    end_run()
    deliver()
    assert receiver.received == []
    assert "ALLOW_PRIVATE_WEBHOOKS" in DeliveryAttempt.objects.get().error


def test_a_destination_that_keeps_failing_is_suspended_and_recovers(
    receiver: Receiver, destination: Destination, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.reply = lambda _: Reply(500)
    first, second = end_run(), end_run()
    waits = []
    for _ in range(backoff.SUSPEND_AFTER + 1):
        make_due()
        deliver()
        destination.refresh_from_db()
        assert destination.next_attempt_at is not None
        waits.append(destination.next_attempt_at - clock.now())
    assert destination.is_suspended
    assert sum("is suspended after 5" in line for line in caplog.messages) == 1
    assert waits[0] < waits[3] < waits[5], "the delay is doubled"
    assert {one.body["data"]["run"]["id"] for one in receiver.received} == {
        str(first.pk)
    }, "only the first message is tried"
    receiver.reply = lambda _: Reply()
    make_due()
    deliver()
    destination.refresh_from_db()
    assert (destination.is_suspended, destination.failures) == (False, 0)
    assert statuses() == ["delivered", "delivered"]
    assert receiver.received[-1].body["data"]["run"]["id"] == str(second.pk)


def test_a_message_that_the_receiver_refuses_does_not_block_the_others_for_ever(
    receiver: Receiver, destination: Destination
) -> None:
    refused, other = end_run(), end_run()
    receiver.reply = lambda one: Reply(422 if str(refused.pk) in one.text else 204)
    for _ in range(backoff.MAX_REFUSALS):
        make_due()
        deliver()
    make_due()
    deliver()
    assert statuses() == ["failed", "delivered"]
    assert receiver.received[-1].body["data"]["run"]["id"] == str(other.pk)
    hopeless = Result("The receiver responded with status 500.", 500)
    assert not backoff.is_given_up(hopeless, 99, dt.timedelta(hours=71))
    assert backoff.is_given_up(hopeless, 1, dt.timedelta(hours=73))


def test_a_receiver_that_is_gone_pauses_its_destination(
    receiver: Receiver, destination: Destination, admin: User
) -> None:
    receiver.reply = lambda _: Reply(410)
    end_run()
    deliver()
    make_due()
    deliver()
    destination.refresh_from_db()
    assert destination.is_paused
    assert "410" in destination.pause_reason
    assert len(receiver.received) == 1
    receiver.reply = lambda _: Reply()
    service.resume(destination.pk, by=admin)
    deliver()
    assert statuses() == ["delivered"]


def test_the_message_of_a_killed_process_is_sent_again_when_its_lease_expires(
    receiver: Receiver, destination: Destination
) -> None:
    end_run()
    expansion.expand()
    assert delivery_queue.claim("killed", 10) == [destination.pk]
    assert delivery_queue.next_message(destination.pk, "killed") is not None
    deliver()
    assert receiver.received == [], "another process has the lease"
    Destination.objects.update(lease_expires_at=clock.now() - dt.timedelta(seconds=1))
    deliver()
    assert statuses() == ["delivered"]
    assert delivery_queue.next_message(destination.pk, "killed") is None


def test_a_result_that_two_processes_record_counts_once(
    destination: Destination,
) -> None:
    end_run()
    expansion.expand()
    delivery_queue.claim("one", 10)
    message = delivery_queue.next_message(destination.pk, "one")
    assert message is not None
    now = clock.now()
    assert delivery_queue.record(message, Result(""), now)
    assert not delivery_queue.record(message, Result("It failed."), now)
    assert statuses() == ["delivered"]
    assert DeliveryAttempt.objects.count() == 1


def test_a_destination_receives_only_what_it_wants_and_its_owner_may_see(
    receiver: Receiver, destination: Destination, admin: User, bob: User
) -> None:
    plan = Plan("erp", receiver.url, ["run.cancelled"], ["classify-document"])
    service.change(destination.pk, plan, by=admin)
    end_run(workflow_name="another")
    assert OutboxEvent.objects.count() == 0
    end_run()
    expansion.expand()
    Destination.objects.update(owner=bob)  # who may not manage destinations
    deliver()
    end_run()
    deliver()
    assert receiver.received == []
    assert statuses() == ["withheld", "withheld"]
    Destination.objects.update(owner=admin)
    end_run()
    deliver()
    assert len(receiver.received) == 1


def test_a_rotated_secret_signs_together_with_the_one_before(
    receiver: Receiver, admin: User
) -> None:
    destination, before = service.create(Plan("erp", receiver.url), by=admin)
    _, after = service.rotate_secret(destination.pk, by=admin)
    service.send_test(destination.pk, by=admin)
    deliver()
    receiver.received[0].verify(before)
    receiver.received[0].verify(after)
    Destination.objects.update(previous_secret_until=clock.now())
    service.send_test(destination.pk, by=admin)
    deliver()
    receiver.received[1].verify(after)
    with pytest.raises(WebhookVerificationError):
        receiver.received[1].verify(before)
    recorded = json.dumps(list(AuditEvent.objects.values("before", "after", "reason")))
    assert before not in recorded
    assert after not in recorded


def test_messages_are_replayed_with_their_ids_and_the_audit_log_has_it(
    receiver: Receiver, destination: Destination, admin: User
) -> None:
    end_run(), end_run()
    deliver()
    ids = list(Delivery.objects.order_by("pk").values_list("pk", flat=True))
    service.replay(destination.pk, ids, by=admin)
    deliver()
    assert receiver.ids[:2] == receiver.ids[2:]
    event = AuditEvent.objects.get(action="replay delivery")
    assert event.reason == "erp: 2 messages"
    with pytest.raises(DeliveryNotFound):
        service.replay(destination.pk, [ids[0], 10**9], by=admin)
    with pytest.raises(InvalidDestination):
        service.replay(destination.pk, [], by=admin)


def test_a_paused_destination_keeps_its_messages_until_it_is_resumed(
    receiver: Receiver, destination: Destination, admin: User
) -> None:
    service.pause(destination.pk, by=admin, reason="Maintenance of the receiver.")
    end_run()
    deliver()
    assert receiver.received == []
    service.resume(destination.pk, by=admin)
    deliver()
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://93.184.216.34/", "begins with https://"),
        ("https://127.0.0.1/", "is a private"),
        ("https://0x7f000001/", "is a private"),
        ("https://[::ffff:169.254.169.254]/", "is a private"),
        ("https://user:word@93.184.216.34/", "without a user name"),
        ("ftp://93.184.216.34/", "begins with"),
        ("nonsense", "begins with"),
        ("https://93.184.216.34/ü", "ASCII"),
    ],
)
def test_an_address_that_messages_must_not_go_to_is_refused(
    url: str, message: str, admin: User, settings: Settings
) -> None:
    settings.ALLOW_PRIVATE_WEBHOOKS = False
    with pytest.raises(InvalidDestination) as refused:
        service.create(Plan("erp", url), by=admin)
    assert message in str(refused.value.errors["url"])
    assert Destination.objects.count() == 0


def test_only_permitted_people_manage_and_see_destinations(
    destination: Destination, bob: User, admin: User
) -> None:
    with pytest.raises(NotAllowed):
        service.create(Plan("mine", destination.url), by=bob)
    with pytest.raises(DestinationNotFound):
        service.send_test(destination.pk, by=bob)
    assert not service.visible_deliveries(bob).exists()
    with pytest.raises(InvalidDestination):
        service.create(Plan("erp", destination.url), by=admin)  # the name is taken
    with pytest.raises(InvalidDestination):
        service.create(Plan("x", destination.url, ["run.exploded"]), by=admin)


def test_old_messages_are_deleted_and_pending_ones_kept(
    receiver: Receiver, destination: Destination, settings: Settings
) -> None:
    end_run()
    deliver()
    receiver.reply = lambda _: Reply(500)
    end_run()
    deliver()
    end_run()
    old = clock.now() - dt.timedelta(days=settings.DELIVERY_DAYS + 1)
    Delivery.objects.update(created_at=old)
    OutboxEvent.objects.update(created_at=old)
    assert retention.purge_if_due()
    assert not retention.purge_if_due(), "one process an hour"
    assert statuses() == ["pending"]
    assert OutboxEvent.objects.get().expanded_at is None


def test_what_a_schedule_missed_is_reported(
    receiver: Receiver, destination: Destination
) -> None:
    moment = make_moment(result="missed")
    deliver()
    data = receiver.received[0].body["data"]
    assert data["schedule"]["name"] == moment.schedule.name
    assert data["schedule"]["time"] == moment.moment.isoformat()
    moment.schedule.delete()
    moment = make_moment(result="refused")
    moment.schedule.delete()
    deliver()
    assert receiver.received[1].body["data"]["schedule"]["time"] is None
