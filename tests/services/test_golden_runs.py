"""Runs are marked golden with what of them matters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from tests.support.factories import make_decision, make_run, make_stage
from tests.support.responses import text_of
from workflows.errors import (
    InUse,
    InvalidParams,
    InvalidStatus,
    NotAllowed,
    PayloadRemoved,
    ReasonMissing,
)
from workflows.models import (
    AuditEvent,
    EventMessage,
    EventWait,
    EventWaitStatus,
    GoldenRun,
    Run,
    StageStatus,
    Status,
    WorkflowPermission,
)
from workflows.retention import rules
from workflows.services import golden_runs
from workflows.services.golden_fields import (
    MISSING,
    GoldenField,
    fields_of,
    value_at,
)
from workflows.services.golden_runs import Expectation
from workflows.services.run_paths import PathStep, recorded_path
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
RESULT = {"label": "secret", "confidence": 0.9, "totals": {"net": 3}, "params": {}}


def golden(run: Run, *fields: GoldenField, by: User | None, **expected: Any) -> None:
    wanted = Expectation(fields=fields, **expected)
    system.mark_golden(run.pk, wanted, by=by, reason="A typical one.")


def test_a_golden_run_is_pinned_and_recorded(alice: User) -> None:
    run = make_run(result=RESULT)
    golden(run, GoldenField("confidence", 0.1), by=alice, dataset="  Big  Ones ")
    row = GoldenRun.objects.get()
    assert (row.run_id, row.workflow_name, row.dataset) == (
        run.pk,
        run.workflow_name,
        "big ones",
    )
    assert (row.checks_path, row.person_name) == (True, "alice")
    assert row.fields == [{"field": "confidence", "tolerance": 0.1}]
    assert Run.objects.get().is_pinned
    golden(run, by=alice, dataset="other")
    assert GoldenRun.objects.get().dataset == "other"
    first, second = AuditEvent.objects.order_by("pk")
    assert (first.action, first.reason) == ("mark golden", "A typical one.")
    assert first.before == {"golden": False, "pinned": False}
    assert second.before == first.after
    assert second.after is not None
    assert second.after["dataset"] == "other"


def test_unmarking_unpins_a_run_that_was_not_pinned_before(alice: User) -> None:
    run, kept = make_run(), make_run(is_pinned=True)
    for one in (run, kept):
        golden(one, by=alice)
        system.unmark_golden(one.pk, by=alice, reason="Outdated.")
    assert not GoldenRun.objects.exists()
    assert not Run.objects.get(pk=run.pk).is_pinned
    assert Run.objects.get(pk=kept.pk).is_pinned
    assert AuditEvent.objects.filter(action="unmark golden").count() == 2
    with pytest.raises(InvalidStatus, match="it is not golden"):
        system.unmark_golden(run.pk, by=alice, reason="Again.")


def test_a_golden_run_is_unmarked_before_it_is_unpinned_or_deleted(alice: User) -> None:
    run = make_run()
    golden(run, by=alice)
    with pytest.raises(InUse, match="golden: unmark it before you unpin"):
        system.set_pinned(run.pk, by=alice, reason="x", pinned=False)
    with pytest.raises(InUse, match="golden: unmark it before you delete"):
        system.delete_run(run.pk, by=alice, reason="x")
    assert GoldenRun.objects.exists()


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ([], False, "Choose the path, fields of the result, or both"),
        ([GoldenField("nothing")], True, "nothing: the result has no such field"),
        ([GoldenField("label", 1)], True, "only numbers have a tolerance"),
        ([GoldenField("confidence", -1)], True, "a number of 0 or more"),
        ([GoldenField("confidence", float("nan"))], True, "a number of 0 or more"),
        ([GoldenField("label")] * 2, True, "named more than once"),
        ([GoldenField("label")] * 101, True, "at most 100"),
    ],
)
def test_an_expectation_that_cannot_be_compared_is_refused(
    fields: list[GoldenField], path: bool, message: str
) -> None:
    run = make_run(result=RESULT)
    with pytest.raises(InvalidParams, match=message):
        golden(run, *fields, by=None, checks_path=path)
    assert not GoldenRun.objects.exists()


def test_only_runs_with_an_end_and_data_can_be_golden(alice: User) -> None:
    for status in (Status.RUNNING, Status.WAITING, Status.CANCELLED):
        with pytest.raises(InvalidStatus):
            golden(make_run(status=status), by=alice)
    with pytest.raises(PayloadRemoved):
        golden(make_run(payload_removed_at=timezone.now()), by=alice)
    with pytest.raises(InvalidParams, match="1 to 60 characters"):
        golden(make_run(), by=alice, dataset=" ")
    with pytest.raises(ReasonMissing):
        system.mark_golden(make_run().pk, Expectation(), by=alice)


def test_fields_are_chosen_by_people_who_may_read_them(alice: User) -> None:
    run = make_run(result=RESULT)
    others = Group.objects.create(name="others")
    rows = WorkflowPermission.objects
    rows.create(workflow_name=run.workflow_name, group=others, can_read=True)
    everyone = rows.create(workflow_name=run.workflow_name, can_operate=True)
    with pytest.raises(NotAllowed):
        golden(run, GoldenField("label"), by=alice)
    golden(run, by=User.objects.get(pk=alice.pk))
    everyone.delete()
    rows.create(workflow_name=run.workflow_name, can_view=True)
    with pytest.raises(NotAllowed):
        system.unmark_golden(run.pk, by=User.objects.get(pk=alice.pk), reason="x")


def test_golden_runs_are_listed_by_workflow_and_dataset() -> None:
    for workflow, dataset in (("b", "y"), ("a", "z"), ("b", "x"), ("a", "z")):
        golden(make_run(workflow_name=workflow), by=None, dataset=dataset)
    found = [(one.workflow_name, one.dataset) for one in golden_runs.golden_runs()]
    assert found == [("a", "z"), ("a", "z"), ("b", "x"), ("b", "y")]
    ids = [one.run_id for one in golden_runs.golden_runs("a", "z")]
    assert ids == sorted(ids)
    assert len(golden_runs.golden_runs("b", "x")) == 1


def test_messages_of_pinned_runs_are_kept(settings: Any) -> None:
    settings.EVENT_KEEP_DAYS = 1
    run = make_run()
    old = timezone.now() - dt.timedelta(days=9)
    message = EventMessage.objects.create(
        workflow_name=run.workflow_name, name="paid", sender_name="x", created_at=old
    )
    EventWait.objects.create(
        run=run, sequence=1, workflow_name=run.workflow_name, node_name="wait",
        status=EventWaitStatus.RECEIVED, message=message, closed_at=old,
    )  # fmt: skip
    assert list(rules.messages_due()) == [message]
    golden(run, by=None)
    assert list(rules.messages_due()) == []


def test_a_path_has_the_nodes_and_the_edges_of_the_last_attempt() -> None:
    run = make_run()
    make_stage(run, "read", sequence=1)
    make_stage(run, "weigh", sequence=2, status=StageStatus.FAILED)
    make_stage(run, "weigh", sequence=2, attempt=2)
    make_stage(run, "late", sequence=3, status=StageStatus.CANCELLED)
    make_decision(run, "read", "weigh", sequence=1)
    make_decision(run, "weigh", "publish", sequence=2, attempt=2)
    make_decision(run, "weigh", "reject", sequence=2, taken=False, index=1)
    make_stage(run, "publish", sequence=4)
    assert recorded_path(run) == [
        PathStep(1, "read", "weigh"),
        PathStep(2, "weigh", "publish"),
        PathStep(4, "publish"),
    ]


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "is_accepted"),
    [
        (1, 1.01, 0.01, True),
        (1, 1.0100001, 0.01, False),
        (1, 1.0, None, True),
        (1, True, None, False),
        (0, False, 1.0, False),
        ("a", "b", 5.0, False),
        ([1, {"a": None}], [1.0, {"a": None}], None, True),
        ([1], [1, 2], None, False),
        ({"a": True}, {"a": 1}, None, False),
        (float("inf"), float("inf"), 0.0, True),
        (1, MISSING, 0.0, False),
    ],
)
def test_a_field_accepts_values_within_its_tolerance(
    expected: Any, found: Any, tolerance: float | None, is_accepted: bool
) -> None:
    assert GoldenField("x", tolerance).accepts(expected, found) is is_accepted


def test_fields_are_named_by_their_keys() -> None:
    data = {"params": {"a": 1}, "b": {"c": 1, "d": {}}, "e": [1, {"f": 2}], "g.h": 1}
    assert [name for name, _ in fields_of({**data, "g.h": 1})] == []
    data.pop("g.h")
    assert fields_of(data) == [("b.c", 1), ("b.d", {}), ("e", [1, {"f": 2}])]
    assert value_at(data, "e.1.f") == 2
    for name in ("e.2", "e.x", "b.c.d", "", "e.-1", "e.٣"):
        assert value_at(data, name) is MISSING


# The page -------------------------------------------------------------------------------


def test_the_page_of_a_run_marks_it_golden(alice: User, sign_in: SignIn) -> None:
    client, run = sign_in(alice), make_run(result=RESULT)
    address = f"/runs/{run.pk}/golden/"
    assert address in text_of(client.get(f"/runs/{run.pk}/"))
    form = text_of(client.get(address))
    assert "<code>totals.net</code>" in form
    assert "params" not in form
    entered = {
        "dataset": "big",
        "checks_path": "on",
        "use-1": "on",
        "tolerance-1": "0.25",
        "use-2": "on",
        "reason": "Typical.",
    }
    refused = client.post(address, {**entered, "tolerance-1": "-1", "reason": ""})
    assert refused.status_code == 422
    assert not GoldenRun.objects.exists()
    assert client.post(address, entered).status_code == 302
    row = GoldenRun.objects.get()
    assert row.fields == [
        {"field": "confidence", "tolerance": 0.25},
        {"field": "totals.net", "tolerance": None},
    ]
    page = text_of(client.get(f"/runs/{run.pk}/"))
    assert "Golden run" in page
    assert "Mark golden" not in page
    assert 'value="0.25"' in text_of(client.get(address))
    assert client.post(address, {"off": "1", "reason": "x"}).status_code == 302
    assert not GoldenRun.objects.exists()


def test_the_page_refuses_what_cannot_be_golden(alice: User, sign_in: SignIn) -> None:
    client = sign_in(alice)
    running = make_run(status=Status.RUNNING)
    assert client.get(f"/runs/{running.pk}/golden/").status_code == 409
    assert f"/runs/{running.pk}/golden/" not in text_of(
        client.get(f"/runs/{running.pk}/")
    )
    run = make_run()
    empty = client.post(f"/runs/{run.pk}/golden/", {"dataset": "x", "reason": "y"})
    assert empty.status_code == 422
    assert "Choose the path, fields of the result, or both." in text_of(empty)
    assert client.get(f"/runs/{uuid4()}/golden/").status_code == 404
