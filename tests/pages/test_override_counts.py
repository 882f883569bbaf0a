"""The page of decisions counts overrides by workflow, edge and person."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.support.factories import make_decision, make_run
from workflows.models import DecisionKind, WorkflowPermission

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def override(workflow: str, target: str, by: User) -> None:
    run = make_run(workflow_name=workflow)
    make_decision(run, "weigh", target, kind=DecisionKind.OVERRIDE, decided_by=by)


def counts(
    client: Client, query: str = "outcome=override"
) -> list[tuple[str, str, str, int]]:
    found = client.get(f"/decisions/?{query}").context["overrides"]
    return [(one.workflow, one.target, one.person, one.count) for one in found]


def test_overrides_are_counted_by_workflow_edge_and_person(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    for _ in range(2):
        override("invoices", "publish", alice)
    override("invoices", "publish", bob)
    override("invoices", "hold", bob)
    override("orders", "publish", bob)
    make_decision(make_run(), "weigh", "publish", decided_by=bob)  # of an approval
    client = sign_in(alice)
    assert counts(client) == [
        ("invoices", "publish", "alice", 2),
        ("invoices", "hold", "bob", 1),
        ("invoices", "publish", "bob", 1),
        ("orders", "publish", "bob", 1),
    ]
    assert counts(client, "outcome=override&who=alice") == [
        ("invoices", "publish", "alice", 2)
    ]
    text = client.get("/decisions/?outcome=override").content.decode()
    assert "Weigh → Publish" in text
    assert counts(client, "outcome=taken") == []


def test_overrides_of_workflows_that_a_person_may_not_see_are_not_counted(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    override("invoices", "publish", bob)
    WorkflowPermission.objects.create(
        workflow_name="invoices",
        group=Group.objects.create(name="others"),
        can_view=True,
    )
    assert counts(sign_in(alice)) == []
