"""Relations of runs, bulk actions, audit, workers, exports and the reference page."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator

from tests.api.conftest import Caller
from tests.api.test_runs import RUNS, post
from tests.support.factories import (
    make_audit_event,
    make_decision,
    make_run,
    make_stage,
    make_worker,
)
from tests.support.responses import text_of
from workflows.api import examples, paging
from workflows.api.application import api
from workflows.api.openapi import operations_of
from workflows.models import (
    AgentCall,
    BulkJob,
    CallStatus,
    ItemFailure,
    RunLabel,
    StageItem,
    Status,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

BULK = "/api/v1/bulk-actions"
EXPORTS = "/api/v1/exports"


def call_of(run: Any) -> AgentCall:
    return AgentCall.objects.create(
        run=run,
        workflow_name=run.workflow_name,
        kind="chat",
        agent_name="writer",
        provider_name="local",
        model="small",
        latency_ms=3,
        status=CallStatus.COMPLETED,
    )


def test_the_tree_of_a_run_begins_at_its_topmost_run(
    alice: User, api_client: Caller
) -> None:
    top = make_run(status=Status.WAITING)
    middle = make_run(parent=top, parent_sequence=3)
    leaves = [make_run(parent=middle, parent_sequence=n) for n in (1, 2)]
    client = api_client(alice)
    tree = client.get(f"{RUNS}/{leaves[0].pk}/tree").json()
    assert tree["root"] == str(top.pk)
    assert [(one["depth"], one["parent_step"]) for one in tree["runs"]] == [
        (0, None),
        (1, 3),
        (2, 1),
        (2, 2),
    ]
    children = client.get(f"{RUNS}/{middle.pk}/children?limit=1").json()
    assert [one["id"] for one in children["items"]] == [str(leaves[0].pk)]
    assert children["items"][0]["parent"] == str(middle.pk)
    rest = client.get(f"{RUNS}/{middle.pk}/children?cursor={children['next']}").json()
    assert [one["id"] for one in rest["items"]] == [str(leaves[1].pk)]


def test_the_parent_of_a_run_is_named_only_to_those_who_may_see_it(
    admin: User, api_client: Caller
) -> None:
    parent = make_run(workflow_name="reasoning")
    child = make_run(workflow_name="summarize", parent=parent)
    whole = api_client(admin)
    limited = api_client(admin, workflows=["summarize"])
    for path in (f"{RUNS}/{child.pk}", RUNS, f"{RUNS}/{child.pk}/tree"):
        assert str(parent.pk) in text_of(whole.get(path))
        assert str(parent.pk) not in text_of(limited.get(path))


def test_two_runs_are_compared(alice: User, api_client: Caller) -> None:
    first, second = make_run(), make_run()
    make_stage(first, "read", sequence=1)
    make_stage(second, "read", sequence=1)
    make_stage(second, "weigh", sequence=2)
    address = f"/api/v1/compare?a={first.pk}&b={second.pk}"
    found = api_client(alice).get(address).json()
    assert found["first_difference"]["common_steps"] == 1
    assert found["same_workflow"]


def test_a_bulk_action_affects_the_runs_of_its_preview_once(
    alice: User, api_client: Caller
) -> None:
    runs = [make_run() for _ in range(2)]
    client, selection = api_client(alice), {"action": "label", "filters": {}}
    preview = post(client, f"{BULK}/preview", selection).json()
    assert (preview["total"], preview["applicable"]) == (2, 2)
    later = make_run()
    body = {**selection, "label": "seen", "confirmation": preview["confirmation"]}
    started = post(client, BULK, body)
    assert started.status_code == 202
    assert post(client, BULK, body).json()["id"] == started.json()["id"]
    assert BulkJob.objects.count() == 1
    job = client.get(started["Location"]).json()
    assert (job["total"], job["done"]) == (2, 2)
    labelled = set(RunLabel.objects.values_list("run_id", flat=True))
    assert labelled == {run.pk for run in runs}
    assert later.pk not in labelled
    results = client.get(f"{started['Location']}/runs").json()["items"]
    assert {one["result"] for one in results} == {"done"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"action": "cancel", "filters": {}}, "invalid_params"),
        ({"action": "cancel", "reason": "x"}, "invalid_params"),
        ({"action": "burn", "filters": {}, "reason": "x"}, "invalid_request"),
        ({"action": "label", "filters": {}, "label": "a,b"}, "invalid_label"),
        ({"action": "cancel", "runs": [], "reason": "x"}, "empty_selection"),
        (
            {"action": "pin", "filters": {}, "reason": "x", "confirmation": "forged"},
            "invalid_params",
        ),
    ],
)
def test_an_incomplete_bulk_action_is_refused(
    alice: User, api_client: Caller, body: dict[str, Any], code: str
) -> None:
    response = post(api_client(alice), BULK, body)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert not BulkJob.objects.exists()


def test_auditors_read_the_audit_log_with_its_filters(
    admin: User, api_client: Caller
) -> None:
    run = make_run()
    make_audit_event(run, action="cancel", reason="Wrong file.")
    make_audit_event(run, action="pin")
    client = api_client(admin)
    (event,) = client.get("/api/v1/audit?action=cancel").json()["items"]
    assert (event["reason"], event["run"]) == ("Wrong file.", str(run.pk))


def test_workers_are_listed_with_the_queue(admin: User, api_client: Caller) -> None:
    worker = make_worker()
    make_run(status=Status.RUNNING, worker=worker.name)
    make_run(status=Status.PENDING)
    found = api_client(admin).get("/api/v1/workers").json()
    assert [one["name"] for one in found["workers"]] == [worker.name]
    assert len(found["workers"][0]["runs"]) == 1
    assert found["queue"][0]["pending"] == 1


@pytest.mark.parametrize("what", ["runs", "decisions", "stages", "calls", "audit"])
def test_each_export_has_the_same_rows_in_every_format(
    admin: User, api_client: Caller, what: str
) -> None:
    for number in range(3):
        run = make_run(error_message="=1+1", status=Status.FAILED)
        make_stage(run, "=1+1", sequence=number + 1)
        make_decision(run, reason="=1+1")
        make_audit_event(run, reason="=1+1")
        call_of(run)
    client = api_client(admin)
    texts = {
        kind: text_of(client.get(f"{EXPORTS}/{what}?format={kind}"))
        for kind in ("csv", "jsonl", "json")
    }
    rows = json.loads(texts["json"])
    assert len(rows) >= 3
    assert [json.loads(line) for line in texts["jsonl"].splitlines()] == rows
    table = list(csv.DictReader(io.StringIO(texts["csv"].removeprefix("\ufeff"))))
    assert len(table) == len(rows)
    cells = [cell for row in table for cell in row.values()]
    assert not any(cell.startswith("=") for cell in cells)
    if what != "calls":
        assert "'=1+1" in cells


def test_decisions_with_unconditional_edges_are_listed_and_exported(
    admin: User, api_client: Caller
) -> None:
    run = make_run()
    make_decision(run, "read", "check", predicate_name="", sequence=1)
    make_decision(run, "check", "pay", sequence=2)
    client = api_client(admin)
    listed = client.get("/api/v1/decisions").json()["items"]
    assert [one["from_node"] for one in listed] == ["check", "read"]
    exported = json.loads(text_of(client.get(f"{EXPORTS}/decisions?format=json")))
    assert [one["from_node"] for one in exported] == ["check", "read"]


def test_the_items_of_a_step_are_paged_and_their_data_is_hidden_without_permission(
    alice: User, api_client: Caller
) -> None:
    run = make_run(sequence=2, status=Status.FAILED)
    make_stage(run, "count", sequence=3, items_done=2, items_total=4)
    for index in (0, 2):
        StageItem.objects.create(run=run, sequence=3, index=index, data='"words"')
    for index in (1, 3):
        ItemFailure.objects.create(
            run=run,
            attempt=1,
            sequence=3,
            index=index,
            tries=2,
            duration_ms=1.5,
            error_type="ValueError",
            error_message="no words",
        )
    client, address = api_client(alice), f"{RUNS}/{run.pk}/steps/3/items"
    found: list[Any] = []
    cursor = ""
    for _ in range(2):
        page = client.get(f"{address}?limit=3&cursor={cursor}").json()
        found += page["items"]
        cursor = page["next"]
    assert cursor is None
    assert [one["index"] for one in found] == [1, 3, 0, 2]
    assert (found[0]["status"], found[0]["error"]) == ("failed", "no words")
    assert (found[3]["result"], found[3]["tries"], found[3]["hidden"]) == (
        "words",
        None,
        False,
    )
    limited = api_client(alice, "launch").get(address)
    assert "words" not in text_of(limited)
    assert [one["error"] for one in limited.json()["items"]] == ["hidden"] * 2 + [
        None
    ] * 2
    assert client.get(f"{RUNS}/{run.pk}/steps/1/items").status_code == 404
    for key in (7, [1, 2], [True, None], [True, "x"], [True]):
        wrong = client.get(address, {"cursor": paging.encode(key)})
        assert wrong.json()["code"] == "invalid_cursor"


def test_the_signed_history_of_a_run_is_streamed(
    admin: User, api_client: Caller
) -> None:
    run = make_run()
    bundle = json.loads(text_of(api_client(admin).get(f"{RUNS}/{run.pk}/history")))
    assert bundle["run"]["id"] == str(run.pk)
    assert bundle["signature"]


# The document and its page --------------------------------------------------------------


def test_the_document_is_for_authenticated_clients(
    alice: User, api_client: Caller
) -> None:
    address = "/api/v1/openapi.json"
    refused = Client().get(address)
    assert refused.status_code == 401
    assert refused["Content-Type"] == "application/problem+json"
    assert api_client(alice).get(address).json()["openapi"].startswith("3.1")


def test_every_operation_has_a_unique_id_examples_and_documented_errors() -> None:
    document, ids = api.get_openapi_schema(), set()
    for path, method, operation in operations_of(document):
        where = f"{method} {path}"
        assert operation["operationId"] not in ids, where
        ids.add(operation["operationId"])
        assert operation["description"], where
        assert {401, 422, 429, 503} <= operation["responses"].keys(), where
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in [*operation["responses"].values(), *bodies]:
            for kind, media in body.get("content", {}).items():
                if kind.endswith("json") and "$ref" in str(media["schema"]):
                    assert_valid(media, document, where)


def assert_valid(media: dict[str, Any], document: Any, where: str) -> None:
    """The example of a body fits its schema."""
    schema = {**media["schema"], "components": document["components"]}
    errors = list(Draft202012Validator(schema).iter_errors(media["example"]))
    assert errors == [], where


def test_every_example_belongs_to_a_schema() -> None:
    known = api.get_openapi_schema()["components"]["schemas"]
    assert set(examples.SCHEMAS) - {"labels"} <= set(known)


def test_the_reference_shows_every_operation_to_people_who_are_signed_in(
    alice: User,
) -> None:
    assert Client().get("/api/v1/docs").status_code == 302
    client = Client()
    client.force_login(alice)
    response = client.get("/api/v1/docs")
    text = response.content.decode()
    assert "script-src 'self'" in response["Content-Security-Policy"]
    for _, _, operation in operations_of(api.get_openapi_schema()):
        assert f'id="{operation["operationId"]}"' in text
