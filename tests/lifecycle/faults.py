"""A database that refuses some of what a run writes, and what comes of the run.

The reference writes its history next to the run: what the database refuses is logged, and
the run continues without it. Ours is one transaction with the step, because no one could
explain later what was not recorded. The step fails and the run with it, nothing of the
step is left, and once the cause is put right a resume leads to the recorded end, with a
history that has no gap.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.db import connection

from tests.engine.traces.compare import same
from tests.lifecycle.cases import Case, recorded_script
from tests.lifecycle.script import Script
from tests.lifecycle.story import Row, Story
from tests.lifecycle.truth import walk
from workflows.infra.database_threads import run_in_db
from workflows.models import Checkpoint, Decision, Run, Stage

MODELS = {
    "runs": Run,
    "stages": Stage,
    "decisions": Decision,
    "checkpoints": Checkpoint,
}

REFUSAL = "BEGIN SELECT RAISE(ABORT, 'refused by the case'); END"  # of SQLite
FUNCTION = """CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused by the case'; END $$"""
TRIGGER = "CREATE TRIGGER refuse_{verb} BEFORE {verb} ON {table} "

SET_UP: dict[str, tuple[str, ...]] = {
    "sqlite": (TRIGGER + REFUSAL,),
    "postgresql": (FUNCTION, TRIGGER + "FOR EACH ROW EXECUTE FUNCTION refuse()"),
}
TAKE_DOWN: dict[str, tuple[str, ...]] = {
    "sqlite": ("DROP TRIGGER refuse_{verb}",),
    "postgresql": ("DROP TRIGGER refuse_{verb} ON {table}",),
}


def refused(case: Case) -> tuple[str, str]:
    """What the database of a case refuses: INSERT, UPDATE or DELETE, and of what."""
    text = case["fail_exec"]
    found = re.search(
        r"(INSERT|UPDATE|DELETE)(?:\s+INTO|\s+FROM)?\s+(?:public\.)?(\w+)", text
    )
    assert found, f"the adapter does not know what it refuses with {text!r}"
    assert found[2] in MODELS, f"we have nothing that {found[2]!r} stands for"
    return found[1], found[2]


@asynccontextmanager
async def refusing(verb: str, table: str) -> AsyncIterator[None]:
    """Within, the database itself refuses to change rows so, on every connection."""
    # what the reference updates in its history, we may just as well insert
    verbs = {verb} if verb == "DELETE" or table == "runs" else {verb, "INSERT"}
    await run_in_db(_run, SET_UP, verbs, table)
    try:
        yield
    finally:
        await run_in_db(_run, TAKE_DOWN, verbs, table)


def _run(statements: dict[str, tuple[str, ...]], verbs: set[str], table: str) -> None:
    name = MODELS[table]._meta.db_table  # noqa: SLF001 - Django's documented model API
    with connection.cursor() as cursor:
        for verb in verbs:
            for statement in statements[connection.vendor]:
                cursor.execute(statement.format(verb=verb, table=name))


async def assert_survived(case: Case, script: Script) -> None:
    """The run fails where it cannot record, and comes to its end once it can.

    1. While refused a run does not complete, and nothing of the refused step is there.
    2. Once the cause is put right, and resumed, it ends as recorded, its history whole.
    """
    verb, table = refused(case)
    waits = (verb, table) != ("UPDATE", "runs")  # no one can take such a run
    async with refusing(verb, table):
        await _play(case, script, waits=waits)
        stopped = {run_id: await script.read(run_id) for run_id in script.run_ids}
    for run_id, story in stopped.items():
        if verb != "DELETE":
            _assert_stopped(story, "failed" if waits else "pending")
        if story.status == "failed":
            resumed = await script.act({"do": "resume"}, {})
            assert resumed.error is None
        await script.ends(run_id)
        await _assert_whole(case, script, await script.read(run_id))


async def _play(case: Case, script: Script, *, waits: bool) -> None:
    """Do what the script says; there is nothing to wait for when no one takes a run."""
    for wanted, action in zip(recorded_script(case), case["script"], strict=True):
        if waits or not action["do"].startswith(("wait", "sleep")):
            await script.act(action, wanted)


def _assert_stopped(story: Story, status: str) -> None:
    assert story.run is not None
    assert story.status == status
    if status == "failed":
        assert "could not be stored" in story.run["error_message"]
        assert all(stage["status"] == "completed" for stage in story.stages[:-1])
        assert all(stage["status"] != "started" for stage in story.stages)
        assert all(stage["has_duration"] for stage in story.stages)
    assert len(story.decisions) == len(story.path), "half a step was recorded"


async def _assert_whole(case: Case, script: Script, story: Story) -> None:
    """It ended as the graph does, with all that the stream of the reference told."""
    walked = await walk(case, script, 1)
    assert story.run is not None
    assert (story.status == "completed") is walked.completed
    assert same(story.run["result"], walked.data)
    for wanted in recorded_script(case):
        message: list[Row] = wanted.get("stream") or []
        if message and message[-1]["type"] == "complete":
            assert same(story.run["result"], message[-1]["data"]["result"])
            assert story.path == [
                event["data"]["node_name"]
                for event in message
                if event["type"] == "stage.complete"
            ]
            assert story.decisions == [
                event["data"] for event in message if event["type"] == "decision"
            ]
