"""`/metrics`: the right figures, for those who may see them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from tests.support.factories import make_run
from tests.support.workers import ended, working
from workflows.engine import Graph, Limits, State, Workflow, event
from workflows.errors import LimitReached
from workflows.execution import queue
from workflows.infra.database_threads import run_in_db
from workflows.models import EventMessage, EventWait, Run, Worker, WorkflowPause
from workflows.registry import Registry
from workflows.system import System

TOKEN = "a token of Prometheus"
Figures = dict[tuple[str, ...], float]


@pytest.fixture
def token(settings: Any) -> str:
    settings.METRICS_TOKEN = TOKEN
    return TOKEN


def metric_samples(client: Client, token: str) -> Figures:
    """Return each figure by its name and the values of its labels."""
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.django_db
def test_metrics_are_not_found_for_other_users(
    client: Client, alice: User, token: str
) -> None:
    nowhere = client.get("/no-such-page")
    given = ["", "Bearer", "Bearer wrong", "Bearer ", f"Basic {token}", "Bearer é"]
    answers = [
        client.get("/metrics"),
        *[client.get("/metrics", headers={"Authorization": one}) for one in given],
    ]
    client.force_login(alice)
    answers.append(client.get("/metrics"))
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].content == nowhere.content


@pytest.mark.django_db
def test_without_a_token_no_token_opens_it(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    answer = client.get("/metrics", headers={"Authorization": "Bearer "})
    assert answer.status_code == 404


@pytest.mark.django_db
def test_staff_can_read_the_metrics(
    sign_in: Callable[[User], Client], admin: User
) -> None:
    assert b"signalbox_workers_alive 0.0" in sign_in(admin).get("/metrics").content


@pytest.mark.django_db
def test_metrics_accept_only_get_requests(client: Client, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert client.post("/metrics", headers=headers).status_code == 405


@pytest.mark.django_db
def test_it_reports_workers_queue_and_runs(client: Client, token: str) -> None:
    now = timezone.now()
    ago = {s: now - dt.timedelta(seconds=s) for s in (4, 100, 1000)}
    Worker.objects.create(
        name="busy", host="h", pid=1, capacity=8, running=3, heartbeat_at=ago[4]
    )
    Worker.objects.create(
        name="lost", host="h", pid=2, capacity=8, heartbeat_at=ago[1000]
    )
    for status, name in [("pending", "a"), ("pending", "a"), ("pending", "b")]:
        make_run(status=status, workflow_name=name)
    make_run(status="failed", workflow_name="a")
    Run.objects.filter(workflow_name="a").update(updated_at=ago[100])
    found = metric_samples(client, token)
    assert found["signalbox_workers_alive",] == 1
    assert found["signalbox_worker_running", "busy"] == 3
    assert found["signalbox_worker_capacity", "busy"] == 8
    assert 4 <= found["signalbox_worker_heartbeat_age_seconds", "busy"] < 30
    assert ("signalbox_worker_running", "lost") not in found
    assert found["signalbox_queue_depth", "a"] == 2
    assert found["signalbox_queue_depth", "b"] == 1
    assert 100 <= found["signalbox_queue_oldest_age_seconds", "a"] < 130
    assert found["signalbox_queue_oldest_age_seconds", "b"] < 30
    assert found["signalbox_runs", "pending"] == 3
    assert found["signalbox_runs", "failed"] == 1
    assert found["signalbox_runs", "completed"] == 0


@pytest.mark.django_db
def test_it_reports_runs_that_may_not_start_and_what_runs_wait_for(
    client: Client, token: str
) -> None:
    make_run(status="pending", workflow_name="paused", attempt=0)
    make_run(status="pending", workflow_name="paused", attempt=1)
    make_run(status="pending", workflow_name="limited", limit_key="a", attempt=0)
    WorkflowPause.objects.create(workflow_name="paused", paused_by_name="ada")
    run = make_run(status="waiting")
    for position, kind in enumerate(("event", "event", "callback", "timer")):
        EventWait.objects.create(
            run=run, sequence=1, position=position, workflow_name="a", kind=kind
        )
    EventMessage.objects.create(workflow_name="a", name="paid")
    EventMessage.objects.create(
        workflow_name="a", name="paid", delivered_at=timezone.now()
    )
    found = metric_samples(client, token)
    assert found["signalbox_paused_runs", "paused"] == 1
    assert found["signalbox_limited_runs", "limited"] == 1
    assert found["signalbox_queue_depth", "paused"] == 1, "it has started before"
    assert ("signalbox_queue_depth", "limited") not in found
    assert found["signalbox_open_waits", "event"] == 2
    assert found["signalbox_open_waits", "callback"] == 1
    assert found["signalbox_kept_messages",] == 1


class Payment(BaseModel):
    """A message without fields."""


class Order(State):
    """State of a workflow that waits for an event, with a limit."""

    payment: Payment | None = None


@pytest.mark.django_db
def test_messages_callbacks_and_refused_launches_are_counted(
    client: Client, token: str
) -> None:
    paid = event("paid", Payment, into="payment", name="wait")
    limits = Limits(at_once=1, when_full="refuse")
    registry = Registry()
    registry.register(
        Workflow("orders", state=Order, start=paid, routes={}, limits=limits)
    )
    system, before = System(registry), metric_samples(client, token)
    system.send("paid", "", {}, by=None)
    system.execute("orders", {})
    with pytest.raises(LimitReached):
        system.execute("orders", {})
    assert client.post("/callbacks/unknown", {}, "application/json").status_code == 404
    after = metric_samples(client, token)
    for name in (
        ("signalbox_event_messages_total", "sent"),
        ("signalbox_launches_refused_total", "orders"),
        ("signalbox_callback_requests_total", "unknown"),
    ):
        assert after[name] - before.get(name, 0) == 1, name


def one_node(graph: Graph, _runtime: object, _params: object) -> State:
    graph.add_node("only", lambda state: state)
    graph.set_entry_point("only")
    graph.set_exit_point("only")
    return State()


@pytest.mark.django_db(transaction=True)
async def test_a_process_counts_what_it_does(client: Client, token: str) -> None:
    registry = Registry()
    registry.register_factory("one-node", one_node)
    before = await run_in_db(metric_samples, client, token)
    run = await run_in_db(System(registry).execute, "one-node", {})
    async with working(registry):
        await ended(run.pk)
    after = await run_in_db(metric_samples, client, token)

    def grew(name: str) -> float:
        return after[name,] - before[name,]

    assert grew("signalbox_claims_total") == 1
    assert grew("signalbox_commit_seconds_count") >= 1
    assert grew("signalbox_batch_records_sum") >= grew("signalbox_batch_records_count")
    assert grew("signalbox_commit_seconds_sum") > 0
    assert grew("signalbox_lease_losses_total") == 0


@pytest.mark.django_db
def test_a_recovery_is_counted(client: Client, token: str) -> None:
    before = metric_samples(client, token)
    make_run(
        status="running", worker="gone", attempt=1, lease_expires_at=timezone.now()
    )
    queue.sweep()
    after = metric_samples(client, token)
    name = "signalbox_recoveries_total"
    assert after[name,] - before[name,] == 1
