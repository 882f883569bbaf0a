"""The branches of stored runs: their rows, and what is kept over a failure, drain or cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from tests.support.workers import SharedEvent, ended, until, working
from workflows.audit.verifier import Checker
from workflows.engine import Node, Retry, State, Workflow, branches, node, parallel
from workflows.execution.checkpoints import rebuild
from workflows.infra.database_threads import run_in_db
from workflows.models import Checkpoint, Decision, LogLine, Run, Stage, StageItem
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


class Parts(BaseModel):
    category: str = ""
    summary: str = ""
    risk: float = 0.0


class Case(State):
    text: str = "abc"
    words: tuple[int, ...] = ()
    parts: Parts | None = None


class World:
    """The calls of the nodes, and the gate at which they wait."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.gate = SharedEvent()
        self.held = ""  # the node that waits at the gate

    async def pass_gate(self, node: str) -> None:
        if node == self.held:
            await self.gate.wait()

    def note(self, runtime: Runtime, text: str) -> None:
        self.calls.append(runtime.key.partition("/")[2])
        runtime.logger.info("%s works", text)
        if text in self.errors:
            raise self.errors[text]


def case_of(world: World, need: int | None = None) -> Workflow[Any]:
    @node
    def begin(state: Case, runtime: Runtime) -> Case:
        world.note(runtime, "begin")
        return state.set(text="abcd")

    @node(retry=Retry(attempts=2, wait=0))
    def classify(state: Case, runtime: Runtime) -> str:
        world.note(runtime, "classify")
        if world.calls.count("classify/2") == 1:
            raise OSError("first try")
        return state.text.upper()

    @node
    async def summarise(state: Case, runtime: Runtime) -> str:
        world.note(runtime, "summarise")
        await world.pass_gate("summarise")
        return "short"

    @node
    async def extract(item: str, runtime: Runtime) -> int:
        await world.pass_gate("letters")
        return ord(item)

    @node
    async def score(state: Case, runtime: Runtime) -> float:
        await world.pass_gate("score")
        world.note(runtime, "score")
        return float(len(state.words))

    @node
    def finish(state: Case, runtime: Runtime) -> Case:
        world.note(runtime, "finish")
        return state

    letters = parallel(
        extract, over=lambda state: list(state.text), into="words", name="letters"
    )
    both: Node[Case, Case] = branches(
        {"category": classify, "summary": summarise, "risk": [letters, score]},
        into="parts",
        need=need,
        name="both",
    )
    return Workflow("case", state=Case, start=begin, routes={begin: both, both: finish})


async def launch(world: World, need: int | None = None) -> tuple[System, Registry, Run]:
    registry = Registry()
    registry.register(case_of(world, need))
    system = System(registry)
    return system, registry, await run_in_db(lambda: system.execute("case"))


def stages_of(run: Run) -> list[Any]:
    rows = Stage.objects.filter(run=run).order_by("sequence", "attempt")
    return [*rows.values_list("sequence", "node_name", "branch", "status", "tries")]


def has_completed(steps: int) -> Callable[[Run], bool]:
    """Return the condition that a run has so many completed stages."""
    return lambda run: (
        Stage.objects.filter(run=run, status="completed").count() == steps
    )


def findings(run: Run) -> list[Any]:
    return Checker().run(run.pk)


COMPLETED = [
    (1, "begin", None, "completed", 1),
    (2, "classify", "category", "completed", 2),
    (3, "summarise", "summary", "completed", 1),
    (4, "letters", "risk", "completed", 1),
    (5, "score", "risk", "completed", 1),
    (6, "both", None, "completed", 1),
    (7, "finish", None, "completed", 1),
]


async def test_every_step_of_a_branch_has_rows_of_its_own_under_its_own_number() -> (
    None
):
    world = World()
    _, registry, run = await launch(world)
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.sequence, run.current_stage) == ("completed", 7, None)
    assert run.result["parts"] == {"category": "ABCD", "summary": "short", "risk": 4.0}
    assert await run_in_db(stages_of, run) == COMPLETED
    assert await run_in_db(findings, run) == []
    lines = await run_in_db(
        lambda: set(
            LogLine.objects.filter(run=run, message__endswith="works").values_list(
                "sequence", "message"
            )
        )
    )
    assert lines == {
        (1, "begin works"),
        (2, "classify works"),
        (3, "summarise works"),
        (5, "score works"),
        (7, "finish works"),
    }
    retries = await run_in_db(lambda: [*run.retries.values_list("sequence", "number")])
    assert retries == [(2, 1)]
    join = await run_in_db(Stage.objects.get, run=run, sequence=6)
    assert (join.items_done, join.items_total) == (4, 4)


