"""Reasons over the API and in the commands, which are optional where a workflow says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from tests.api.conftest import Caller
from tests.support.factories import make_run
from workflows.engine import State, Workflow, node
from workflows.models import AuditEvent, Run, Status
from workflows.registry import registry

pytestmark = pytest.mark.django_db
SENTENCE = "Enter a reason. It is saved in the audit log."
# (method, the end of the address, status of the run, the expected status of the response)
ACTIONS = [
    ("put", "/pin", Status.COMPLETED, 200),
    ("delete", "/pin", Status.COMPLETED, 200),
    ("put", "/golden", Status.COMPLETED, 200),
    ("delete", "/golden", Status.COMPLETED, 204),
    ("post", "/cancel", Status.PENDING, 200),
    ("post", "/resume", Status.FAILED, 200),
    ("post", "/rerun", Status.COMPLETED, 202),
    ("delete", "", Status.COMPLETED, 204),
]


@node
def close(state: State) -> State:
    return state


@pytest.fixture
def _workflows() -> Iterator[None]:
    free = Workflow("free", state=State, start=close, routes={}, reasons_for=())
    asking = Workflow("asking", state=State, start=close, routes={})
    for one in (free, asking):
        registry.register(one)
    yield
    for one in (free, asking):
        registry.unregister(one.name)


def call(client: Any, method: str, path: str) -> Any:
    body: dict[str, Any] = {} if method == "delete" else {"data": {}}
    return getattr(client, method)(path, content_type="application/json", **body)


def runs_of(workflow: str) -> dict[str, UUID]:
    statuses = {status for _, _, status, _ in ACTIONS}
    return {
        status: make_run(status=status, workflow_name=workflow).pk
        for status in statuses
    }


@pytest.mark.usefixtures("_workflows")
def test_requests_without_a_reason_succeed_where_a_workflow_asks_for_none(
    admin: User, api_client: Caller
) -> None:
    client = api_client(admin)
    runs = runs_of("free")
    for method, end, status, expected in ACTIONS:
        response = call(client, method, f"/api/v1/runs/{runs[status]}{end}")
        assert response.status_code == expected, (method, end, response.content)
    response = call(client, "post", "/api/v1/workflows/free/pause")
    assert response.status_code == 200
    events = AuditEvent.objects.filter(run_id=runs[Status.PENDING])
    assert [one.reason for one in events] == [""]


@pytest.mark.usefixtures("_workflows")
def test_requests_without_a_reason_are_refused_where_the_workflow_asks(
    admin: User, api_client: Caller
) -> None:
    client = api_client(admin)
    runs = runs_of("asking")
    paths = [(one[0], f"/api/v1/runs/{runs[one[2]]}{one[1]}") for one in ACTIONS]
    # it has to be golden before it can be unmarked
    marked = f"/api/v1/runs/{runs[Status.COMPLETED]}/golden"
    body = {"reason": "A good one."}
    assert client.put(marked, body, content_type="application/json").status_code == 200
    before = AuditEvent.objects.count()
    for method, path in [*paths, ("post", "/api/v1/workflows/asking/pause")]:
        # a run that is pinned cannot be pinned again: its golden mark pinned it
        if (method, path) == ("put", f"/api/v1/runs/{runs[Status.COMPLETED]}/pin"):
            continue
        response = call(client, method, path)
        problem = response.json()
        assert response.status_code == 422, (method, path, problem)
        assert problem["code"] == "reason_missing", (method, path)
        assert problem["errors"] == [{"field": "reason", "message": SENTENCE}]
    assert AuditEvent.objects.count() == before
    assert Run.objects.filter(workflow_name="asking").count() == len(runs)


@pytest.mark.usefixtures("_workflows")
def test_routes_that_always_ask_still_require_a_reason(
    admin: User, api_client: Caller
) -> None:
    path = "/api/v1/workflows/free/promote-profile"
    response = api_client(admin).post(
        path, {"profile": ""}, content_type="application/json"
    )
    assert response.status_code == 422
    assert [one["field"] for one in response.json()["errors"]] == ["reason"]
