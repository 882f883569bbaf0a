"""Write made-up runs and decisions to an empty database."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from bench import made_up_runs
from workflows.execution import hourly_counts
from workflows.infra.database import is_postgresql
from workflows.models import Attempt, Decision, Outcome, Run, RunLabel, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django.db.models import Model

    from bench.made_up_runs import MadeRun

PEOPLE = 12
CHUNK = 5_000  # runs per transaction
RUNS_WITH_STAGES = 1_000  # the newest: pages read no other stages
LOST_EVERY = 20_000  # runs: one of them lost a worker

COLUMNS: dict[type[Model], str] = {
    Run: "id, workflow_name, status, params, result, error_message, error_code,"
    " error_node, created_at, updated_at, started_at, completed_at, launched_by_id,"
    " graph, fingerprint, version, sequence, attempt, worker, recoveries,"
    " cancel_reason, waiting_for, waiting_node, priority",
    Decision: "run_id, workflow_name, attempt, sequence, edge_index, from_node, to_node,"
    ' predicate_name, predicate_result, reason, "values", taken, decided_by_id, comment,'
    " created_at",
    Stage: "run_id, attempt, sequence, node_name, iteration, tries, status, duration_ms,"
    " error_message, created_at",
    RunLabel: "run_id, name, created_at",
    Attempt: "run_id, number, worker, started_at, ended_at, outcome, error_message,"
    " error_code, traceback",
}


def fill(
    runs: int = 10_000, decisions: int = 100_000, days: int = 100, seed: int = 1
) -> None:
    """Write runs in chunks, count them, and update the planner's statistics.

    Uses COPY on PostgreSQL. Raises ValueError if the database is not empty.
    """
    if Run.objects.exists():
        raise ValueError("The database has runs. Use an empty one.")
    if runs < 1 or decisions < 0 or days < 1:
        raise ValueError("At least one run and one day are required.")
    people = _people()
    rows = made_up_runs.runs(
        runs,
        decisions,
        days=days,
        until=timezone.now(),
        people=len(people),
        seed=seed,
    )
    numbered = enumerate(rows)
    written = 0
    while chunk := list(itertools.islice(numbered, CHUNK)):
        with transaction.atomic():
            _write(chunk, people, runs - RUNS_WITH_STAGES)
        written += len(chunk)
        sys.stdout.write(f"{written} of {runs} runs\n")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if is_postgresql() else "ANALYZE")
    hourly_counts.count_all()
    sys.stdout.write("Done.\n")


def _people() -> list[int]:
    for number in range(PEOPLE):
        User.objects.get_or_create(
            username=f"made-up-{number}", defaults={"is_active": False}
        )
    made_up = User.objects.filter(username__startswith="made-up-").order_by("pk")
    return list(made_up.values_list("pk", flat=True))


def _write(
    chunk: Sequence[tuple[int, MadeRun]], people: Sequence[int], with_stages: int
) -> None:
    runs = [run for _, run in chunk]
    _insert(Run, (_run_row(run, people) for run in runs))
    _insert(Decision, (row for run in runs for row in _decision_rows(run, people)))
    _insert(
        RunLabel, ((run.id, run.label, run.created_at) for run in runs if run.label)
    )
    newest = (run for number, run in chunk if number >= with_stages)
    _insert(Stage, (row for run in newest for row in _stage_rows(run)))
    lost = (run for number, run in chunk if number % LOST_EVERY == LOST_EVERY // 2)
    _insert(Attempt, (_lost_row(run) for run in lost))


def _insert(model: type[Model], rows: Iterable[Sequence[Any]]) -> None:
    rest = _default_columns(model)
    names = ", ".join([COLUMNS[model], *rest])
    table, same = model._meta.db_table, tuple(rest.values())  # noqa: SLF001 - Django's documented model API
    with connection.cursor() as cursor:
        if is_postgresql():
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row((*row, *same))
            return
        marks = ", ".join(["%s"] * len(names.split(",")))
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - ours
        cursor.executemany(statement, [(*_for_sqlite(row), *same) for row in rows])


def _default_columns(model: type[Model]) -> dict[str, Any]:
    """Return the required columns that COLUMNS omits, with their defaults."""
    given = {name.strip(' "') for name in COLUMNS[model].split(",")}
    return {
        f'"{field.column}"': field.get_db_prep_save(field.get_default(), connection)
        for field in model._meta.concrete_fields  # noqa: SLF001 - Django's documented model API
        if field.column not in given and not (field.null or field.primary_key)
    }


def _for_sqlite(row: Sequence[Any]) -> list[Any]:
    return [_stored(value) for value in row]


def _stored(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, dt.datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value


GRAPH = json.dumps(made_up_runs.GRAPH)


def _run_row(run: MadeRun, people: Sequence[int]) -> tuple[Any, ...]:
    code, node = ("node_failed", "judge") if run.error else ("", "")
    cancelled = run.status == "cancelled"
    return (
        run.id, run.workflow, run.status, run.params, run.result, run.error,
        "cancelled" if cancelled else code, node, run.created_at, run.completed_at,
        run.created_at, run.completed_at, people[run.person], GRAPH, "made-up",
        len(run.steps), len(run.steps), 1, "made-up", 0, "", "", "", 0,
    )  # fmt: skip


def _decision_rows(run: MadeRun, people: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    for one in run.decisions:
        source, target, place, predicate = one.edge
        yield (
            run.id, run.workflow, 1, one.sequence, place, source, target, predicate,
            one.result, one.reason, one.values, one.taken,
            people[run.person] if one.by_person else None, "", one.at,
        )  # fmt: skip


def _stage_rows(run: MadeRun) -> Iterator[tuple[Any, ...]]:
    for sequence, (node, took) in enumerate(run.steps, 1):
        yield (
            run.id, 1, sequence, node, sequence, 1, "completed", took, "",
            run.created_at,
        )  # fmt: skip


def _lost_row(run: MadeRun) -> tuple[Any, ...]:
    why = "Worker made-up did not renew its lease in time."
    return (
        run.id, 1, "made-up", run.created_at, run.completed_at, Outcome.LOST.value, why,
        "worker_lost", "",
    )  # fmt: skip
