"""Resuming a run from a checkpoint."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.parts import Flaky, Gate, Runs, sets, start
from workflows.engine import (
    Answer,
    ExecutionError,
    Graph,
    MemoryStore,
    NodeContext,
    ResumeError,
    State,
    Superseded,
    key,
    node,
    predicate,
)
from workflows.engine.errors import CheckpointMismatch, StateError


async def fail(graph: Graph) -> None:
    with pytest.raises(ExecutionError):
        await graph.execute(start())


async def refusal(graph: Graph, run_id: str = "r1", **options: Any) -> ResumeError:
    with pytest.raises(ResumeError) as caught:
        await graph.resume(run_id, **options)
    assert run_id in str(caught.value)
    return caught.value


async def test_only_the_failed_node_runs_again_and_the_numbers_continue() -> None:
    runs, a, b = Runs(), Flaky("a", 0), Flaky("b", 1)
    graph = runs.line(a.node(), b.node(), sets("c"))
    await fail(graph)
    runs.listener.events.clear()
    end = await graph.resume("r1")
    assert (a.runs, b.runs) == (1, 2)
    assert end.sequence == 3
    started = runs.listener.data("node.start")
    assert [(data["sequence"], data["iteration"]) for data in started] == [
        (2, 1),
        (3, 2),
    ]


async def test_the_jump_is_recorded_like_any_decision() -> None:
    runs = Runs()
    graph = runs.line(sets("a"), Flaky("b", 1).node())
    await fail(graph)
    runs.listener.events.clear()
    await graph.resume("r1")
    assert runs.listener.types[:5] == [
        "checkpoint.load",
        "edge.evaluate",
        "edge.transition",
        "checkpoint.resume",
        "graph.start",
    ]
    assert runs.listener.data("edge.evaluate")[0]["sequence"] == 1
    assert runs.listener.data("checkpoint.resume") == [
        {"checkpoint_node": "a", "resume_node": "b", "run_id": "r1"}
    ]


async def test_a_run_whose_first_node_failed_starts_at_the_entry_again() -> None:
    runs, a = Runs(), Flaky("a", 1)
    graph = runs.line(a.node(), sets("b"))
    await fail(graph)
    runs.listener.events.clear()
    end = await graph.resume("r1")
    assert dict(end.data) == {"a": 2, "b": True}
    assert runs.listener.types[:3] == [
        "checkpoint.load",
        "checkpoint.resume",
        "graph.start",
    ]
    assert runs.listener.data("node.start")[0]["sequence"] == 1


async def test_the_initial_state_is_stored_without_an_event() -> None:
    runs = Runs()
    saved: list[State] = []

    class Store(MemoryStore):
        def save(self, state: State) -> None:
            saved.append(state)
            super().save(state)

    runs = Runs(store=Store())
    await runs.line(sets("a")).execute(start(x=1))
    assert [(state.sequence, state.checkpoint_node) for state in saved] == [
        (0, ""),
        (1, "a"),
    ]
    assert len(runs.listener.data("checkpoint.save")) == 1


async def test_without_an_interval_no_checkpoint_is_stored() -> None:
    runs = Runs(interval=0)
    await runs.line(sets("a")).execute(start())
    assert runs.store.list() == []


async def test_a_checkpoint_at_an_exit_is_a_finished_run() -> None:
    runs = Runs()
    graph = runs.line(sets("a"), sets("b"))
    end = await graph.execute(start())
    graph.add_node("after", sets("after"))
    graph.add_edge("b", "after")
    runs.listener.events.clear()
    again = await graph.resume("r1")
    assert again.data == end.data
    assert runs.listener.types == ["checkpoint.load"]


async def test_a_refused_resume_does_not_change_the_checkpoint() -> None:
    runs = Runs()
    graph = runs.branch(sets("a", 1), sets("b"), when=key("a").equals(2))
    await fail(graph)
    stored = runs.store.load("r1")
    for _ in range(2):
        assert (await refusal(graph)).code == "resume.no_transition"
    assert runs.store.load("r1").to_json() == stored.to_json()


async def test_a_refused_resume_has_the_state_that_was_loaded() -> None:
    runs = Runs()
    graph = runs.branch(sets("a", 1), sets("b"), when=key("a").equals(2))
    await fail(graph)
    error = await refusal(graph)
    assert error.state is not None
    assert (error.state.data, error.state.checkpoint_node) == ({"a": 1}, "a")
    no_entry = Runs(store=runs.store).graph
    for step in (sets("a", 1), sets("b")):
        no_entry.add_node(step.name, step)
    no_entry.add_edge("a", "b")
    no_entry.set_exit_point("b")
    error = await refusal(no_entry)
    assert error.code == "invalid_graph.no_entry"
    assert error.state is not None
    assert error.state.data == {"a": 1}
    assert (await refusal(graph, "elsewhere")).state is None


async def test_there_must_be_a_store_and_a_checkpoint() -> None:
    bare = Graph("g")
    assert (await refusal(bare)).code == "resume.disabled"
    assert (
        await refusal(Runs().line(sets("a")), "elsewhere")
    ).code == "resume.not_found"


async def test_a_store_that_cannot_read_is_the_cause() -> None:
    class Broken(MemoryStore):
        def load(self, run_id: str) -> State:
            raise OSError(f"disk gone, {run_id} with it")

    error = await refusal(Runs(store=Broken()).line(sets("a")))
    assert error.code == "resume.load_failed"
    assert isinstance(error.__cause__, OSError)


async def test_a_checkpoint_at_a_removed_node_cannot_be_resumed() -> None:
    runs = Runs()
    await fail(runs.line(sets("a"), Flaky("b", 1).node()))
    other = Runs(store=runs.store)
    error = await refusal(other.line(sets("x"), sets("y")))
    assert (error.code, error.node) == ("resume.dead_end", "a")


async def test_a_predicate_that_raises_refuses_the_resume_with_its_error() -> None:
    raising = [False]

    @predicate
    def is_fine(state: State) -> bool:
        if raising[0]:
            raise RuntimeError("out of order")
        return True

    runs = Runs()
    graph = runs.branch(sets("a"), Flaky("b", 9).node(), when=is_fine)
    await fail(graph)
    raising[0] = True
    runs.listener.events.clear()
    assert (await refusal(graph)).code == "resume.predicate_failed"
    assert "out of order" in runs.listener.data("edge.evaluate")[0]["reason"]


async def test_every_attempt_counts_its_steps_separately() -> None:
    runs = Runs(max_iterations=3)
    a, b = Flaky("a", 0), Flaky("b", 1)
    graph = runs.line(sets("x"), a.node(), b.node(), sets("d"))
    await fail(graph)
    end = await graph.resume("r1")
    assert end.sequence == 4


async def test_between_checkpoints_finished_nodes_run_again() -> None:
    runs = Runs(interval=2)
    a, b, c, d = Flaky("a", 0), Flaky("b", 0), Flaky("c", 0), Flaky("d", 1)
    graph = runs.line(a.node(), b.node(), c.node(), d.node())
    await fail(graph)
    end = await graph.resume("r1")
    assert [each.runs for each in (a, b, c, d)] == [1, 1, 2, 2]
    assert end.sequence == 4


async def test_the_checkpoint_of_a_finished_run_is_deleted_unless_preserved() -> None:
    runs = Runs(preserve=False)
    graph = runs.line(sets("a"))
    await graph.execute(start())
    assert runs.store.list() == []
    assert (await refusal(graph)).code == "resume.not_found"


class Typed(State):
    count: int = 0
    label: str = ""


async def test_a_stored_state_is_loaded_as_the_requested_class() -> None:
    runs = Runs()

    @node
    async def adds(state: Typed) -> Typed:
        return state.set(count=state.count + 1)

    graph = runs.line(adds)
    runs.store.save(State(count=4, label="").stamped(run_id="r1"))
    end = await graph.resume("r1", state_type=Typed)
    assert (end.count, end.label) == (5, "")


async def test_secrets_are_passed_to_each_attempt_again() -> None:
    @node
    async def reveals(state: State) -> State:
        return state.set(seen=state.secret("token"))

    runs = Runs()
    graph = runs.line(Flaky("a", 1).node(), reveals)
    await fail(graph)
    assert (await graph.resume("r1", secrets={"token": "s3cret"}))["seen"] == "s3cret"


async def test_a_stored_state_that_does_not_fit_is_refused() -> None:
    runs = Runs()
    runs.store.save(State(other=4).stamped(run_id="r1"))
    error = await refusal(runs.line(sets("a")), state_type=Typed)
    assert error.code == "resume.mismatch"
    assert isinstance(error.__cause__, CheckpointMismatch | StateError)


async def test_entering_a_node_evaluates_no_edge_and_passes_the_response() -> None:
    answers: list[Answer | None] = []

    class Runtime:
        def at(self, context: NodeContext) -> NodeContext:
            return context

    @node
    async def asks(state: State, runtime: NodeContext) -> State:
        answers.append(runtime.answer)
        return state.set(sequence=runtime.sequence)

    @node
    async def after(state: State, runtime: NodeContext) -> State:
        answers.append(runtime.answer)
        return state

    runs = Runs()
    graph = runs.line(sets("a"), asks, after)
    runs.store.save(State().stamped(run_id="r1", checkpoint_node="a", sequence=1))
    given = Answer({"yes": True}, by="alice")
    end = await graph.resume("r1", runtime=Runtime(), enter="asks", answer=given)
    assert answers == [given, None]
    assert end["sequence"] == 2
    assert runs.listener.types[:3] == [
        "checkpoint.load",
        "checkpoint.resume",
        "graph.start",
    ]


async def test_a_removed_node_cannot_be_entered() -> None:
    runs = Runs()
    runs.store.save(State().stamped(run_id="r1", checkpoint_node="a", sequence=1))
    error = await refusal(runs.line(sets("a"), sets("b")), enter="gone")
    assert (error.code, error.node) == ("resume.unknown_node", "gone")


class SettlingStore(MemoryStore):
    """Reports when the runner waits for it; fails at one of those times."""

    def __init__(self, fail_on: int = 0, error: BaseException | None = None) -> None:
        super().__init__()
        self.settled: list[list[str]] = []  # events up to then
        self.fail_on = fail_on
        self.error = error or OSError("disk full")
        self.listener: Any = None

    async def flush(self) -> None:
        self.settled.append(self.listener.types)
        if len(self.settled) == self.fail_on:
            raise self.error


def settling(*nodes: Any, fail_on: int = 0, error: BaseException | None = None) -> Any:
    store = SettlingStore(fail_on, error)
    runs = Runs(store=store)
    store.listener = runs.listener
    runs.line(*nodes)
    return runs


async def test_the_runner_waits_for_the_store_before_every_node_and_at_the_end() -> (
    None
):
    runs = settling(sets("a"), sets("b"))
    await runs.graph.execute(start())
    assert [types[-1] for types in runs.store.settled] == [
        "node.start",
        "node.start",
        "graph.complete",
    ]


async def test_the_runner_waits_for_the_store_after_a_failure() -> None:
    runs = settling(Flaky("a", 1).node())
    await fail(runs.graph)
    assert [types[-1] for types in runs.store.settled] == ["node.start", "graph.error"]


@pytest.mark.parametrize(
    ("fail_on", "node_name", "ran"), [(1, "a", []), (2, "b", ["a"])]
)
async def test_a_store_that_cannot_settle_fails_the_step(
    fail_on: int, node_name: str, ran: list[str]
) -> None:
    a, b = Flaky("a", 0), Flaky("b", 0)
    runs = settling(a.node(), b.node(), fail_on=fail_on)
    with pytest.raises(ExecutionError, match="disk full") as caught:
        await runs.graph.execute(start())
    assert (caught.value.code, caught.value.node) == (
        "checkpoint_save_failed",
        node_name,
    )
    assert [each.name for each in (a, b) if each.runs] == ran


async def test_a_failure_that_cannot_be_recorded_reports_both() -> None:
    runs = settling(Flaky("a", 1).node(), fail_on=2)
    with pytest.raises(ExecutionError, match="disk full") as caught:
        await runs.graph.execute(start())
    assert caught.value.code == "checkpoint_save_failed"
    assert "failure 1" in str(caught.value.__notes__)


async def test_a_signal_of_the_store_passes_unchanged() -> None:
    runs = settling(sets("a"), fail_on=1, error=Superseded("lease lost"))
    with pytest.raises(Superseded, match="lease lost"):
        await runs.graph.execute(start())
    assert "graph.error" not in runs.listener.types


async def test_a_server_stop_during_a_flush_is_not_swallowed() -> None:
    gate = Gate()

    class Waiting(SettlingStore):
        async def flush(self) -> None:
            gate.entered.set()
            await gate.opened.wait()

    runs = Runs(store=Waiting())
    run = asyncio.create_task(runs.line(sets("a")).execute(start()))
    await gate.entered.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_a_failed_save_is_fatal_and_preserves_the_state_after_the_node() -> None:
    class Full(MemoryStore):
        def save(self, state: State) -> None:
            if state.sequence == 1:
                raise OSError("disk full")

    runs = Runs(store=Full())
    with pytest.raises(ExecutionError, match="disk full") as caught:
        await runs.line(sets("a"), sets("b")).execute(start())
    error = caught.value
    assert (error.code, error.node) == ("checkpoint_save_failed", "a")
    assert error.state is not None
    assert error.state["a"] is True
    assert "checkpoint.save" not in runs.listener.types


async def test_an_initial_state_that_cannot_be_stored_fails_before_any_node() -> None:
    class Full(MemoryStore):
        def save(self, state: State) -> None:
            raise OSError(f"disk full, no room for {state.run_id}")

    a = Flaky("a", 0)
    runs = Runs(store=Full())
    with pytest.raises(ExecutionError, match="disk full") as caught:
        await runs.line(a.node()).execute(start())
    assert (caught.value.code, caught.value.path, a.runs) == (
        "checkpoint_save_failed",
        (),
        0,
    )
