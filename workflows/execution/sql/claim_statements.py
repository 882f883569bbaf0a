"""Texts of the statements that claim runs and renew leases, for both databases.

The places in braces are filled in by the driver: parameters, locks, casts.
"""

from __future__ import annotations

from typing import Final

from workflows.execution.sql.tables import all_columns, table_of
from workflows.models import Attempt, AuditEvent, LimitCheck, Run, WorkflowPause

RUNS = table_of(Run, all_columns(Run), "workflow_name idempotency_key")
AUDIT_EVENTS = table_of(AuditEvent, all_columns(AuditEvent))
ATTEMPTS = table_of(Attempt, all_columns(Attempt))
PAUSES: Final = WorkflowPause._meta.db_table  # noqa: SLF001 - Django's documented model API
CHECKS: Final = LimitCheck._meta.db_table  # noqa: SLF001 - likewise
UNREAD: Final = {
    "graph",
    "result",
    "title",
}  # columns of a run that a worker does not use
CLAIMED_FIELDS = {
    field.attname: field
    for field in Run._meta.concrete_fields  # noqa: SLF001 - Django's documented model API
    if field.attname not in UNREAD
}
CLAIMED_COLUMNS = ", ".join(f'"{name}"' for name in CLAIMED_FIELDS)
RENEWED_COLUMNS = ("id", "attempt", "cancel_requested_at", "cancel_reason")
LOOKAHEAD: Final = 4  # times the limit: candidates read beyond runs that rivals lock

# The next runs to claim: by priority, then fair between workflows, then by age. Fair
# means: of two workflows the one with fewer running runs goes first, however many each has
# pending. `names` walks the index from one workflow to the next, so that ten thousand
# pending runs of one of them cost no more than ten. Where one workflow alone has pending
# runs, those that are running need no counting. A claim takes runs of one suspicion.
# `selected` checks the status of each row once more, under its lock; CASE keeps the planner
# from doing that through the index of all pending runs, which it estimates to be nearly empty.
# Of a paused workflow, only runs that have started are claimed: they have an index of their own.
SELECT_PENDING = """
    WITH RECURSIVE all_names(name) AS (
        SELECT MIN(workflow_name) FROM {runs}
        WHERE status = 'pending' AND limit_key IS NULL
        UNION ALL
        SELECT (SELECT MIN(workflow_name) FROM {runs}
                WHERE status = 'pending' AND limit_key IS NULL
                    AND workflow_name > all_names.name)
        FROM all_names WHERE all_names.name IS NOT NULL
    ),
    names(name, is_paused) AS (
        SELECT name, FALSE FROM all_names
        WHERE name IS NOT NULL AND name NOT IN (SELECT workflow_name FROM {pauses})
        UNION ALL
        SELECT workflow_name, TRUE FROM {pauses} AS pause WHERE EXISTS (
            SELECT 1 FROM {runs} AS run WHERE run.status = 'pending'
                AND run.limit_key IS NULL AND run.workflow_name = pause.workflow_name
                AND (run.attempt > 0 OR run.closing IS NOT NULL))
    ),
    running AS (
        SELECT workflow_name AS name, COUNT(*) AS number
        FROM {runs} WHERE status = 'running'
            AND {are_counted}
        GROUP BY workflow_name
    ),
    candidates AS ({candidates}),
    ranked AS (
        SELECT candidates.id, candidates.priority,
            COALESCE(running.number, 0) + ROW_NUMBER() OVER (
                PARTITION BY candidates.workflow_name, candidates.priority ORDER BY candidates.id
            ) AS slot
        FROM candidates LEFT JOIN running ON running.name = candidates.workflow_name
    ),
    selected AS MATERIALIZED (
        SELECT run.id FROM ranked JOIN {runs} AS run ON run.id = ranked.id
        WHERE {limited} CASE WHEN run.status = 'pending' THEN 1 ELSE 0 END = 1
        ORDER BY ranked.priority DESC, ranked.slot, run.id
        LIMIT {limit} {lock}
    )
"""
# The minimum is read from the index of pending suspects, whatever the planner estimates.
SUSPECTS_PENDING = (
    f"SELECT MIN(suspicion) FROM {RUNS.name}"  # noqa: S608 - names are ours
    " WHERE status = 'pending' AND suspicion > 0"
)
# When running runs are counted: not for one workflow alone.
SEVERAL_NAMES = "(SELECT COUNT(name) FROM names) > 1"
# Further candidates: runs whose limits permit them to start (`execution/limited_claims.py`).
# The others are never candidates; their checks are read instead.
ADMITTED = "SELECT id, workflow_name, priority FROM {runs} WHERE id {admitted}"
FIRST_CHECK: Final = f"SELECT MIN(due_at) FROM {CHECKS}"  # noqa: S608 - names are ours
# The candidates of one workflow of `names`, in the order of the index of pending runs;
# {started} is empty, or HAS_STARTED where the workflow is paused.
NEXT_PENDING = """
    SELECT {columns} FROM {runs}
    WHERE status = 'pending' AND limit_key IS NULL AND workflow_name = names.name
        AND suspicion = {suspicion} {started}
    ORDER BY priority DESC, id LIMIT {lookahead}
"""
HAS_STARTED = "AND (attempt > 0 OR closing IS NOT NULL)"  # `CONTINUES`


def next_pending(columns: str, **places: str) -> list[tuple[str, str]]:
    """Return a condition on `names`, and the candidates where it holds."""
    common = {"runs": RUNS.name, "columns": columns, **places}
    return [
        ("NOT names.is_paused", NEXT_PENDING.format(started="", **common)),
        ("names.is_paused", NEXT_PENDING.format(started=HAS_STARTED, **common)),
    ]


# The stage that a claim begins, in the form of `StageRow.as_current`: a new run starts at
# the entry of its graph. Each other run records the stage itself.
FIRST_STAGE = """
    CASE WHEN claimed.attempt = 0 AND claimed.sequence = 0 AND claimed.closing IS NULL
        AND {entry} <> '' THEN
        CAST({json_object}('sequence', 1, 'node', {entry}, 'iteration', 1, 'tries', 1,
            'created_at', {began}) AS TEXT)
    END
"""
CLAIM_SELECTED = """
    UPDATE {runs} AS claimed SET
        status = 'running', worker = {worker}, lease_expires_at = {until},
        fence = {fence}, current_stage = {first_stage},
        attempt = claimed.attempt + 1, version = claimed.version + 1,
        started_at = COALESCE(claimed.started_at, {now}), updated_at = {now}
    WHERE claimed.id {selected}
    RETURNING {columns}
"""
# Records may follow while leases are renewed: the fence has moved on by a few, and is never
# behind. The numbers of another claim are not that near (2 in 10^9).
IS_RENEWABLE = """
    {run}id = {held}id AND CASE WHEN {run}status = 'running' THEN
        {run}worker = {worker}
        AND {run}fence BETWEEN {held}fence AND {held}fence + 4294967296 ELSE FALSE END
"""
