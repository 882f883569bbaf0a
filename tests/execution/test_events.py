"""Runs that wait for events: who receives a message, once, in order, also after a crash."""

from __future__ import annotations

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from pydantic import BaseModel, Field

from tests.support.workers import ended, reaches, until, working
from workflows.engine import State, Workflow, event, node, otherwise, when, when_failed
from workflows.engine.errors import EventExpired, InputInvalid
from workflows.errors import EventNotFound, InvalidMessage, MessageKeyReused
from workflows.execution import event_delivery, queue
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    AuditEvent,
    Decision,
    EventMessage,
    EventWait,
    EventWaitStatus,
    Retention,
    Run,
    Status,
    WaitKind,
)
from workflows.registry import Registry
from workflows.retention.purge import purge_due
from workflows.services.events import Sent
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed")

SENDERS = 8


class Payment(BaseModel):
    amount: int = Field(ge=0)
    currency: str = "EUR"


class Order(State):
    order_id: str = "42"
    payment: Payment | None = None
    second: Payment | None = None
    refused: str = ""


@node
def ship(state: Order) -> Order:
    """Return the state unchanged."""
    return state


@node
def refuse(state: Order) -> Order:
    failure = state.failure
    return state.set(refused=failure.type if failure else "")


def paying(name: str = "order", **options: Any) -> Workflow[Any]:
    """Return a workflow that waits for a payment."""
    paid = event(
        "payment",
        answer=Payment,
        into="payment",
        key=lambda state: state.order_id,
        name="paid",
        **options,
    )
    large = lambda state: state.payment.amount > 100  # noqa: E731
    return Workflow(
        name,
        state=Order,
        start=paid,
        routes={paid: [when(large, ship), when_failed(refuse), otherwise(ship)]},
    )


def paying_twice() -> Workflow[Any]:
    """Return a workflow that waits for two payments."""
    first, second = (
        event("payment", Payment, into=into, key=lambda s: s.order_id, name=into)
        for into in ("payment", "second")
    )
    return Workflow("order", state=Order, start=first, routes={first: second})


@pytest.fixture(autouse=True)
def no_sweep(settings: Any) -> None:
    """Disable the sweep of workers."""
    settings.POLL_INTERVAL_SECONDS = 3_000


@pytest.fixture
def alice(transactional_db: None) -> User:
    """Return a user who sends messages."""
    return User.objects.create_superuser("alice")


@pytest.fixture
def system(registry: Registry, transactional_db: None) -> System:
    return System(registry)


async def waiting(system: System, name: str = "order", **params: Any) -> Run:
    run = await run_in_db(system.execute, name, params)
    return await reaches(run.pk, Status.WAITING)


def sent(system: System, amount: int, **options: Any) -> Sent:
    """Send a payment for order 42 and return it."""
    options = {"key": "42", "by": None, **options}
    (found,) = system.send("payment", value={"amount": amount}, **options)
    return found


# Delivery ---------------------------------------------------------------------------------


async def test_a_message_moves_the_run_that_waits_for_its_name_and_key(
    registry: Registry, system: System, alice: User
) -> None:
    registry.register(paying())
    async with working(registry):
        run = await waiting(system)
        other = await waiting(system, order_id="43")
        found = await run_in_db(partial(sent, system, 150, by=alice))
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED
    assert run.result["payment"] == {"amount": 150, "currency": "EUR"}
    assert (found.runs, found.is_kept) == ([run.pk], False)
    other = await run_in_db(Run.objects.get, pk=other.pk)
    assert (other.status, other.waiting_for) == (Status.WAITING, WaitKind.EVENT)


async def test_a_wait_shows_its_event_and_key(
    registry: Registry, system: System
) -> None:
    registry.register(paying(within=dt.timedelta(hours=1)))
    async with working(registry):
        run = await waiting(system)
    wait = await run_in_db(EventWait.objects.get, run=run)
    assert (wait.name, wait.key, wait.node_name, wait.sequence) == (
        "payment",
        "42",
        "paid",
        1,
    )
    assert wait.expires_at == run.wake_at
    assert wait.status == EventWaitStatus.OPEN


