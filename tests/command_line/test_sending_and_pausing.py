"""`signalbox send`, `pause` and `unpause`: what they do, print and refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest
from pydantic import BaseModel

from tests.command_line.conftest import Shell
from tests.support.factories import make_run
from workflows.access import tokens
from workflows.engine import State, Workflow, event, node
from workflows.models import (
    AuditEvent,
    EventMessage,
    EventWait,
    Run,
    Status,
    WorkflowPause,
)
from workflows.registry import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NAMES = ("paid-orders", "paid-trips")

# A message is delivered after its commit
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("_workflows"),
]


@node
def close(state: State) -> State:
    return state


class Payment(BaseModel):
    amount: int
    currency: str = "EUR"


@pytest.fixture
def _workflows() -> Iterator[None]:
    """Register two workflows that wait for the same event."""
    for name in NAMES:
        paid = event("payment", Payment, into="payment", name="paid")
        registry.register(Workflow(name, state=State, start=paid, routes={}))
    yield
    for name in NAMES:
        registry.unregister(name)


def waiting(key: str, workflow: str = NAMES[0]) -> Run:
    """Return a run that waits for a payment with a key."""
    values = {"waiting_for": "event", "waiting_node": "paid"}
    run = make_run(status=Status.WAITING, workflow_name=workflow, **values)
    EventWait.objects.create(
        run=run,
        sequence=1,
        workflow_name=workflow,
        node_name="paid",
        name="payment",
        key=key,
    )
    return run


def test_a_message_moves_the_runs_that_wait_for_its_key(shell: Shell) -> None:
    moved, other = waiting("42"), waiting("43")
    text = shell.run("send", "payment", "42", "--value", "amount=120")
    assert text.splitlines() == [
        f"{NAMES[0]}: moved run {moved.pk}",
        f"{NAMES[1]}: kept: no run waits for it",
    ]
    stored = EventMessage.objects.get(workflow_name=NAMES[0])
    assert (stored.value, stored.sender_name) == (
        {"amount": 120, "currency": "EUR"},
        "admin",
    )
    statuses = [Run.objects.get(pk=run.pk).status for run in (moved, other)]
    assert statuses == [Status.PENDING, Status.WAITING]


def test_a_message_without_a_run_is_kept_for_one_workflow(shell: Shell) -> None:
    words = ("send", "payment", "7", "--value", "amount=1", "--workflow", NAMES[0])
    (sent,) = shell.json(*words)
    assert (sent["workflow"], sent["kept"], sent["runs"]) == (NAMES[0], True, [])
    assert EventMessage.objects.get().pk == UUID(sent["id"])


def test_fields_come_from_a_file_and_options_replace_them(
    shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "payment.json"
    path.write_text(json.dumps({"amount": 1, "currency": "CHF"}))
    shell.run(
        *("send", "payment", "--values-file", str(path), "--value", "amount=2"),
        *("--workflow", NAMES[1]),
    )
    stored = EventMessage.objects.get()
    assert (stored.value, stored.key) == ({"amount": 2, "currency": "CHF"}, "")
    path.write_text("[1]")
    shell.run("send", "payment", "--values-file", str(path), code=2)
    assert "must be a JSON object" in shell.errors
    assert EventMessage.objects.count() == 1


def test_a_message_whose_response_is_lost_is_sent_once(shell: Shell) -> None:
    run = waiting("42")
    lost: list[httpx.Request] = []

    def lose(request: httpx.Request) -> None:
        if request.url.path.endswith("/events") and not lost:
            lost.append(request)
            again = httpx.Request(
                "POST", request.url, headers=request.headers, content=request.read()
            )
            shell.transport.handle_request(again)
            raise httpx.ReadError("the connection was reset")

    shell.transport.before = lose
    words = ("send", "payment", "42", "--value", "amount=1", "--workflow", NAMES[0])
    text = shell.run(*words)
    assert lost
    assert text == f"{NAMES[0]}: moved run {run.pk}\n"
    assert EventMessage.objects.count() == 1
    assert AuditEvent.objects.filter(action="send event").count() == 1
    shell.transport.before = lambda _: None
    key = ("--idempotency-key", "payment-7")
    for _ in range(2):
        shell.run(*words, *key)
    assert EventMessage.objects.count() == 2
    other = (*words[:4], "amount=2", *words[5:], *key)
    assert shell.json(*other, code=2)["code"] == "message_key_reused"


def test_a_message_that_does_not_fit_is_refused_with_its_fields(shell: Shell) -> None:
    shell.run("send", "payment", "42", "--value", "amount=much", code=2)
    assert "amount" in shell.errors
    assert shell.json("send", "refund", code=2)["code"] == "event_not_found"
    shell.run("send", "payment", "--value", "amount", code=2)
    assert "is not KEY=VALUE" in shell.errors
    assert not EventMessage.objects.exists()


def test_a_token_needs_the_scope_to_operate(
    shell: Shell, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = tokens.create(admin, "reads", by=admin, scopes=["read", "launch"])
    monkeypatch.setenv("SIGNALBOX_TOKEN", secret)
    refused = [
        ("send", "payment", "--value", "amount=1"),
        ("pause", NAMES[0], "--reason", "The bank is down."),
    ]
    for words in refused:
        assert shell.json(*words, code=2)["code"] == "not_allowed"
    assert not EventMessage.objects.exists()
    assert not WorkflowPause.objects.exists()


def test_a_workflow_is_paused_and_unpaused(shell: Shell) -> None:
    pause = ("pause", NAMES[0], "--reason", "The bank is down.")
    assert shell.run(*pause) == f"{NAMES[0]} is paused.\n"
    assert WorkflowPause.objects.get().reason == "The bank is down."
    assert shell.json(*pause, code=2)["code"] == "pause_unchanged"
    assert shell.json("unpause", NAMES[0])["paused"] is None
    assert not WorkflowPause.objects.exists()
    shell.run("unpause", NAMES[0], code=2)
    assert "is not paused" in shell.errors
    shell.run("pause", "nothing", "--reason", "x", code=2)
    assert "nothing" in shell.errors
    actions = AuditEvent.objects.filter(action__contains="pause workflow")
    assert actions.count() == 2


def test_a_reason_is_optional_where_the_workflow_asks_for_none(shell: Shell) -> None:
    words = "Enter a reason. It is saved in the audit log."
    asking = str(make_run(status=Status.PENDING).pk)
    for command in (("cancel", asking), ("rerun", asking), ("pause", NAMES[0])):
        assert shell.json(*command, code=2)["code"] == "reason_missing"
        shell.run(*command, code=2)
        assert words in shell.errors
    assert not WorkflowPause.objects.exists()
    free = Workflow("free", state=State, start=close, routes={}, reasons_for=())
    registry.register(free)
    try:
        pending = make_run(status=Status.PENDING, workflow_name="free")
        done = str(make_run(status=Status.COMPLETED, workflow_name="free").pk)
        assert shell.json("cancel", str(pending.pk))["status"] == "cancelled"
        shell.run("mark-golden", done)
        shell.run("unmark-golden", done)
        shell.run("rerun", done)
        shell.run("pause", "free")
    finally:
        registry.unregister("free")
    assert [one.reason for one in AuditEvent.objects.filter(run_id=pending.pk)] == [""]
