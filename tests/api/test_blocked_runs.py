"""Why a pending run does not start, and the key of its limits, over the API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group
from pydantic import BaseModel

from tests.api.conftest import Caller
from tests.support.factories import make_run
from workflows.engine import Limits, State, Workflow, node
from workflows.models import Run, Status, WorkflowPause, WorkflowPermission
from workflows.registry import registry
from workflows.system import system

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db
NAME = "mail"
SECRET = "a tenant that is data of the run"


class Letter(BaseModel):
    tenant: str = SECRET


class Post(State):
    params: Letter = Letter()


@node
def post(state: Post) -> Post:
    return state


@pytest.fixture
def limits() -> Iterator[Any]:
    """Give a function that registers the workflow with limits."""

    def register(**options: Any) -> None:
        key = lambda params: params.tenant  # noqa: E731
        made = Limits(key=key, **options)
        registry.register(
            Workflow(NAME, state=Post, start=post, routes={}, limits=made)
        )

    yield register
    registry.unregister(NAME)


def shown(client: Any, run: Run) -> Any:
    return client.get(f"/api/v1/runs/{run.pk}").json()


def test_a_full_limit_is_named_with_the_runs_that_it_counts(
    admin: User, api_client: Caller, limits: Any
) -> None:
    limits(at_once=1)
    client = api_client(admin)
    first, second = (system.execute(NAME, {}, by=admin) for _ in range(2))
    assert shown(client, first)["blocked"] is None
    Run.objects.filter(pk=first.pk).update(
        status=Status.RUNNING, attempt=1, lease_expires_at=first.created_at
    )
    assert shown(client, first)["blocked"] is None
    found = shown(client, second)
    assert found["limit_key"] == SECRET
    assert found["blocked"] == {
        "by": "limit",
        "limit": "1 run at once",
        "until": None,
        "runs": [str(first.pk)],
    }
    listed = {one["id"]: one for one in client.get("/api/v1/runs").json()["items"]}
    assert listed[str(second.pk)]["limit_key"] == SECRET


def test_the_time_of_a_debounce_is_named(
    admin: User, api_client: Caller, limits: Any
) -> None:
    limits(debounce=dt.timedelta(minutes=5))
    run = system.execute(NAME, {}, by=admin)
    found = shown(api_client(admin), run)["blocked"]
    assert (found["by"], found["limit"], found["runs"]) == ("debounce", None, [])
    until = run.created_at + dt.timedelta(minutes=5)
    assert dt.datetime.fromisoformat(found["until"]) == until


def test_a_pause_keeps_a_pending_run_from_starting(
    admin: User, api_client: Caller
) -> None:
    run = make_run(status=Status.PENDING, attempt=0)
    client = api_client(admin)
    before = client.get(f"/api/v1/runs/{run.pk}")
    assert (before.json()["blocked"], before.json()["limit_key"]) == (None, None)
    WorkflowPause.objects.create(workflow_name=run.workflow_name, paused_by_name="x")
    again = client.get(
        f"/api/v1/runs/{run.pk}", headers={"If-None-Match": before["ETag"]}
    )
    assert again.status_code == 200, "the pause changes the ETag"
    assert again.json()["blocked"]["by"] == "pause"
    Run.objects.filter(pk=run.pk).update(attempt=1)
    assert shown(client, run)["blocked"] is None, "a run that has started continues"


def test_the_key_is_data_of_the_run(
    alice: User, api_client: Caller, limits: Any, settings: Any
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    limits(at_once=1)
    run = system.execute(NAME, {})
    watchers, readers = (
        Group.objects.create(name=name) for name in ("watchers", "readers")
    )
    alice.groups.set([watchers])
    WorkflowPermission.objects.create(group=watchers, workflow_name=NAME, can_view=True)
    WorkflowPermission.objects.create(
        group=readers, workflow_name=NAME, can_view=False, can_read=True
    )
    response = api_client(alice).get(f"/api/v1/runs/{run.pk}")
    assert response.json()["limit_key"] is None
    assert SECRET not in response.content.decode()
