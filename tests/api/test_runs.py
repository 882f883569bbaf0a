"""Runs through the API: lists, one run, launches and actions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from tests.api.conftest import Caller
from tests.support.factories import (
    make_approval,
    make_current_stage,
    make_document,
    make_run,
    make_stage,
)
from workflows.models import ApprovalStatus, Run, Status

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RUNS = "/api/v1/runs"
LAUNCH = "/api/v1/workflows/classify-document/runs"


def post(client: Client, address: str, body: Any, **headers: str) -> Any:
    return client.post(
        address, json.dumps(body), content_type="application/json", headers=headers
    )


def test_a_launch_is_queued_and_found_at_its_location(
    alice: User, api_client: Caller
) -> None:
    client, document = api_client(alice), make_document()
    response = post(client, LAUNCH, {"params": {"document": str(document.pk)}})
    assert response.status_code == 202, response.content
    run = client.get(response["Location"])
    assert run.json()["status"] == "pending"
    assert run.json()["launched_by"] == "alice"
    assert run.json()["params"]["document"] == str(document.pk)


def test_a_repeated_launch_with_the_same_key_gives_the_same_run(
    alice: User, api_client: Caller
) -> None:
    client = api_client(alice)
    body = {"params": {"document": str(make_document().pk)}}
    first = post(client, LAUNCH, body, **{"Idempotency-Key": "order 7"})
    again = post(client, LAUNCH, body, **{"Idempotency-Key": "order 7"})
    assert first.json()["id"] == again.json()["id"]
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    body = {"params": {"document": str(make_document().pk)}}
    other = post(client, LAUNCH, body, **{"Idempotency-Key": "order 7"})
    assert other.status_code == 409
    assert other.json()["code"] == "key_reused"
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"params": {"document": "none"}}, 422, "document"),
        ({"params": {}}, 422, "document"),
        ({"params": []}, 422, "params"),
        ({"params": {}, "priority": 1000}, 422, "priority"),
        ({"params": {}, "prioritty": 1}, 422, "prioritty"),
        ([1], 422, "body"),
    ],
)
def test_invalid_params_are_refused_by_field_and_nothing_is_queued(
    alice: User, api_client: Caller, body: Any, status: int, field: str
) -> None:
    response = post(api_client(alice), LAUNCH, body)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    assert field in [one["field"] for one in response.json()["errors"]]
    assert not Run.objects.exists()


def test_malformed_json_is_refused_with_400(alice: User, api_client: Caller) -> None:
    response = api_client(alice).post(LAUNCH, "{", content_type="application/json")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


def test_pages_of_runs_contain_each_run_once(alice: User, api_client: Caller) -> None:
    runs = [make_run() for _ in range(5)]
    client, found = api_client(alice), []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(f"{RUNS}?limit=2&cursor={cursor}").json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert found == [str(run.pk) for run in reversed(runs)]


def test_runs_are_filtered_as_on_their_page(alice: User, api_client: Caller) -> None:
    failed = make_run(status=Status.FAILED, params={"limit": 7})
    make_run(status=Status.COMPLETED, params={"limit": 2})
    client = api_client(alice)
    for query in ({"status": "failed"}, {"where": "params.limit > 3"}):
        items = client.get(RUNS, query).json()["items"]
        assert [one["id"] for one in items] == [str(failed.pk)], query
    for wrong in ("status=lost", "where=params.limit+!", "limit=0"):
        assert client.get(f"{RUNS}?{wrong}").status_code == 422, wrong
    assert client.get(RUNS, {"cursor": "x"}).status_code == 400


def test_an_unchanged_run_is_answered_with_304(alice: User, api_client: Caller) -> None:
    run, client = make_run(), api_client(alice)
    etag = client.get(f"{RUNS}/{run.pk}")["ETag"]
    assert etag.startswith(f'"{run.version}-')
    headers = {"If-None-Match": etag}
    assert client.get(f"{RUNS}/{run.pk}", headers=headers).status_code == 304
    post(client, f"{RUNS}/{run.pk}/labels", {"name": "new"})
    assert client.get(f"{RUNS}/{run.pk}", headers=headers).status_code == 200


def test_an_action_on_an_older_version_is_refused_with_412(
    alice: User, api_client: Caller
) -> None:
    run, client = make_run(status=Status.WAITING, version=4), api_client(alice)
    body, address = {"reason": "Wrong file."}, f"{RUNS}/{run.pk}/cancel"
    refused = post(client, address, body, **{"If-Match": '"3"'})
    assert refused.status_code == 412
    accepted = post(client, address, body, **{"If-Match": '"4-0badcafe"'})
    assert accepted.status_code == 200
    assert accepted.json()["status"] == "cancelled"
    again = post(client, address, body)
    assert again.status_code == 409
    assert again.json()["code"] == "invalid_status"


def test_the_second_response_to_an_approval_is_refused_with_409(
    alice: User, api_client: Caller
) -> None:
    approval = make_approval(make_run(status=Status.WAITING, waiting_for="approval"))
    client, address = api_client(alice), f"{RUNS}/{approval.run_id}/respond"
    shown = client.get("/api/v1/approvals").json()["items"]
    assert [one["question"] for one in shown] == [approval.question]
    body = {"value": {"level": "PUBLIC"}, "reason": "Checked.", "sequence": 99}
    assert post(client, address, body).status_code == 409
    approval.refresh_from_db()
    assert approval.status == ApprovalStatus.OPEN


@pytest.mark.parametrize(("limit", "pages"), [(2, [[1, 2], [3]]), (5, [[1, 2, 3]])])
def test_the_last_page_of_stages_ends_with_the_one_in_progress(
    alice: User, api_client: Caller, limit: int, pages: list[list[int]]
) -> None:
    run = make_run(status=Status.RUNNING, sequence=2)
    make_stage(run, sequence=1)
    make_stage(run, sequence=2)
    make_current_stage(run, "weigh", sequence=3, tries=2)
    client, shown = api_client(alice), []
    cursor: str | None = ""
    while cursor is not None:
        query: dict[str, str | int] = {"limit": limit, "cursor": cursor}
        page = client.get(f"{RUNS}/{run.pk}/stages", query).json()
        shown.append([stage["sequence"] for stage in page["items"]])
        cursor = page["next"]
    assert shown == pages
    last = page["items"][-1]
    assert (last["node"], last["status"], last["tries"]) == ("weigh", "started", 2)


@pytest.mark.parametrize(
    "address",
    [
        f"{RUNS}/01a22a39-d234-73d3-afc1-8e9ae7b59950",
        f"{RUNS}/not-an-id",
        "/api/v1/nothing",
        "/api/v2/runs",
    ],
)
def test_an_unknown_address_is_a_problem_with_404(
    alice: User, api_client: Caller, address: str
) -> None:
    response = api_client(alice).get(address)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["detail"]


def test_a_method_that_is_not_allowed_is_a_problem(
    alice: User, api_client: Caller
) -> None:
    response = api_client(alice).delete(RUNS)
    assert response.status_code == 405
    assert response["Content-Type"] == "application/problem+json"
    assert "GET" in response["Allow"]
