"""Schedules in the API: create, change, pause, backfill; scopes and hidden params."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from tests.api.conftest import Caller
from workflows.engine import State, Workflow, node
from workflows.models import MomentResult, Schedule, ScheduleMoment
from workflows.registry import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NIGHTLY = "nightly"
SCHEDULES = "/api/v1/schedules"
CREATE = f"/api/v1/workflows/{NIGHTLY}/schedules"
BODY: dict[str, Any] = {
    "name": "every morning",
    "cron": "0 9 * * 1-5",
    "zone": "Europe/Berlin",
    "params": {"limit": 7},
    "overlap": "queue",
}


class Count(State):
    """State of the scheduled workflow."""

    limit: int = 3


class Limit(BaseModel):
    """Params of the scheduled workflow."""

    limit: int = 3


@pytest.fixture(autouse=True)
def scheduled_workflow(db: None) -> Iterator[None]:
    """Install a workflow that takes a limit."""

    @node
    async def work(state: Count) -> Count:
        return state

    flow = Workflow(NIGHTLY, state=Count, start=work, routes={}, params=Limit)
    registry.register(flow)
    yield
    registry.unregister(NIGHTLY)


def send(client: Any, path: str, body: Any, method: str = "post") -> Any:
    return getattr(client, method)(path, body, content_type="application/json")


def test_a_schedule_is_created_changed_paused_resumed_and_deleted(
    alice: User, api_client: Caller
) -> None:
    client = api_client(alice)
    created = send(client, CREATE, BODY)
    assert created.status_code == 201
    path = created["Location"]
    found = client.get(path).json()
    assert found["description"] == "At 09:00 on Monday through Friday"
    assert (found["owner"], found["params"]) == ("alice", {"limit": 7})
    assert found["next"] is not None
    changed = send(client, path, {**BODY, "cron": "@daily"}, "put").json()
    assert changed["cron"] == "0 0 * * *"
    paused = send(client, f"{path}/pause", {"reason": "maintenance"}).json()
    assert (paused["pause_reason"], paused["next"]) == ("maintenance", None)
    assert send(client, f"{path}/pause", {"reason": "again"}).status_code == 422
    assert not send(client, f"{path}/resume", {}).json()["paused"]
    assert client.delete(f"{path}?reason=obsolete").status_code == 204
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"zone": "Mars/Base"}, "zone"),
        ({"params": {"limit": "many"}}, "limit"),
        ({"profile": "unknown"}, "profile"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"overlap": "often"}, "overlap"),
    ],
)
def test_invalid_fields_are_named_and_nothing_is_created(
    alice: User, api_client: Caller, changed: dict[str, Any], field: str
) -> None:
    response = send(api_client(alice), CREATE, BODY | changed)
    assert response.status_code == 422
    assert {one["field"] for one in response.json()["errors"]} == {field}
    assert not Schedule.objects.exists()


def test_the_schedule_of_another_person_needs_launch_and_operate(
    alice: User, admin: User, api_client: Caller
) -> None:
    path = send(api_client(alice, "launch"), CREATE, BODY)["Location"]
    for scopes, status in ((["launch"], 403), (["launch", "operate"], 200)):
        client = api_client(admin, *scopes)
        assert send(client, path, BODY, "put").status_code == status
    assert Schedule.objects.get().owner == admin
    assert send(api_client(alice, "launch"), path, BODY, "put").status_code == 403


def test_params_and_refusals_are_hidden_without_the_scope_read(
    alice: User, api_client: Caller
) -> None:
    path = send(api_client(alice), CREATE, BODY)["Location"]
    ScheduleMoment.objects.create(
        schedule=Schedule.objects.get(),
        moment=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        result=MomentResult.REFUSED,
        message="limit: 7 is too much",
    )
    for scope, params, message in (
        ("launch", None, "hidden"),
        ("read", {"limit": 7}, "limit: 7 is too much"),
    ):
        client = api_client(alice, scope)
        found = client.get(path).json()
        assert (found["hidden"], found["params"]) == (params is None, params)
        (moment,) = client.get(f"{path}/moments").json()["items"]
        assert moment["message"] == message


def test_schedules_and_moments_are_paged(alice: User, api_client: Caller) -> None:
    client = api_client(alice)
    for number in range(3):
        send(client, CREATE, BODY | {"name": f"number {number}"})
    page = client.get(f"{SCHEDULES}?limit=2&workflow={NIGHTLY}").json()
    rest = client.get(f"{SCHEDULES}?limit=2&cursor={page['next']}").json()
    names = [one["name"] for one in page["items"] + rest["items"]]
    assert names == ["number 0", "number 1", "number 2"]
    assert client.get(f"{SCHEDULES}?workflow=other").json()["items"] == []
    schedule = Schedule.objects.get(name="number 0")
    days = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3)]
    for day in days:
        ScheduleMoment.objects.create(
            schedule=schedule, moment=day, result=MomentResult.MISSED
        )
    moments = f"{SCHEDULES}/{schedule.pk}/moments"
    page = client.get(f"{moments}?limit=2").json()
    rest = client.get(f"{moments}?limit=2&cursor={page['next']}").json()
    found = [one["moment"] for one in page["items"] + rest["items"]]
    assert [dt.datetime.fromisoformat(one) for one in found] == days[::-1]
    assert client.get(f"{moments}?cursor=IjEi").status_code == 400


def test_a_backfill_is_previewed_then_queued_by_the_owner_only(
    alice: User, admin: User, api_client: Caller
) -> None:
    client = api_client(alice)
    path = send(client, CREATE, BODY | {"cron": "0 12 * * *"})["Location"]
    period = {"first": "2026-01-01T00:00:00Z", "last": "2026-01-03T23:00:00Z"}
    preview = send(client, f"{path}/backfill/preview", period).json()
    assert len(preview["moments"]) == 3
    assert not ScheduleMoment.objects.exists()
    refused = send(api_client(admin), f"{path}/backfill", period)
    assert refused.status_code == 403
    assert "alice" in refused.json()["detail"]
    assert send(client, f"{path}/backfill", period).json() == {"queued": 3}
    early = {**period, "first": "0001-01-01T00:00:00Z"}
    assert send(client, f"{path}/backfill/preview", early).status_code == 422
