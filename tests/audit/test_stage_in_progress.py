"""The verification and the bundle of a history whose newest stage is still in progress."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.support.sealed_runs import (
    WORKER,
    Step,
    found_in,
    launch,
    record_of,
    sealed_run,
    write,
)
from workflows.audit.bundle_export import pieces, public_key
from workflows.audit.bundle_format import not_as_signed, read
from workflows.audit.seal_rows import head_of
from workflows.audit.step_records import StageRow
from workflows.execution import queue
from workflows.models import Run, Stage, StageStatus

pytestmark = pytest.mark.django_db

IN_PROGRESS = "its stage in progress was"


@pytest.fixture
def run() -> Run:
    """Return a run whose worker executes the second step."""
    launch()
    (claimed,) = queue.claim(WORKER, 1).runs
    record = record_of(claimed, 1, Step("read"))
    row = StageRow(2, "weigh", 2, StageStatus.STARTED, timezone.now(), items_total=4)
    record.current_stage = row.as_current()
    write(record, head_of(claimed.history_chain_head, claimed.pk))
    return Run.objects.get(pk=claimed.pk)


def change(run: Run, text: Any) -> None:
    """Change the stage in progress behind the worker's back."""
    stored = text if isinstance(text, str) else json.dumps(text)
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        if is_sqlite:  # it only accepts JSON
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute("UPDATE workflows_run SET current_stage = %s", [stored])
        if is_sqlite:
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


def test_a_bundle_ends_its_stages_with_the_one_in_progress(run: Run) -> None:
    bundle = read("".join(pieces(run)))
    assert [*not_as_signed(bundle, public_key())] == []
    assert bundle["findings"] == []
    first, second = bundle["stages"]
    assert first["seal"] is not None
    shown = {name: second[name] for name in ("id", "node", "status", "seal", "tries")}
    assert shown == {
        "id": None,
        "node": "weigh",
        "status": "started",
        "seal": None,
        "tries": 1,
    }
    assert (second["attempt"], second["sequence"]) == (1, 2)


def test_a_bundle_has_a_stage_once_that_ends_while_it_is_exported(run: Run) -> None:
    parts = pieces(run)
    written = [next(parts)]  # the run has been read
    record = record_of(run, 2, Step("weigh"))
    write(record, head_of(run.history_chain_head, run.pk))
    bundle = read("".join([*written, *parts]))
    assert [(row["sequence"], row["status"]) for row in bundle["stages"]] == [
        (1, "completed"),
        (2, "completed"),
    ]


@pytest.mark.parametrize(
    "stage",
    [
        {"node": "weigh", "sequence": 7},
        {"node": "weigh"},
        {},
        [],
        "{",
        {"node": "weigh", "sequence": 2, "created_at": "yesterday"},
        {"node": "weigh", "sequence": 2, "more": 1},
    ],
    ids=str,
)
def test_a_stage_that_cannot_be_in_progress_is_reported(run: Run, stage: Any) -> None:
    if isinstance(stage, dict):
        stage = {"iteration": 2, "created_at": timezone.now().isoformat()} | stage
    change(run, stage)
    (message,) = found_in(run)
    assert IN_PROGRESS in message


def test_a_stage_in_progress_of_an_ended_run_is_reported() -> None:
    run = sealed_run()
    stage = StageRow(4, "more", 4, StageStatus.STARTED, timezone.now())
    change(run, stage.as_current())
    (message,) = found_in(run)
    assert IN_PROGRESS in message


def test_a_second_open_stage_is_reported(run: Run) -> None:
    Stage.objects.create(
        run=run, attempt=2, sequence=2, node_name="weigh", iteration=2,
        status=StageStatus.STARTED,
    )  # fmt: skip
    (message,) = found_in(run)
    assert IN_PROGRESS in message
