"""Batches: a run for each row of a file, after all rows were checked."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from pydantic import BaseModel, Field
from pytest_django import Settings

from tests.support.responses import text_of
from workflows import bulk
from workflows.engine import State, Workflow, node
from workflows.errors import InvalidBatch
from workflows.infra import outages
from workflows.models import AuditEvent, BulkItem, BulkJob, Run
from workflows.pages.forms.batch import Batch, read_batch
from workflows.pages.views.workflows import params_schema
from workflows.registry import registry
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
PRESS = "press"


class Limits(BaseModel):
    """A nested model."""

    maximum: int = 10
    strict: bool = False


class Order(BaseModel):
    """Params of the launched workflow."""

    title: str
    copies: int = Field(1, ge=1, title="Number of copies")
    tags: tuple[str, ...] = ()
    limits: Limits = Limits()


class Printed(State):
    """State of the launched workflow."""

    params: Order


@pytest.fixture(autouse=True)
def press_workflow(db: None) -> Iterator[None]:
    """Install a workflow with nested params."""

    @node
    async def work(state: Printed) -> Printed:
        return state

    registry.register(Workflow(PRESS, state=Printed, start=work, routes={}))
    yield
    registry.unregister(PRESS)


def read(text: str, kind: Any = "csv", **mapping: str) -> Batch:
    workflow = registry.get(PRESS)
    schema, data = params_schema(workflow), text.encode()
    return read_batch(workflow, schema, data, kind, by=None, mapping=mapping)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"title": f"no. {number}"} for number in range(count)]


# Rows -----------------------------------------------------------------------------------


def test_cells_are_read_like_the_fields_of_the_launch_form() -> None:
    batch = read(
        "\ufeffTitle;number_of copies;limits.maximum;LIMITS.STRICT;Tags\r\n"
        '"a;b";3;20;yes;"x\ny"\r\n'
        "007;;;no;\r\n\r\n"
    )
    assert batch.errors == []
    assert batch.params == [
        {
            "title": "a;b",
            "copies": 3,
            "limits": {"maximum": 20, "strict": True},
            "tags": ["x", "y"],
        },
        {"title": "007", "limits": {"strict": False}},
    ]


def test_json_lines_keep_their_types_and_columns_can_be_mapped() -> None:
    lines = [
        {"name": "a", "copies": 2, "limits": {"maximum": 3}},
        {"name": "b", "x": 1},
    ]
    text = "\n".join(map(json.dumps, lines))
    batch = read(text, "jsonl", name="title", x="")
    assert batch.errors == []
    assert batch.params == [
        {"title": "a", "copies": 2, "limits": {"maximum": 3}},
        {"title": "b"},
    ]


def test_errors_name_row_line_and_column() -> None:
    batch = read(
        "title,Number of copies,limits.strict,weight\na,many,perhaps,1\n,0,,\nc,1,,,5\n"
    )
    found = [(one.row, one.line, one.column) for one in batch.errors]
    assert found == [
        (1, 2, "weight"),
        (1, 2, "Number of copies"),
        (1, 2, "limits.strict"),
        (2, 3, "Number of copies"),
        (3, 4, ""),
    ]
    with pytest.raises(InvalidBatch) as refused:
        batch.require_valid()
    assert "row 1, weight" in refused.value.errors
    missing = read("copies\n1\n").errors[0]
    assert (missing.column, missing.row) == ("title", 1)
    texts = [one.message for one in read('{"title": 1\n[]\n"x"', "jsonl").errors]
    assert texts[0] == "The line is not valid JSON."
    assert len(texts) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("title\n", "no rows"),
        ("title,title\na,b\n", "twice"),
        ('title\n"a\n', "Line 2"),
        ("title\n\x00\n", "NUL"),
        ("title\n" + "a\n" * 4, "up to 3 rows"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    settings: Settings, text: str, message: str
) -> None:
    settings.MAX_BATCH_ROWS = 3
    with pytest.raises(InvalidBatch, match=message):
        read(text)


# Launches -------------------------------------------------------------------------------


def test_each_row_launches_one_run_although_the_worker_is_killed(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "INLINE_RUNS_LIMIT", 0)
    monkeypatch.setattr(bulk, "BATCH", 2)
    job = bulk.start_launches(PRESS, rows(5), by=alice, priority=4)
    calls = 0
    execute = system.execute

    def dies(*args: Any, **options: Any) -> Run:
        nonlocal calls
        calls += 1
        run = execute(*args, **options)
        if calls in {2, 4}:  # before its result is recorded
            raise OperationalError("server closed the connection unexpectedly")
        return run

    monkeypatch.setattr(system, "execute", dies)
    monkeypatch.setattr(
        outages, "of", lambda error: isinstance(error, OperationalError)
    )
    for _ in range(2):
        with pytest.raises(OperationalError):
            bulk.continue_jobs("worker-1")
    while bulk.continue_jobs("worker-1"):
        pass
    job.refresh_from_db()
    assert (job.done, job.refused, job.remaining) == (5, 0, 0)
    titles = [run.params["title"] for run in Run.objects.order_by("pk")]
    assert sorted(titles) == [f"no. {number}" for number in range(5)]
    assert set(Run.objects.values_list("priority", "launched_by")) == {(4, alice.pk)}
    items = BulkItem.objects.filter(job=job)
    assert set(items.values_list("params", flat=True)) == {None}
    assert set(items.values_list("run_id", flat=True)) == {
        run.pk for run in Run.objects.all()
    }
    assert AuditEvent.objects.filter(action="launch batch").count() == 1


def test_permissions_are_checked_at_each_row_and_a_batch_can_be_stopped(
    alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "INLINE_RUNS_LIMIT", 0)
    job = bulk.start_launches(PRESS, rows(2), by=alice)
    settings.DEFAULT_ACCESS = "closed"
    bulk.continue_jobs("worker-1")
    job.refresh_from_db()
    assert (job.done, job.refused) == (0, 2)
    settings.DEFAULT_ACCESS = "open"
    other = bulk.start_launches(PRESS, rows(2), by=alice)
    bulk.cancel(other.pk, by=alice)
    assert not bulk.continue_jobs("worker-1")
    assert not Run.objects.exists()
    assert not BulkItem.objects.filter(params__isnull=False).exists()


# Page, API, command ---------------------------------------------------------------------


def test_the_page_checks_first_and_launches_once(alice: User, sign_in: SignIn) -> None:
    client, address = sign_in(alice), reverse("launch-many", args=[PRESS])
    file = io.BytesIO(b"name,copies\n=cmd,2\nb,3\n")
    file.name = "orders.csv"
    checked = client.post(address, {"file": file})
    assert checked.status_code == 422
    page = checked.content.decode()
    assert "There is no such parameter" in page
    assert not BulkJob.objects.exists()
    once = page.partition('name="launch-batch" value="')[2].partition('"')[0]
    form = {"rows": "name,copies\n=cmd,2\nb,3\n", "kind": "csv", "launch-batch": once}
    form |= {"column-0": "name", "column-0-path": "title"}
    shown = client.post(address, form)
    assert "All 2 rows are valid" in shown.content.decode()
    assert not Run.objects.exists()
    for _ in range(2):
        response = client.post(address, form | {"confirmed": "1"})
        assert response.status_code == 302
    job = BulkJob.objects.get()
    assert Run.objects.count() == 2
    results = client.get(response["Location"])
    assert Run.objects.all()[0].short_id in results.content.decode()
    BulkItem.objects.filter(position=2).update(text="=1+1")
    file_text = text_of(client.get(reverse("bulk-results", args=[job.pk])))
    lines = list(csv.reader(io.StringIO(file_text.lstrip("\ufeff"))))
    assert lines[0] == ["row", "run", "workflow", "result", "message"]
    assert lines[2][4] == "'=1+1"


def test_the_command_reports_errors_and_launches(alice: User, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("name,copies\na,0\n")
    out, err = StringIO(), StringIO()
    options = {"by": "alice", "map": ["name=title"], "stdout": out, "stderr": err}
    with pytest.raises(SystemExit) as ended:
        call_command("launch_batch", PRESS, str(file), **options)
    assert ended.value.code == 2
    assert "Line 2, row 1, copies" in err.getvalue()
    assert not Run.objects.exists()
    file.write_text("name,copies\na,1\n")
    call_command("launch_batch", PRESS, str(file), check=True, **options)
    assert not Run.objects.exists()
    call_command("launch_batch", PRESS, str(file), **options)
    assert Run.objects.get().params["title"] == "a"
    assert "1 launched" in out.getvalue()


def test_a_row_whose_launch_is_undone_has_no_run(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = bulk._record_result  # noqa: SLF001 - between launch and commit

    def fails(job: BulkJob, item: BulkItem, result: Any, text: str) -> None:
        if result == "done":
            raise ValueError("between launch and commit")
        record(job, item, result, text)

    monkeypatch.setattr(bulk, "_record_result", fails)
    job = bulk.start_launches(PRESS, rows(1), by=alice)
    item = BulkItem.objects.get(job=job)
    assert (item.run_id, item.result) == (None, "refused")
    assert not Run.objects.exists()
