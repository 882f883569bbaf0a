"""Cases in which the database rejects some writes of a run.

The reference writes history separately from the run: a rejected write is logged and the
run continues without it. Here history and step are one transaction, because a run with
missing history cannot be explained later. The step and its run fail, nothing of the step
is stored, and after the cause is removed a resume reaches the recorded end with a complete
history.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.db import connection

from tests.engine.traces.compare import same
from tests.lifecycle.cases import Case, recorded_script
from tests.lifecycle.invariants import run_in_memory
from tests.lifecycle.player import ScriptPlayer
from tests.lifecycle.snapshot import Row, RunSnapshot
from workflows.infra.database_threads import run_in_db
from workflows.models import Checkpoint, Decision, Run, Stage

MODELS = {
    "runs": Run,
    "stages": Stage,
    "decisions": Decision,
    "checkpoints": Checkpoint,
}

SQLITE_TRIGGER_BODY = "BEGIN SELECT RAISE(ABORT, 'rejected by the case'); END"
POSTGRES_FUNCTION = """CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'rejected by the case'; END $$"""
TRIGGER = "CREATE TRIGGER refuse_{verb} BEFORE {verb} ON {table} "

CREATE_STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (TRIGGER + SQLITE_TRIGGER_BODY,),
    "postgresql": (
        POSTGRES_FUNCTION,
        TRIGGER + "FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
}
DROP_STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": ("DROP TRIGGER refuse_{verb}",),
    "postgresql": ("DROP TRIGGER refuse_{verb} ON {table}",),
}


def rejected_write(case: Case) -> tuple[str, str]:
    """Return the statement and the table that a case rejects."""
    text = case["fail_exec"]
    found = re.search(
        r"(INSERT|UPDATE|DELETE)(?:\s+INTO|\s+FROM)?\s+(?:public\.)?(\w+)", text
    )
    assert found, f"unknown fail_exec: {text!r}"
    assert found[2] in MODELS, f"no model for the table {found[2]!r}"
    return found[1], found[2]


@asynccontextmanager
async def rejecting_writes(verb: str, table: str) -> AsyncIterator[None]:
    """Make the database reject a kind of statement on every connection.

    Args:
        verb: INSERT, UPDATE or DELETE.
        table: a key of `MODELS`.
    """
    # History that the reference updates may be inserted here.
    verbs = {verb} if verb == "DELETE" or table == "runs" else {verb, "INSERT"}
    await run_in_db(_run, CREATE_STATEMENTS, verbs, table)
    try:
        yield
    finally:
        await run_in_db(_run, DROP_STATEMENTS, verbs, table)


def _run(statements: dict[str, tuple[str, ...]], verbs: set[str], table: str) -> None:
    name = MODELS[table]._meta.db_table  # noqa: SLF001 - Django's documented model API
    with connection.cursor() as cursor:
        for verb in verbs:
            for statement in statements[connection.vendor]:
                cursor.execute(statement.format(verb=verb, table=name))


async def assert_recovers(case: Case, player: ScriptPlayer) -> None:
    """Assert that a run fails while writes are rejected and completes after a resume.

    1. While writes are rejected, the run does not complete and nothing of the step is stored.
    2. After the cause is removed, the resumed run ends as recorded, with complete history.
    """
    verb, table = rejected_write(case)
    has_worker = (verb, table) != ("UPDATE", "runs")  # no worker can claim such a run
    async with rejecting_writes(verb, table):
        await _play(case, player, has_worker=has_worker)
        failed_runs = {run_id: await player.read(run_id) for run_id in player.run_ids}
    for run_id, snapshot in failed_runs.items():
        if verb != "DELETE":
            _assert_failed_cleanly(snapshot, "failed" if has_worker else "pending")
        if snapshot.status == "failed":
            resumed = await player.act({"do": "resume"}, {})
            assert resumed.error is None
        await player.ends(run_id)
        await _assert_complete(case, player, await player.read(run_id))


async def _play(case: Case, player: ScriptPlayer, *, has_worker: bool) -> None:
    """Perform the script; skip the waits when no worker can claim the run."""
    for wanted, action in zip(recorded_script(case), case["script"], strict=True):
        if has_worker or not action["do"].startswith(("wait", "sleep")):
            await player.act(action, wanted)


def _assert_failed_cleanly(snapshot: RunSnapshot, status: str) -> None:
    assert snapshot.run is not None
    assert snapshot.status == status
    if status == "failed":
        assert "could not be stored" in snapshot.run["error_message"]
        assert all(stage["status"] == "completed" for stage in snapshot.stages[:-1])
        assert all(stage["status"] != "started" for stage in snapshot.stages)
        assert all(stage["has_duration"] for stage in snapshot.stages)
    assert len(snapshot.decisions) == len(snapshot.path), (
        "a step was recorded partially"
    )


async def _assert_complete(
    case: Case, player: ScriptPlayer, snapshot: RunSnapshot
) -> None:
    """Assert the end that the graph has in memory and all events of the recorded stream."""
    in_memory = await run_in_memory(case, player, 1)
    assert snapshot.run is not None
    assert (snapshot.status == "completed") is in_memory.completed
    assert same(snapshot.run["result"], in_memory.data)
    for wanted in recorded_script(case):
        stream: list[Row] = wanted.get("stream") or []
        if stream and stream[-1]["type"] == "complete":
            assert same(snapshot.run["result"], stream[-1]["data"]["result"])
            assert snapshot.path == [
                event["data"]["node_name"]
                for event in stream
                if event["type"] == "stage.complete"
            ]
            assert snapshot.decisions == [
                event["data"] for event in stream if event["type"] == "decision"
            ]