async def test_the_decision_names_the_sender_and_the_message(
    registry: Registry, system: System, alice: User
) -> None:
    registry.register(paying())
    async with working(registry):
        run = await waiting(system)
        found = await run_in_db(partial(sent, system, 150, by=alice))
        run = await ended(run.pk)

    def rows() -> tuple[Decision, list[AuditEvent]]:
        decision = run.decisions.select_related("decided_by").earliest("pk")
        events = AuditEvent.objects.exclude(action="launch").order_by("pk")
        return decision, list(events)

    decision, events = await run_in_db(rows)
    assert decision.decided_by == alice
    assert decision.comment == (
        f"“payment”, key “42”, message {found.message.short_id}"
    )
    assert [(one.action, one.actor_name, one.run_id) for one in events] == [
        ("send event", "alice", None),
        ("receive event", "alice", run.pk),
    ]
    assert events[0].workflow_name == "order"


async def test_one_message_moves_every_run_that_waits_for_it(
    registry: Registry, system: System
) -> None:
    registry.register(paying())
    async with working(registry):
        runs = [await waiting(system) for _ in range(3)]
        found = await run_in_db(sent, system, 1)
        for run in runs:
            assert (await ended(run.pk)).status == Status.COMPLETED
    assert found.runs == sorted(run.pk for run in runs)


async def test_a_message_that_comes_early_is_kept_and_taken_in_order(
    registry: Registry, system: System
) -> None:
    registry.register(paying_twice())
    for amount in (1, 2, 3):
        assert (await run_in_db(sent, system, amount)).is_kept
    async with working(registry):
        run = await run_in_db(system.execute, "order", {})
        run = await ended(run.pk)
    assert [run.result[name]["amount"] for name in ("payment", "second")] == [1, 2]
    kept = await run_in_db(EventMessage.objects.get, delivered_at=None)
    assert kept.value["amount"] == 3


async def test_a_message_that_is_too_old_is_not_taken(
    registry: Registry, system: System, settings: Any
) -> None:
    registry.register(paying())
    found = await run_in_db(sent, system, 1)
    old = timezone.now() - dt.timedelta(days=settings.EVENT_KEEP_DAYS, hours=1)
    await run_in_db(
        EventMessage.objects.filter(pk=found.message.pk).update, created_at=old
    )
    async with working(registry):
        await waiting(system)
    message = await run_in_db(EventMessage.objects.get)
    assert message.delivered_at is None


async def test_of_two_messages_at_once_one_is_taken_and_the_other_waits_for_the_next(
    registry: Registry, system: System
) -> None:
    registry.register(paying_twice())
    async with working(registry):
        run = await waiting(system)
        with ThreadPoolExecutor(SENDERS) as pool:
            send = partial(_in_thread, partial(sent, system))
            await asyncio.to_thread(lambda: list(pool.map(send, range(SENDERS))))
        run = await ended(run.pk)

    def rows() -> tuple[list[EventWait], int]:
        waits = EventWait.objects.order_by("sequence").select_related("message")
        return list(waits), EventMessage.objects.filter(delivered_at=None).count()

    waits, kept = await run_in_db(rows)
    amounts = [run.result[name]["amount"] for name in ("payment", "second")]
    assert [wait.message and wait.message.value["amount"] for wait in waits] == amounts
    assert len(set(amounts)) == 2
    assert kept == SENDERS - 2


def _in_thread(call: Any, *args: Any) -> Any:
    """Call the function, then close the connection of this thread."""
    try:
        return call(*args)
    finally:
        connection.close()


async def test_messages_and_waits_that_are_committed_at_once_find_each_other(
    registry: Registry, system: System
) -> None:
    registry.register(paying())
    async with working(registry):
        runs = [
            await run_in_db(system.execute, "order", {"order_id": str(number)})
            for number in range(20)
        ]
        for number in range(20):
            await run_in_db(partial(sent, system, number, key=str(number)))
        for number, run in enumerate(runs):
            end = await ended(run.pk)
            assert end.result["payment"]["amount"] == number


async def test_a_repeated_idempotency_key_sends_nothing(
    registry: Registry, system: System
) -> None:
    registry.register(paying_twice())
    async with working(registry):
        run = await waiting(system)
        first = await run_in_db(partial(sent, system, 1, idempotency_key="a"))
        run = await until(
            run.pk, lambda run: run.sequence == 1 and run.status == "waiting"
        )
        again = await run_in_db(partial(sent, system, 1, idempotency_key="a"))
        assert again.message.pk == first.message.pk
        assert again.message.already_sent
        with pytest.raises(MessageKeyReused):
            await run_in_db(partial(sent, system, 2, idempotency_key="a"))
        run = await run_in_db(Run.objects.get, pk=run.pk)
    assert (run.status, run.sequence) == (Status.WAITING, 1)
    assert await run_in_db(EventMessage.objects.count) == 1