async def test_the_decisions_of_branches_lead_to_the_next_step_and_to_the_join() -> (
    None
):
    _, registry, run = await launch(World())
    async with working(registry):
        await ended(run.pk)
    fields = "sequence", "from_node", "to_node", "taken"
    rows = Decision.objects.filter(run=run).order_by("sequence")
    assert await run_in_db(lambda: [*rows.values_list(*fields)]) == [
        (1, "begin", "both", True),
        (2, "classify", "both", True),
        (3, "summarise", "both", True),
        (4, "letters", "score", True),
        (5, "score", "both", True),
        (6, "both", "finish", True),
    ]


async def test_the_state_changes_at_the_join_alone_and_every_step_can_be_rebuilt() -> (
    None
):
    _, registry, run = await launch(World())
    async with working(registry):
        await ended(run.pk)

    def states() -> list[Any]:
        found = [rebuild(run.pk, at) for at in range(8)]
        return [(one.sequence, one.node, one.data["parts"]) for one in found if one]

    parts = {"category": "ABCD", "summary": "short", "risk": 4.0}
    assert await run_in_db(states) == [
        (0, "", None),
        (1, "begin", None),
        (2, "classify", None),
        (3, "summarise", None),
        (4, "letters", None),
        (5, "score", None),
        (6, "both", parts),
        (7, "finish", parts),
    ]
    patches = Checkpoint.objects.filter(run=run, sequence__range=(2, 5))
    assert await run_in_db(lambda: {row.data for row in patches}) == {"[]"}


async def test_a_resumed_run_keeps_what_its_branches_finished(admin: User) -> None:
    world = World()
    world.held = "score"
    world.errors["score"] = ValueError("no score")
    system, registry, run = await launch(world)
    async with working(registry):
        await until(run.pk, has_completed(4))
        world.gate.set()
        run = await ended(run.pk)
        assert (run.status, run.sequence, run.error_node) == ("failed", 1, "both")
        assert "“risk”: no score" in run.error_message
        before = await run_in_db(stages_of, run)
        assert [stage[3] for stage in before][-3:] == ["completed", "failed", "failed"]
        assert await run_in_db(findings, run) == []
        kept = StageItem.objects.filter(run=run, sequence=6).order_by("index")
        items = await run_in_db(
            lambda: {row.index: json.loads(row.data) for row in kept}
        )
        assert set(items) == {0, 1, 2}
        world.errors.clear()
        world.calls.clear()
        again = partial(system.resume, run.pk, by=admin, reason="once more")
        await run_in_db(again)
        run = await ended(run.pk)
    assert run.status == "completed"
    assert world.calls == ["score/5", "finish/7"]
    assert run.result["parts"] == {"category": "ABCD", "summary": "short", "risk": 4.0}
    assert await run_in_db(findings, run) == []


async def test_while_branches_run_their_stages_are_rows_and_the_join_is_in_progress() -> (
    None
):
    world = World()
    world.held = "summarise"
    _, registry, run = await launch(world)
    async with working(registry):
        run = await until(
            run.pk,
            lambda run: Stage.objects.filter(run=run, status="completed").count() == 4,
        )
        assert run.current_stage is not None
        assert (run.current_stage["node"], run.current_stage["sequence"]) == ("both", 6)
        assert (run.sequence, run.status) == (1, "running")
        assert await run_in_db(stages_of, run) == [
            (1, "begin", None, "completed", 1),
            (2, "classify", "category", "completed", 2),
            (3, "summarise", "summary", "started", 1),
            (4, "letters", "risk", "completed", 1),
            (5, "score", "risk", "completed", 1),
        ]
        assert await run_in_db(findings, run) == []
        world.gate.set()
        run = await ended(run.pk)
    assert await run_in_db(stages_of, run) == COMPLETED


async def test_a_drained_worker_releases_a_run_with_its_finished_branches() -> None:
    world = World()
    world.held = "summarise"
    _, registry, run = await launch(world)
    async with working(registry):
        await until(
            run.pk,
            lambda run: Stage.objects.filter(run=run, status="completed").count() == 4,
        )
    run = await run_in_db(Run.objects.get, pk=run.pk)
    assert (run.status, run.sequence, run.current_stage) == ("pending", 1, None)
    interrupted = [
        row for row in await run_in_db(stages_of, run) if row[3] == "interrupted"
    ]
    assert [row[:3] for row in interrupted] == [
        (3, "summarise", "summary"),
        (6, "both", None),
    ]
    assert await run_in_db(findings, run) == []
    world.held = ""
    world.calls.clear()
    async with working(registry, name="second"):
        run = await ended(run.pk)
    assert world.calls == ["summarise/3", "finish/7"]
    assert run.status == "completed"
    assert await run_in_db(findings, run) == []


