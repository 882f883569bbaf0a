"""Undo nodes and the node at the end of a run, in memory and at import."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from workflows.engine import (
    Cancellation,
    DefinitionError,
    Failed,
    Paused,
    State,
    Workflow,
    approval,
    node,
    otherwise,
    sleep,
    when,
    when_failed,
)
from workflows.engine.testing import run_in_memory
from workflows.runtime import FakeRuntime, Runtime
from workflows.runtime.errors import Unavailable


class Steps(State):
    done: int = 0
    fails: bool = True


class Calls:
    """Nodes that store the states with which they were called."""

    def __init__(self) -> None:
        self.undone: list[int] = []

    def undo(self, error: BaseException | None = None) -> Any:
        @node(name="undo")
        def undo(state: Steps) -> Steps:
            self.undone.append(state.done)
            if error is not None:
                raise error
            return state.set(done=-1)

        return undo


@node
def count(state: Steps) -> Steps:
    return state.set(done=state.done + 1)


@node
def finish(state: Steps) -> Steps:
    if state.fails:
        raise ValueError("not finished")
    return state


def loop_of(undo: Any, **options: Any) -> Workflow[Steps]:
    return Workflow(
        "loop",
        state=Steps,
        start=count,
        routes={count: [when(lambda s: s.done < 3, count), otherwise(finish)]},
        undo={count: undo},
        **options,
    )


def test_every_completed_step_is_undone_with_the_state_after_it_newest_first() -> None:
    calls = Calls()
    outcome = run_in_memory(loop_of(calls.undo()))
    assert calls.undone == [3, 2, 1]
    assert (outcome.status, outcome.undone) == ("failed", "3 of 3 undone")
    assert outcome.state.done == 3, "the last state before the end was decided"
    assert outcome.path == ["count"] * 3
    assert [(s.sequence, s.kind, s.undoes) for s in outcome.stages[4:]] == [
        (5, "undo", 3),
        (6, "undo", 2),
        (7, "undo", 1),
    ]
    assert "3 of 3 undone" in repr(outcome)


def test_a_completed_run_undoes_nothing() -> None:
    calls = Calls()
    outcome = run_in_memory(loop_of(calls.undo()), {"fails": False})
    assert (outcome.status, outcome.undone, calls.undone) == ("completed", "", [])


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), Failed("no"), Paused("approval")]
)
def test_after_any_error_of_an_undo_the_others_continue(error: BaseException) -> None:
    calls = Calls()
    outcome = run_in_memory(loop_of(calls.undo(error)))
    assert (calls.undone, outcome.undone) == ([3, 2, 1], "0 of 3 undone")
    assert {stage.status for stage in outcome.stages[4:]} == {"failed"}


def test_a_cancelled_run_is_undone() -> None:
    calls, cancellation = Calls(), Cancellation()

    @node
    def cancel(state: Steps) -> Steps:
        cancellation.cancel("enough")
        return state

    workflow = Workflow(
        "cancel",
        state=Steps,
        start=count,
        routes={count: cancel, cancel: finish},
        undo={count: calls.undo()},
    )
    outcome = run_in_memory(workflow, cancellation=cancellation)
    assert (outcome.status, outcome.undone) == ("cancelled", "1 of 1 undone")


def test_a_failed_step_is_not_undone_although_its_failure_route_was_taken() -> None:
    calls = Calls()

    @node(undo=calls.undo())
    def book(state: Steps) -> Steps:
        raise ValueError("no seats")

    workflow = Workflow(
        "book",
        state=Steps,
        start=book,
        routes={book: [when_failed(count), otherwise(finish)], count: finish},
    )
    outcome = run_in_memory(workflow)
    assert (outcome.status, outcome.path, calls.undone) == ("failed", ["count"], [])


def test_the_table_of_the_workflow_replaces_the_undo_of_a_node() -> None:
    own, other = Calls(), Calls()

    @node(undo=own.undo())
    def book(state: Steps) -> Steps:
        return state

    workflow = Workflow(
        "book",
        state=Steps,
        start=book,
        routes={book: finish},
        undo={book: other.undo()},
    )
    run_in_memory(workflow)
    assert (own.undone, other.undone) == ([], [0])


@pytest.mark.parametrize("fails", [True, False])
def test_the_node_at_the_end_reads_the_outcome_and_changes_nothing(fails: bool) -> None:
    outcomes = []

    @node
    def notify(state: Steps, runtime: Runtime) -> Steps:
        outcomes.append((runtime.outcome.status, runtime.outcome.undo_text, state.done))
        raise ValueError("no mail")

    workflow = loop_of(Calls().undo(), on_end=notify)
    outcome = run_in_memory(workflow, {"fails": fails}, runtime=FakeRuntime())
    assert outcome.status == ("failed" if fails else "completed")
    assert outcomes == [
        (outcome.status, "3 of 3 undone" if fails else "", 3),
    ]


def test_other_nodes_have_no_outcome() -> None:
    with pytest.raises(Unavailable, match="not known yet"):
        _ = FakeRuntime().outcome


class Reply(BaseModel):
    text: str


@pytest.mark.parametrize(
    "waiting",
    [approval("?", Reply, "done", name="a"), sleep(timedelta(1), name="s")],
    ids=["approval", "sleep"],
)
@pytest.mark.parametrize("where", ["undo", "on_end"])
def test_a_node_that_waits_is_refused_at_import(waiting: Any, where: str) -> None:
    options = {"undo": {count: waiting}} if where == "undo" else {"on_end": waiting}
    with pytest.raises(DefinitionError, match="the run is over then") as caught:
        Workflow("w", state=Steps, start=count, routes={}, **options)
    assert caught.value.code == "build.closing_node"


def test_an_undo_of_a_foreign_node_or_with_a_name_in_use_is_refused_at_import() -> None:
    with pytest.raises(DefinitionError, match="not one of its nodes"):
        Workflow("w", state=Steps, start=count, routes={}, undo={finish: finish})
    same_name = node(name="count")(lambda state: state)
    with pytest.raises(DefinitionError, match="exists already"):
        Workflow("w", state=Steps, start=count, routes={}, on_end=same_name)
    with pytest.raises(DefinitionError, match="is not a node"):
        Workflow("w", state=Steps, start=count, routes={}, on_end=print)  # type: ignore[arg-type]


def test_undo_and_on_end_are_part_of_the_fingerprint_and_the_differences() -> None:
    plain = Workflow("w", state=Steps, start=count, routes={count: finish})
    undone = Workflow(
        "w",
        state=Steps,
        start=count,
        routes={count: finish},
        undo={count: Calls().undo()},
        on_end=finish,
    )
    assert plain.fingerprint != undone.fingerprint
    assert undone.differences(plain.shape) == [
        "what undoes “count” changed from nothing to “undo”",
        "the node at the end changed from nothing to “finish”",
    ]
    assert type(plain.shape).from_json(undone.drawn) == undone.shape
    assert {"undo", "on_end"}.isdisjoint(plain.drawn)