# Validation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "field"),
    [({"amount": -1}, "amount"), ({}, "amount"), ({"amount": 1, "sum": 2}, "sum")],
)
def test_a_value_of_another_type_is_refused_before_anything_is_stored(
    registry: Registry, system: System, value: dict[str, Any], field: str
) -> None:
    registry.register(paying())
    with pytest.raises(InputInvalid) as caught:
        system.send("payment", "42", value, by=None)
    assert list(caught.value.errors) == [field]
    assert not EventMessage.objects.exists()


def test_an_event_that_no_workflow_waits_for_is_refused(
    registry: Registry, system: System
) -> None:
    registry.register(paying())
    with pytest.raises(EventNotFound, match="waits for an event “paiment”"):
        system.send("paiment", "42", {"amount": 1}, by=None)


@pytest.mark.parametrize("key", ["x" * 201, " 42", "4\n2"])
def test_a_key_that_no_run_can_wait_for_is_refused(
    registry: Registry, system: System, key: str
) -> None:
    registry.register(paying())
    with pytest.raises(InvalidMessage):
        system.send("payment", key, {"amount": 1}, by=None)


async def test_a_message_goes_to_every_workflow_that_waits_or_to_the_one_that_is_named(
    registry: Registry, system: System
) -> None:
    registry.register(paying("order"))
    registry.register(paying("invoice"))
    async with working(registry):
        order, invoice = [await waiting(system, name) for name in ("order", "invoice")]
        only = await run_in_db(partial(sent, system, 1, workflow="invoice"))
        await ended(invoice.pk)
        both = await run_in_db(
            partial(system.send, "payment", "42", {"amount": 2}, by=None)
        )
        await ended(order.pk)
    assert only.runs == [invoice.pk]
    assert {one.message.workflow_name: one.runs for one in both} == {
        "order": [order.pk],
        "invoice": [],
    }


async def test_a_key_that_is_no_text_fails_the_run_with_a_sentence(
    registry: Registry, system: System
) -> None:
    paid = event("payment", Payment, into="payment", key=lambda _: None, name="paid")  # type: ignore[arg-type,return-value]
    registry.register(Workflow("order", state=Order, start=paid, routes={}))
    async with working(registry):
        run = await run_in_db(system.execute, "order", {})
        run = await ended(run.pk)
    assert run.status == Status.FAILED
    assert "The key of the event “payment” is a NoneType" in run.error_message


async def test_a_key_with_a_secret_of_the_run_fails_the_run(
    registry: Registry, system: System
) -> None:
    paid = event(
        "payment", Payment, "payment", key=lambda s: s.secret("token"), name="paid"
    )
    registry.register(Workflow("order", state=Order, start=paid, routes={}))
    async with working(registry):
        run = await run_in_db(partial(system.execute, "order", {}, token="sesame-open"))
        run = await ended(run.pk)
    assert "contains a secret of this run" in run.error_message
    assert "sesame" not in run.error_message


# Expiry, cancellation, deadline -----------------------------------------------------------


async def test_a_wait_that_expires_takes_the_declared_value(
    registry: Registry, system: System
) -> None:
    soon = dt.timedelta(milliseconds=50)
    registry.register(paying(within=soon, on_expiry={"amount": 0}))
    async with working(registry):
        run = await run_in_db(system.execute, "order", {})
        run = await ended(run.pk)
    assert run.result["payment"]["amount"] == 0
    wait = await run_in_db(EventWait.objects.get)
    assert wait.status == EventWaitStatus.EXPIRED


async def test_a_wait_that_expires_without_a_value_takes_the_failure_route(
    registry: Registry, system: System
) -> None:
    registry.register(paying(within=dt.timedelta(milliseconds=50)))
    async with working(registry):
        run = await run_in_db(system.execute, "order", {})
        run = await ended(run.pk)
    assert run.result["refused"] == EventExpired.__name__


