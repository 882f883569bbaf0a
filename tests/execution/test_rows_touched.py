"""The cost of a statement does not depend on the server's statistics.

With statistics of a table that was empty a while ago, PostgreSQL estimates that no run
is running. A batch must not read all running runs, nor all runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from tests.support import statements
from tests.support.sealed_runs import WORKER, Step, launch, record_of
from tests.support.statements import ExplainedDriver, PreparedDriver, copy_run, query
from workflows.execution import queue, sql
from workflows.execution.record_rows import Rows, rows_of
from workflows.execution.sql.claim_statements import LOOKAHEAD
from workflows.models import Run

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

pytestmark = pytest.mark.django_db

OTHERS = 3_000  # runs of another worker
PER_ROW = 40  # of a batch: there are about thirty, counting each part of both plans
PENDING = {"status": "'pending'", "attempt": "0", "lease_expires_at": "NULL"}
ENDED = {"status": "'completed'", "completed_at": "now()", "lease_expires_at": "NULL"}


@pytest.fixture
def database(migrated_url: str) -> Iterator[BaseDatabaseWrapper]:
    """Provide a database without automatic statistics."""
    connection = statements.connect(migrated_url)
    for table in ("workflows_run", "workflows_stage", "workflows_decision"):
        query(connection, f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    yield connection
    connection.close()


@pytest.fixture
def running(database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run that a worker has claimed in this database."""
    driver = PreparedDriver(database)
    monkeypatch.setattr(sql, "driver", lambda: driver)
    launch()
    (run,) = queue.claim(WORKER, 1).runs
    return run


def batch(run: Run, ids: list[UUID]) -> Rows:
    """Return the records of a step of these runs, which are copies of the first."""
    return rows_of(record_of(_with_id(run, pk), 1, Step()) for pk in ids)


def _with_id(run: Run, pk: UUID) -> Run:
    return Run(id=pk, attempt=run.attempt, fence=run.fence, workflow_name="sum")


def analyze(database: BaseDatabaseWrapper, statistics: str) -> None:
    """Collect statistics, while there is one run, unless there are to be none."""
    if statistics != "none":
        query(database, "ANALYZE")


@pytest.mark.parametrize("statistics", ["none", "of one run"])
@pytest.mark.parametrize("size", [1, 50, 500])
def test_a_batch_touches_its_own_runs_only(
    database: BaseDatabaseWrapper, running: Run, statistics: str, size: int
) -> None:
    analyze(database, statistics)
    ids = copy_run(database, running, 500)[:size]
    copy_run(database, running, OTHERS, worker="'other'")
    driver = ExplainedDriver(database)
    driver.write_records(batch(running, ids))
    driver.renew_leases(WORKER, dict.fromkeys(ids, running.fence))
    assert size * 5 < driver.touched < size * PER_ROW


@pytest.mark.parametrize("statistics", ["none", "of one run"])
def test_a_claim_touches_the_first_pending_runs_only(
    database: BaseDatabaseWrapper, running: Run, statistics: str
) -> None:
    analyze(database, statistics)
    copy_run(database, running, OTHERS, **PENDING)
    copy_run(database, running, OTHERS, worker="'other'")
    driver = ExplainedDriver(database)
    driver.found = [(0, None, None)]  # as if there were none
    driver.claim_pending(WORKER, 10, timezone.now(), 7)
    assert 10 * LOOKAHEAD < driver.touched < 10 * LOOKAHEAD * PER_ROW


@pytest.mark.parametrize("statistics", ["none", "of one run"])
@pytest.mark.parametrize(
    "ended", [2_000, pytest.param(1_000_000, marks=pytest.mark.slow)]
)
def test_a_plan_kept_from_a_table_of_one_run_reads_no_other_runs(
    database: BaseDatabaseWrapper, running: Run, statistics: str, ended: int
) -> None:
    analyze(database, statistics)
    absent = [uuid4() for _ in range(50)]
    writing, renewing = PreparedDriver(database), PreparedDriver(database)
    for _ in range(10):  # as often as the server may plan for the values of a call
        assert writing.write_records(batch(running, absent)) == {}
        assert renewing.renew_leases(WORKER, dict.fromkeys(absent, 0)) == []
        assert queue.claim(WORKER, 10).runs == []
    ids = copy_run(database, running, 500)
    copy_run(database, running, OTHERS, worker="'other'")
    copy_run(database, running, ended, **ENDED)
    copy_run(database, running, OTHERS, **PENDING)
    assert len(writing.write_records(batch(running, ids))) == 500
    assert len(renewing.renew_leases(WORKER, dict.fromkeys(ids, running.fence))) == 500
    touched = writing.rows_touched_again() + renewing.rows_touched_again()
    assert 500 * 5 < touched < 500 * PER_ROW
    assert len(queue.claim(WORKER, 10).runs) == 10
    claiming = sql.driver()
    assert isinstance(claiming, PreparedDriver)
    assert 10 * LOOKAHEAD < claiming.rows_touched_again() < 10 * LOOKAHEAD * PER_ROW


def test_a_statement_for_one_record_is_not_compiled(
    database: BaseDatabaseWrapper, running: Run
) -> None:
    driver = ExplainedDriver(database)
    driver.write_records(batch(running, [running.pk]))
    assert driver.settings["jit"] == "off"


def test_foreign_keys_are_checked_by_index(
    database: BaseDatabaseWrapper, running: Run
) -> None:
    sql.driver().write_records(batch(running, [running.pk]))  # plans the checks
    ids = copy_run(database, running, OTHERS)[:50]
    before = _rows_scanned(database)
    assert len(sql.driver().write_records(batch(running, ids))) == 50
    assert _rows_scanned(database) == before


def _rows_scanned(database: BaseDatabaseWrapper) -> int:
    """Return how many rows of runs were read without an index so far."""
    query(database, "SELECT pg_stat_force_next_flush()")
    ((rows,),) = query(
        database,
        "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'workflows_run'",
    )
    return int(rows)