async def test_a_draining_worker_stops_between_the_steps_of_a_branch() -> None:
    world = World()
    world.held = "letters"
    _, registry, run = await launch(world)
    async with working(registry) as worker:
        await until(
            run.pk,
            has_completed(3),  # begin, and the other two branches
        )
        drained = asyncio.create_task(worker.drain(grace_seconds=20))
        while not worker.draining:  # noqa: ASYNC110 - set before its first wait
            await asyncio.sleep(0)
        world.gate.set()
        await drained
    run = await run_in_db(Run.objects.get, pk=run.pk)
    assert (run.status, run.sequence, run.current_stage) == ("pending", 1, None)
    rows = await run_in_db(stages_of, run)
    assert [row[:4] for row in rows] == [
        (1, "begin", None, "completed"),
        (2, "classify", "category", "completed"),
        (3, "summarise", "summary", "completed"),
        (4, "letters", "risk", "completed"),
        (6, "both", None, "interrupted"),
    ]
    attempt = await run_in_db(run.attempts.get)
    assert attempt.outcome == "released"
    assert await run_in_db(findings, run) == []
    world.calls.clear()
    async with working(registry, name="second"):
        run = await ended(run.pk)
    assert run.status == "completed"
    assert world.calls == ["score/5", "finish/7"]
    assert await run_in_db(findings, run) == []


async def test_a_cancelled_run_cancels_its_branches(admin: User) -> None:
    world = World()
    world.held = "summarise"
    system, registry, run = await launch(world)
    async with working(registry):
        await until(
            run.pk,
            lambda run: Stage.objects.filter(run=run, status="completed").count() == 4,
        )
        await run_in_db(lambda: system.cancel(run.pk, by=admin, reason="enough"))
        run = await ended(run.pk)
    assert (run.status, run.cancel_reason) == ("cancelled", "enough")
    assert [row[3] for row in await run_in_db(stages_of, run)] == [
        "completed",
        "completed",
        "cancelled",
        "completed",
        "completed",
        "cancelled",
    ]
    assert await run_in_db(findings, run) == []


async def test_the_first_branch_cancels_the_rest_and_the_decisions_name_it() -> None:
    world = World()
    world.held = "summarise"
    _, registry, run = await launch(world, need=2)
    async with working(registry):
        run = await ended(run.pk)
    assert run.result["parts"] == {"category": "ABCD", "summary": "", "risk": 4.0}
    stage = await run_in_db(Stage.objects.get, run=run, node_name="summarise")
    assert stage.status == "cancelled"
    assert "finished first" in stage.error_message
    decision = await run_in_db(Decision.objects.get, run=run, from_node="summarise")
    assert (decision.taken, decision.predicate_name) == (False, "among the first 2")
    assert decision.reason.startswith("“summary” was cancelled, ")
    assert decision.reason.endswith(" finished first, 2 of 3 are needed")
    assert await run_in_db(findings, run) == []


async def test_the_steps_of_branches_are_undone_with_the_state_in_their_branch() -> (
    None
):
    undone: list[tuple[str, tuple[int, ...]]] = []

    class Held(State):
        text: str = ""
        words: tuple[int, ...] = ()
        parts: dict[str, Any] | None = None

    @node
    def uncount(state: Held) -> Held:
        undone.append((state.text, state.words))
        return state.set(text="undone")

    @node
    async def shorten(state: Held) -> Held:
        return state.set(text="ab")

    @node(undo=uncount)
    async def count(state: Held) -> Held:
        return state.set(words=(len(state.text),))

    @node
    def fails(state: Held) -> Held:
        raise ValueError("no")

    @node
    async def begin(state: Held) -> Held:
        return state.set(text="abc")

    steps = {"all": [shorten, count, fails]}
    both = branches(steps, "parts", need=1, name="both")
    registry = Registry()
    registry.register(Workflow("case", state=Held, start=begin, routes={begin: both}))
    run = await run_in_db(lambda: System(registry).execute("case"))
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.steps_undone, run.steps_to_undo) == ("failed", 1, 1)
    assert undone == [("ab", (2,))]
    assert [row[:2] for row in await run_in_db(stages_of, run)] == [
        (1, "begin"),
        (2, "shorten"),
        (3, "count"),
        (4, "fails"),
        (5, "both"),
        (6, "uncount"),
    ]
    assert await run_in_db(findings, run) == []