async def test_a_cancelled_run_receives_nothing_and_waits_again_after_a_resume(
    registry: Registry, system: System, alice: User
) -> None:
    registry.register(paying())
    async with working(registry):
        run = await waiting(system)
        await run_in_db(partial(system.cancel, run.pk, by=alice, reason="stop"))
        wait = await run_in_db(EventWait.objects.get)
        assert wait.status == EventWaitStatus.WITHDRAWN
        assert (await run_in_db(sent, system, 1)).is_kept
        await run_in_db(partial(system.resume, run.pk, by=alice, reason="go"))
        run = await ended(run.pk)
    assert run.result["payment"]["amount"] == 1
    assert await run_in_db(EventWait.objects.count) == 1


async def test_a_run_that_passes_its_deadline_withdraws_its_wait(
    registry: Registry, system: System
) -> None:
    registry.register(paying())
    async with working(registry):
        run = await waiting(system)
    past = timezone.now() - dt.timedelta(seconds=1)
    times = {"created_at": past - dt.timedelta(hours=1), "deadline_at": past}
    await run_in_db(partial(Run.objects.filter(pk=run.pk).update, **times))
    assert await run_in_db(queue.sweep) == [run.pk]
    async with working(registry):
        run = await ended(run.pk)
    wait = await run_in_db(EventWait.objects.get)
    assert wait.status == EventWaitStatus.WITHDRAWN


# Crashes ----------------------------------------------------------------------------------


async def test_the_sweep_delivers_what_a_process_left_after_its_commit(
    registry: Registry, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(paying())
    async with working(registry):
        run = await waiting(system)
        with monkeypatch.context() as patched:
            patched.setattr(event_delivery, "deliver", lambda _: [])
            found = await run_in_db(sent, system, 1)
        assert found.runs == []
        assert await run_in_db(queue.sweep) == [run.pk]
        assert await run_in_db(queue.sweep) == []


async def test_the_sweep_delivers_a_message_to_a_wait_whose_worker_was_lost(
    registry: Registry, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(paying())
    await run_in_db(sent, system, 1)
    with monkeypatch.context() as patched:
        patched.setattr(event_delivery, "deliver_to", lambda _: None)
        async with working(registry):
            run = await waiting(system)
    assert await run_in_db(queue.sweep) == [run.pk]
    async with working(registry):
        run = await ended(run.pk)
    assert run.result["payment"]["amount"] == 1


async def test_a_run_whose_worker_is_lost_after_the_message_reads_the_same_one(
    registry: Registry, system: System
) -> None:
    registry.register(paying_twice())
    async with working(registry):
        run = await waiting(system)
    for amount in (1, 2):
        await run_in_db(sent, system, amount)
    claimed = await run_in_db(queue.claim, "lost", 1)
    assert [one.pk for one in claimed.runs] == [run.pk]
    await run_in_db(Run.objects.filter(pk=run.pk).expire)
    await run_in_db(queue.sweep)
    async with working(registry):
        run = await ended(run.pk)
    assert [run.result[name]["amount"] for name in ("payment", "second")] == [1, 2]


# Retention --------------------------------------------------------------------------------


async def test_retention_deletes_old_messages_but_none_that_an_active_run_needs(
    registry: Registry, system: System, settings: Any
) -> None:
    registry.register(paying())
    async with working(registry):
        await waiting(system)
        await waiting(system, order_id="done")
        await run_in_db(partial(sent, system, 1, key="early"))
        done = await run_in_db(partial(sent, system, 2, key="done"))
        await ended(done.runs[0])
    active = await run_in_db(sent, system, 3)  # its run is pending: no worker
    old = timezone.now() - dt.timedelta(days=settings.EVENT_KEEP_DAYS, hours=1)
    await run_in_db(EventMessage.objects.update, created_at=old)
    counts = await run_in_db(purge_due)
    assert counts.messages == 2
    assert await run_in_db(EventMessage.objects.get) == active.message


async def test_the_data_of_a_run_is_deleted_with_the_value_of_its_message(
    registry: Registry, system: System
) -> None:
    registry.register(paying())
    async with working(registry):
        run = await waiting(system)
        await run_in_db(sent, system, 1)
        await ended(run.pk)

    def purge() -> EventMessage:
        Retention.objects.create(workflow_name="", payload_days=1)
        ago = timezone.now() - dt.timedelta(days=2)
        Run.objects.filter(pk=run.pk).update(completed_at=ago)
        purge_due()
        return EventMessage.objects.get()

    message = await run_in_db(purge)
    assert message.value is None
    assert message.sender_name == "system"
