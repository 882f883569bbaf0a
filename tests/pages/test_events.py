"""Events on pages and in the API, and the permission to send them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import make_run, make_stage, make_user
from workflows.engine import State, Workflow, event
from workflows.models import (
    AuditEvent,
    EventMessage,
    EventWait,
    Run,
    StageStatus,
    Status,
    WaitKind,
    WorkflowPermission,
)
from workflows.registry import registry

pytestmark = pytest.mark.django_db

NAME = "order-of-events"


class Payment(BaseModel):
    amount: int


class Order(State):
    payment: Payment | None = None


@pytest.fixture(autouse=True)
def workflow() -> Any:
    """Install a workflow that waits for a payment."""
    paid = event("payment", Payment, "payment", key=lambda _: "42", name="paid")
    made = Workflow(NAME, state=Order, start=paid, routes={})
    registry.register(made)
    yield made
    registry.unregister(NAME)


@pytest.fixture
def run(workflow: Workflow[Any]) -> Run:
    """A run that waits for the payment of order 42."""
    run = make_run(
        status=Status.WAITING,
        workflow_name=NAME,
        graph=workflow.drawn,
        waiting_for=WaitKind.EVENT,
        waiting_node="paid",
        sequence=0,
    )
    make_stage(run, "paid", sequence=1, status=StageStatus.WAITING)
    EventWait.objects.create(
        run=run,
        sequence=1,
        workflow_name=NAME,
        node_name="paid",
        name="payment",
        key="key-42",
        expires_at=timezone.now() + dt.timedelta(hours=1),
    )
    return run


def granted(name: str, **flags: bool) -> User:
    """Return a person in a group with permissions on the workflow."""
    group = Group.objects.create(name=name)
    WorkflowPermission.objects.create(workflow_name=NAME, group=group, **flags)
    person = make_user(name)
    person.groups.add(group)
    return person


@pytest.fixture
def operator() -> User:
    return granted("olga", can_view=True, can_operate=True, can_read=True)


@pytest.fixture
def blind() -> User:
    """Return a user who may operate the workflow and not see its values."""
    return granted("ben", can_view=True, can_operate=True)


def page_of(run: Run, person: User) -> str:
    client = Client()
    client.force_login(person)
    return client.get(f"/runs/{run.pk}/").content.decode()


def send(client: Client, **message: Any) -> Any:
    given = {"name": "payment", "key": "key-42", "value": {"amount": 7}, **message}
    return client.post(
        "/api/v1/events", json.dumps(given), content_type="application/json"
    )


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_the_page_names_event_key_and_expiry_of_a_wait(
    run: Run, operator: User
) -> None:
    page = page_of(run, operator)
    assert "Waiting for the event “payment”." in page
    assert "With the key “key-42”." in page
    assert "signalbox send payment key-42" in page
    assert "Expires" in page


def test_keys_and_values_are_hidden_from_people_who_may_not_see_values(
    run: Run, operator: User, blind: User
) -> None:
    assert send(signed_in(operator), value={"amount": 987_123}).status_code == 202
    wait = EventWait.objects.get()
    assert wait.message is not None
    shown, hidden = page_of(run, operator), page_of(run, blind)
    assert "key-42" in shown
    assert "987123" in shown or "987,123" in shown
    for text in ("key-42", "987123", "987,123"):
        assert text not in hidden
    for page in (shown, hidden):
        assert wait.message.short_id in page
        assert "olga" in page


def test_a_message_moves_the_run_and_the_response_names_it(
    run: Run, operator: User
) -> None:
    response = send(signed_in(operator))
    assert response.status_code == 202
    (found,) = response.json()
    assert (found["workflow"], found["runs"], found["kept"]) == (
        NAME,
        [str(run.pk)],
        False,
    )
    run.refresh_from_db()
    assert run.status == Status.PENDING
    waits = signed_in(operator).get(f"/api/v1/runs/{run.pk}/waits").json()
    assert [(one["event"], one["key"], one["status"]) for one in waits] == [
        ("payment", "key-42", "received")
    ]
    assert waits[0]["message"]["sender"] == "olga"
    assert waits[0]["message"]["value"] == {"amount": 7}


def test_the_api_hides_keys_and_values_too(
    run: Run, operator: User, blind: User
) -> None:
    send(signed_in(operator))
    (wait,) = signed_in(blind).get(f"/api/v1/runs/{run.pk}/waits").json()
    assert (wait["key"], wait["message"]["value"]) == ("hidden", None)


def test_a_repeated_request_sends_the_message_once(run: Run, operator: User) -> None:
    client = signed_in(operator)
    given = json.dumps({"name": "payment", "key": "9", "value": {"amount": 7}})
    sent = [
        client.post(
            "/api/v1/events",
            given,
            content_type="application/json",
            headers={"Idempotency-Key": "a"},
        )
        for _ in range(2)
    ]
    assert [one.headers.get("Idempotent-Replayed") for one in sent] == [None, "true"]
    assert sent[0].json() == sent[1].json()
    assert EventMessage.objects.count() == 1
    other = client.post(
        "/api/v1/events",
        given.replace("7", "8"),
        content_type="application/json",
        headers={"Idempotency-Key": "a"},
    )
    assert (other.status_code, other.json()["code"]) == (409, "message_key_reused")


def test_a_value_of_another_type_is_refused_with_its_field(
    run: Run, operator: User
) -> None:
    response = send(signed_in(operator), value={"amount": "much"})
    assert response.status_code == 422
    assert [one["field"] for one in response.json()["errors"]] == ["amount"]
    assert not EventMessage.objects.exists()


def test_who_may_only_view_may_not_send_and_others_find_no_event(run: Run) -> None:
    viewer = granted("vera", can_view=True)
    stranger = make_user("stan")
    assert send(signed_in(viewer)).status_code == 403
    assert send(signed_in(stranger)).status_code == 404
    assert send(signed_in(stranger), workflow=NAME).status_code == 404
    assert not EventMessage.objects.exists()


def test_an_event_that_a_hidden_workflow_waits_for_has_to_name_its_workflow(
    run: Run, operator: User
) -> None:
    paid = event("payment", Payment, "payment", name="paid")
    registry.register(Workflow("secret-orders", state=Order, start=paid, routes={}))
    others = Group.objects.create(name="others")
    WorkflowPermission.objects.create(
        workflow_name="secret-orders", group=others, can_view=True, can_operate=True
    )
    try:
        refused = send(signed_in(operator))
        accepted = send(signed_in(operator), workflow=NAME)
    finally:
        registry.unregister("secret-orders")
    assert refused.status_code == 403
    assert "secret-orders" not in refused.content.decode()
    assert accepted.status_code == 202


def test_admin_sends_a_message_and_reports_what_moved(
    run: Run, admin: User, rf: Any
) -> None:
    client = signed_in(admin)
    form = {
        "name": "payment",
        "workflow_name": NAME,
        "key": "key-42",
        "value": '{"amount": 7}',
    }
    address = "/admin/workflows/eventmessage/add/"
    refused = client.post(address, {**form, "value": '{"amount": "much"}'})
    assert "amount: " in refused.content.decode()
    assert not EventMessage.objects.exists()
    done = client.post(address, form, follow=True)
    assert "It moved 1 run." in done.content.decode()
    message = EventMessage.objects.get()
    assert message.sender == admin
    shown = client.get(f"/admin/workflows/eventmessage/{message.pk}/change/")
    assert "key-42" in shown.content.decode()


def test_the_command_sends_a_message(run: Run, capsys: Any) -> None:
    call_command("send", "payment", "key-42", '{"amount": 7}')
    run.refresh_from_db()
    assert run.status == Status.PENDING
    assert EventMessage.objects.get().sender_name == "system"
    assert AuditEvent.objects.filter(action="send event").count() == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("paiment",), "“paiment”"),
        (("payment", "1", "7"), "JSON object"),
        (("payment", "1", "{"), "not valid JSON"),
        (("payment", "1", "{}", "--by", "nobody"), "no active user"),
    ],
)
def test_the_command_refuses_what_it_cannot_send(
    run: Run, capsys: Any, arguments: tuple[str, ...], text: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("send", *arguments)
    assert ended.value.code == 2
    assert text in capsys.readouterr().err
