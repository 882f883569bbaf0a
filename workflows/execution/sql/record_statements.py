"""Texts of the statement that stores the records of steps, and the tables it writes.

The places in braces are filled in by the driver: parameters, locks, casts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.execution.sql.tables import Column, Table, table_of
from workflows.models import (
    Attempt,
    Checkpoint,
    Decision,
    ItemFailure,
    LogLine,
    Retry,
    Run,
    Stage,
    StageItem,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD_RUNS = table_of(
    Run,
    "id attempt worker sequence status waiting_for waiting_node wake_at result"
    " error_message error_code error_node completed_at updated_at history_chain_head"
    " recoveries fence suspicion current_stage",
).with_columns(Column("fence_before", "bigint"))
RECORD_TABLES: Mapping[str, Table] = {
    "stages": table_of(
        Stage,
        "run_id attempt sequence node_name iteration tries status duration_ms"
        " items_done items_total error_message created_at waits_for_thread seal kind"
        " undoes branch",
        "run_id attempt sequence",
        "iteration tries status duration_ms items_done items_total error_message"
        " created_at waits_for_thread seal",
    ),
    "decisions": table_of(
        Decision,
        "run_id attempt sequence edge_index from_node to_node predicate_name"
        " predicate_result reason values taken decided_by_id comment created_at"
        " workflow_name seal",
        "run_id attempt sequence edge_index",
    ),
    "checkpoints": table_of(
        Checkpoint,
        "run_id attempt sequence node_name kind data bytes created_at failure",
        "run_id sequence",
    ),
    "logs": table_of(
        LogLine,
        "run_id attempt number sequence level message created_at",
        "run_id attempt number",
    ),
    "retries": table_of(
        Retry,
        "run_id attempt sequence number wait_seconds error_message created_at",
        "run_id attempt sequence number",
    ),
    "items": table_of(
        StageItem,
        "run_id sequence index data tries duration_ms",
        "run_id sequence index",
    ),
    "item_failures": table_of(
        ItemFailure,
        "run_id attempt sequence index tries duration_ms error_type error_message",
        "run_id attempt sequence index",
        "tries duration_ms error_type error_message",
    ),
    "endings": table_of(
        Attempt,
        "run_id number worker started_at ended_at outcome error_message error_code"
        " traceback",
        "run_id number",
        "ended_at outcome error_message error_code traceback",
    ),
}

# Assignments to a run's row; {run} and {new} are the aliases of the row and of its new
# values. `recoveries` is a code, see `rows.Recoveries`.
RUN_ASSIGNMENTS = """
    version = {run}version + 1, sequence = {new}sequence, status = {new}status,
    waiting_for = {new}waiting_for, waiting_node = {new}waiting_node,
    wake_at = {new}wake_at, result = {new}result,
    error_message = {new}error_message, error_code = {new}error_code,
    error_node = {new}error_node, completed_at = {new}completed_at,
    updated_at = {new}updated_at, history_chain_head = {new}history_chain_head,
    fence = {new}fence,
    recoveries = CASE {new}recoveries WHEN 0 THEN 0 WHEN 1 THEN {run}recoveries
        WHEN 2 THEN {run}recoveries + 1 ELSE 1 END,
    suspicion = {new}suspicion, current_stage = {new}current_stage,
    lease_expires_at =
        CASE WHEN {new}status = 'running' THEN {run}lease_expires_at END,
    secrets = CASE WHEN {new}completed_at IS NULL THEN {run}secrets END
"""
# The fence: this attempt holds the run, and the row is where the record before left it. The
# second number is that of this record, whose COMMIT was lost on the way. CASE keeps the
# planner from reading all running runs, of which it may estimate that there are none.
IS_HELD = """
    {run}id = {new}id AND CASE WHEN {run}status = 'running' THEN
        {run}attempt = {new}attempt AND {run}worker = {new}worker
        AND {run}fence IN ({new}fence_before, {new}fence) ELSE FALSE END
"""
