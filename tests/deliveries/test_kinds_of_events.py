"""Events about messages, callbacks, pauses and limits: when they are written, and for whom."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from tests.support.factories import make_run
from workflows.deliveries import expansion, following, notification_texts, payloads
from workflows.engine import Limits, State, Workflow, event, node
from workflows.errors import LimitReached
from workflows.models import (
    Destination,
    EventKind,
    EventMessage,
    EventWait,
    EventWaitKind,
    EventWaitStatus,
    Interest,
    Notification,
    OutboxEvent,
    Run,
    Status,
)
from workflows.registry import Registry
from workflows.services import pauses
from workflows.system import System

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db

NAME = "classify-document"
KEY = "a key that is data of the run"
SECRET = "a value that is data of the run"


class Payment(BaseModel):
    amount: int = 0


class Order(State):
    payment: Payment | None = None


@node
def ship(state: Order) -> Order:
    return state


@pytest.fixture
def wants_all() -> Interest:
    """Let a destination want every event."""
    destination = Destination.objects.create(name="all", url="http://127.0.0.1/")
    return Interest.objects.create(destination=destination)


def kinds() -> list[str]:
    return [row.kind for row in OutboxEvent.objects.order_by("pk")]


def message(**fields: Any) -> EventMessage:
    values = {"workflow_name": NAME, "name": "payment", "key": KEY, "value": {}}
    return EventMessage.objects.create(**values | fields)


def wait(run: Run, position: int = 0, **fields: Any) -> EventWait:
    values = {"workflow_name": NAME, "node_name": "paid", "name": "payment", "key": KEY}
    return EventWait.objects.create(
        run=run, sequence=3, position=position, **values | fields
    )


def closed(
    row: EventWait, status: EventWaitStatus, by: Any = None
) -> OutboxEvent | None:
    """Close a wait; return the event about it."""
    OutboxEvent.objects.all().delete()
    EventWait.objects.filter(pk=row.pk).close(status, message=by)
    return OutboxEvent.objects.first()


def body_of(event: OutboxEvent) -> Any:
    text = payloads.body_of(event)
    assert KEY not in text
    assert SECRET not in text
    return json.loads(text)["data"]


def test_a_message_is_reported_when_it_is_sent(
    wants_all: Interest,
) -> None:
    paid = event("payment", answer=Payment, into="payment", key=lambda _: KEY)
    registry = Registry()
    registry.register(Workflow(NAME, state=Order, start=paid, routes={paid: ship}))
    for key in ("once", "once", "again"):
        System(registry).send(
            "payment", KEY, {"amount": 7}, by=None, idempotency_key=key
        )
    sent = list(EventMessage.objects.order_by("pk"))
    assert kinds() == ["event.sent"] * 2, "a repeated request sends nothing"
    first = OutboxEvent.objects.order_by("pk")[0]
    assert (first.workflow_name, first.run_id) == (NAME, None)
    assert body_of(first) == {
        "workflow": NAME,
        "event": {"message": str(sent[0].pk), "name": "payment"},
    }
    message(name="")
    assert kinds() == ["event.sent"] * 2, "a callback is reported when it is received"


@pytest.mark.parametrize("status", EventWaitStatus.values)
@pytest.mark.parametrize("kind", EventWaitKind.values)
def test_a_wait_is_reported_when_its_message_came_or_its_time_is_over(
    wants_all: Interest, kind: str, status: str
) -> None:
    run = make_run(status=Status.WAITING)
    name = "payment" if kind == EventWaitKind.EVENT else ""
    row = wait(run, kind=kind, name=name)
    is_received = status == EventWaitStatus.RECEIVED
    by = message(name=name) if is_received else None
    found = closed(row, EventWaitStatus(status), by)
    if kind not in {"event", "callback"} or status not in {"received", "expired"}:
        assert found is None
        return
    assert found is not None
    assert (found.kind, found.run_id) == (f"{kind}.{status}", run.pk)
    data = body_of(found)
    assert data["run"]["id"] == str(run.pk)
    assert data[kind] == {
        "message": str(by.pk) if by else None,
        **({"name": name} if name else {}),
        "step": 3,
        "node": "paid",
    }


def test_a_pause_and_its_end_are_reported_without_the_reason(
    wants_all: Interest, alice: User, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://runs.example.org"
    pauses.pause(NAME, by=alice, reason=SECRET)
    pauses.unpause(NAME, by=None)
    assert kinds() == ["workflow.paused", "workflow.unpaused"]
    url = f"https://runs.example.org/workflows/{NAME}/"
    found = [body_of(one)["pause"] for one in OutboxEvent.objects.order_by("pk")]
    assert found == [{"url": url, "by": "alice"}, {"url": url, "by": None}]


def limited() -> System:
    """Return a system whose workflow refuses a second run at once."""
    limits = Limits(at_once=1, key=lambda _: KEY, when_full="refuse")
    registry = Registry()
    registry.register(Workflow(NAME, state=Order, start=ship, routes={}, limits=limits))
    return System(registry)


def refuse(system: System) -> None:
    with pytest.raises(LimitReached):
        system.execute(NAME, {})


def test_refused_launches_are_reported_once_a_minute(wants_all: Interest) -> None:
    system = limited()
    system.execute(NAME, {})
    for _ in range(3):
        refuse(system)
    assert kinds() == ["launch.refused"]
    assert body_of(OutboxEvent.objects.get())["limit"] == "1 at once"
    before = OutboxEvent.objects.get().created_at - dt.timedelta(minutes=1)
    OutboxEvent.objects.update(created_at=before)
    refuse(system)
    assert kinds() == ["launch.refused"] * 2


def test_nothing_is_written_about_them_without_an_interest() -> None:
    system = limited()
    system.execute(NAME, {})
    refuse(system)
    row = wait(make_run(status=Status.WAITING))
    assert closed(row, EventWaitStatus.RECEIVED, message()) is None
    pauses.pause(NAME, by=None, reason="")
    pauses.unpause(NAME, by=None)
    assert kinds() == []


def test_followers_of_a_workflow_are_not_notified_of_each_message(
    alice: User, bob: User
) -> None:
    run = make_run(status=Status.WAITING)
    following.follow("workflow", NAME, by=alice)
    following.follow("run", str(run.pk), by=bob)
    sent = message()
    EventWait.objects.filter(pk=wait(run).pk).close(
        EventWaitStatus.RECEIVED, message=sent
    )
    EventWait.objects.filter(pk=wait(run, 1).pk).close(EventWaitStatus.EXPIRED)
    pauses.pause(NAME, by=bob, reason=SECRET)
    expansion.expand()

    def notified(user: User) -> list[str]:
        rows = Notification.objects.filter(user=user).order_by("pk")
        return [notification_texts.title_of(row) for row in rows]

    label = f"{NAME} {run.short_id}"
    expired = f"Wait for an event expired “payment”: {label}"
    assert notified(alice) == [expired, f"Workflow paused: {NAME}"]
    assert notified(bob) == [f"Event received “payment”: {label}", expired]


def test_every_kind_has_a_text_and_a_page(alice: User) -> None:
    given = {
        "event": "payment",
        "message": str(uuid4()),
        "limit": "1 at once",
        "node": "paid",
        "sequence": 3,
    }
    for kind in EventKind:
        if not kind.startswith(("event.", "callback.", "launch.", "workflow.")):
            continue
        row = OutboxEvent(kind=kind, workflow_name=NAME, facts=given)
        row.run_id = UUID(int=7) if kind.startswith("callback.") else None
        assert kind.label in notification_texts.title_of(row)
        assert notification_texts.path_of(row).startswith(("/workflows/", "/runs/"))
        assert payloads.body_of(row)
