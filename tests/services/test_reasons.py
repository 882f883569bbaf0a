"""Actions for which a workflow does not ask for a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel

from tests.support.factories import make_approval, make_run
from workflows.admin.pauses import PauseForm
from workflows.engine import DefinitionError, State, Workflow, approval, node
from workflows.engine.reasons import REASON_ACTIONS
from workflows.errors import ReasonMissing, ReasonTooLong
from workflows.models import AuditEvent, Run, Status
from workflows.registry import registry
from workflows.services.golden_runs import Expectation
from workflows.system import system


class Verdict(BaseModel):
    """The response."""

    outcome: Literal["pay", "refuse"]


@node
def close(state: State) -> State:
    return state


def workflow(**options: Any) -> Workflow[State]:
    ask = approval("Pay?", Verdict, "verdict", name="ask")
    return Workflow("paying", state=State, start=ask, routes={ask: close}, **options)


def registered(**options: Any) -> Iterator[None]:
    registry.register(workflow(**options))
    yield
    registry.unregister("paying")


@pytest.fixture
def none_asked() -> Iterator[None]:
    yield from registered(reasons_for=())


@pytest.fixture
def cancel_asked() -> Iterator[None]:
    yield from registered(reasons_for=["cancel"])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("cancel", "give a tuple of actions"),
        (3, "give a tuple of actions"),
        (("stop",), "use 'cancel', 'resume'"),
        ((None,), "use 'cancel', 'resume'"),
    ],
    ids=range(4),
)
def test_wrong_actions_are_reported_at_import(given: Any, why: str) -> None:
    with pytest.raises(DefinitionError, match="Workflow “paying” has reasons_for="):
        workflow(reasons_for=given)
    with pytest.raises(DefinitionError, match=why):
        workflow(reasons_for=given)


def test_reasons_are_no_part_of_the_fingerprint() -> None:
    assert workflow(reasons_for=()).fingerprint == workflow().fingerprint


@pytest.mark.usefixtures("cancel_asked")
def test_a_reason_is_asked_for_the_actions_of_the_workflow() -> None:
    asked = {name: registry.asks_reason("paying", name) for name in REASON_ACTIONS}
    assert {name for name, one in asked.items() if one} == {"cancel"}
    # nothing says that it is optional
    assert all(registry.asks_reason("unknown", name) for name in REASON_ACTIONS)
    assert all(registry.asks_reason("reasoning", name) for name in REASON_ACTIONS)


@pytest.mark.django_db
@pytest.mark.usefixtures("none_asked")
def test_actions_without_a_reason_are_recorded(admin: User) -> None:
    def run_of(status: Status) -> Run:
        return make_run(status=status, workflow_name="paying")

    waiting = run_of(Status.WAITING)
    make_approval(waiting, node_name="ask")
    system.respond(waiting.pk, {"outcome": "pay"}, by=admin)
    system.cancel(run_of(Status.PENDING).pk, by=admin)
    done = run_of(Status.COMPLETED)
    system.set_pinned(done.pk, by=admin)
    system.mark_golden(done.pk, Expectation(), by=admin)
    system.unmark_golden(done.pk, by=admin)
    system.pause_workflow("paying", by=admin)
    system.delete_run(run_of(Status.FAILED).pk, by=admin)
    assert AuditEvent.objects.count() == 7
    with pytest.raises(ReasonTooLong):
        system.cancel(run_of(Status.PENDING).pk, by=admin, reason="x" * 2_001)


@pytest.mark.django_db
@pytest.mark.usefixtures("cancel_asked")
def test_pages_require_the_reason_where_the_workflow_asks_for_one(
    admin_client: Client, admin_user: User
) -> None:
    def required(html: str, name: str) -> bool:
        found = re.search(rf'id="{name}"[^>]*>', html)
        assert found, name
        return "required" in found[0]

    run = make_run(status=Status.WAITING, workflow_name="paying")
    make_approval(run, node_name="ask")
    html = admin_client.get(f"/runs/{run.pk}/").content.decode()
    assert required(html, "cancel-reason")
    assert not required(html, "response-reason")
    assert not required(html, "pin-reason")
    with pytest.raises(ReasonMissing):
        system.cancel(run.pk, by=admin_user)
    html = admin_client.get("/workflows/paying/").content.decode()
    assert not required(html, "pause-reason")
    other = make_run(status=Status.WAITING)
    make_approval(other)
    html = admin_client.get(f"/runs/{other.pk}/").content.decode()
    assert required(html, "response-reason")


@pytest.mark.django_db
@pytest.mark.usefixtures("cancel_asked")
def test_admin_asks_for_the_reason_of_a_pause_as_the_workflow_does() -> None:
    assert PauseForm({"workflow_name": "paying"}).is_valid()
    form = PauseForm({"workflow_name": "reasoning"})
    assert form.errors["reason"] == ["Enter a reason. It is saved in the audit log."]
