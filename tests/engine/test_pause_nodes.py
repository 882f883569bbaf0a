"""Nodes that pause a run: for a person, a time, another workflow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from tests.engine.parts import Runs, sets, start
from workflows.engine import (
    Answer,
    ExecutionError,
    Node,
    Paused,
    State,
    approval,
    node,
    sleep,
    subworkflow,
    wait,
)
from workflows.engine.errors import (
    AnswerInvalid,
    ApprovalExpired,
    DefinitionError,
    SubworkflowFailed,
)


class Review(BaseModel):
    outcome: Literal["publish", "reject"]
    note: str = Field("", max_length=10)


class Letter(State):
    label: str = "invoice"
    review: Review | None = None
    done: bool = False


@node
async def finish(state: Letter) -> Letter:
    return state.set(done=True)


def letter() -> Letter:
    return Letter().stamped(run_id="r1")


async def pause_of(runs: Runs, state: State) -> Paused:
    with pytest.raises(Paused) as caught:
        await runs.graph.execute(state)
    return caught.value


async def test_an_approval_pauses_with_everything_a_person_needs() -> None:
    runs = Runs()
    review = approval(
        "Is “{s.label}” right?",
        answer=Review,
        into="review",
        within=timedelta(days=3),
        on_expiry={"outcome": "reject"},
        groups=["reviewers"],
        show=lambda s: {"page": 3, "label": s.label},
        name="review",
    )
    runs.line(review, finish)
    pause = await pause_of(runs, letter())
    assert (pause.kind, pause.node, pause.sequence) == ("approval", "review", 1)
    assert pause.question == "Is “invoice” right?"
    assert pause.form is not None
    assert pause.form["properties"]["outcome"]["enum"] == ["publish", "reject"]
    assert pause.until == runs.clock.now() + timedelta(days=3)
    assert pause.on_expiry == {"outcome": "reject", "note": ""}
    assert pause.groups == ("reviewers",)
    assert pause.show == {"page": 3, "label": "invoice"}
    assert pause.state is not None
    assert (pause.state.sequence, pause.state.run_id) == (0, "r1")
    assert runs.listener.types[-2:] == ["node.start", "graph.pause"]
    assert runs.listener.data("graph.pause") == [
        {
            "node": "review",
            "iteration": 1,
            "sequence": 1,
            "kind": "approval",
            "question": "Is “invoice” right?",
        }
    ]


def a_review(**options: Any) -> Node[Any, Any]:
    return approval("Right?", answer=Review, into="review", name="review", **options)


async def test_the_answer_is_put_into_the_state_and_the_run_continues() -> None:
    runs = Runs()
    before = sets("label", "bill")
    graph = runs.line(before, a_review(), finish)
    await pause_of(runs, letter())
    answer = Answer({"outcome": "publish"}, by="alice", comment="fine")
    end = await graph.resume("r1", enter="review", answer=answer, state_type=Letter)
    assert end.review == Review(outcome="publish")
    assert end.done
    assert end.sequence == 3
    assert [data["node"] for data in runs.listener.data("node.start")] == [
        "label",
        "review",
        "review",
        "finish",
    ]
    numbers = [data["sequence"] for data in runs.listener.data("node.start")]
    assert numbers == [1, 2, 2, 3]


@pytest.mark.parametrize(
    "value", [None, {}, {"outcome": "burn"}, "publish", {"outcome": 1}]
)
async def test_a_response_that_does_not_fit_its_form_fails_the_node(value: Any) -> None:
    runs = Runs()
    graph = runs.line(a_review(), finish)
    await pause_of(runs, letter())
    with pytest.raises(ExecutionError, match="review") as caught:
        await graph.resume(
            "r1", enter="review", answer=Answer(value), state_type=Letter
        )
    assert isinstance(caught.value.__cause__, AnswerInvalid)
    assert isinstance(caught.value.__cause__.__cause__, ValidationError)


async def test_an_expired_approval_uses_the_declared_response() -> None:
    runs = Runs()
    review = a_review(within=timedelta(hours=1), on_expiry=Review(outcome="reject"))
    graph = runs.line(review, finish)
    await pause_of(runs, letter())
    end = await graph.resume(
        "r1", enter="review", answer=Answer(expired=True), state_type=Letter
    )
    assert end.review == Review(outcome="reject")


async def test_an_expired_question_without_one_fails_the_run() -> None:
    runs = Runs()
    graph = runs.line(a_review(within=timedelta(hours=1)), finish)
    await pause_of(runs, letter())
    with pytest.raises(ExecutionError, match="1:00:00") as caught:
        await graph.resume(
            "r1", enter="review", answer=Answer(expired=True), state_type=Letter
        )
    assert isinstance(caught.value.__cause__, ApprovalExpired)


def test_a_response_declared_for_expiry_must_fit_its_form() -> None:
    with pytest.raises(DefinitionError, match="outcome: Input should be"):
        a_review(on_expiry={"outcome": "burn"})


async def test_a_question_that_does_not_fit_the_state_fails_the_node() -> None:
    runs = Runs()
    runs.line(approval("{s.nothing}?", answer=Review, into="review", name="review"))
    with pytest.raises(ExecutionError, match="nothing"):
        await runs.graph.execute(letter())


async def test_evaluating_an_approval_without_a_response_pauses_again() -> None:
    runs = Runs()
    graph = runs.line(a_review(), finish)
    await pause_of(runs, letter())
    for _ in range(2):
        with pytest.raises(Paused):
            await graph.resume("r1", enter="review", state_type=Letter)
    with pytest.raises(Paused):
        await graph.resume("r1", state_type=Letter)


async def test_a_pause_always_stores_the_state_before_it() -> None:
    runs = Runs(interval=5)
    a, b = sets("a"), sets("b")
    graph = runs.line(a, b, a_review_of_bag(), sets("c"))
    await pause_of(runs, start())
    assert runs.store.load("r1").sequence == 2
    end = await graph.resume(
        "r1", enter="review", answer=Answer({"outcome": "publish"})
    )
    assert dict(end.data) == {
        "a": True,
        "b": True,
        "review": {"outcome": "publish", "note": ""},
        "c": True,
    }


def a_review_of_bag() -> Node[Any, Any]:
    return approval("Right?", answer=Review, into="review", name="review")


async def test_a_wait_ends_at_its_time() -> None:
    runs = Runs()
    until = runs.clock.now() + timedelta(hours=2)
    graph = runs.line(sets("a"), wait(until, name="pause"), sets("b"))
    pause = await pause_of(runs, start())
    assert (pause.kind, pause.until) == ("wait", until)
    with pytest.raises(Paused):
        await graph.resume("r1", enter="pause")
    runs.clock.move(timedelta(hours=2))
    assert (await graph.resume("r1", enter="pause"))["b"] is True


async def test_a_wait_ends_when_it_is_resumed_earlier() -> None:
    runs = Runs()
    graph = runs.line(
        wait(runs.clock.now() + timedelta(days=9), name="pause"), sets("b")
    )
    await pause_of(runs, start())
    assert (await graph.resume("r1", enter="pause", answer=Answer()))["b"] is True


async def test_a_past_time_is_not_waited_for() -> None:
    runs = Runs()
    graph = runs.line(
        wait(runs.clock.now() - timedelta(hours=1), name="pause"), sets("b")
    )
    assert (await graph.execute(start()))["b"] is True


async def test_a_sleep_counts_from_the_previous_step_after_repeated_evaluation() -> (
    None
):
    runs = Runs()
    began = runs.clock.now()
    graph = runs.line(sets("a"), sleep(timedelta(hours=1), name="nap"), sets("b"))
    assert (await pause_of(runs, start())).until == began + timedelta(hours=1)
    runs.clock.move(timedelta(minutes=40))
    with pytest.raises(Paused) as caught:
        await graph.resume("r1", enter="nap")
    assert caught.value.until == began + timedelta(hours=1)
    runs.clock.move(timedelta(minutes=20))
    assert (await graph.resume("r1", enter="nap"))["b"] is True


async def test_a_wait_may_read_its_time_from_the_state() -> None:
    runs = Runs()
    until = datetime(2026, 3, 1, tzinfo=UTC)
    runs.line(
        wait(lambda s: datetime.fromisoformat(s["until"]), name="pause"), sets("b")
    )
    assert (await pause_of(runs, start(until=until.isoformat()))).until == until


async def test_a_time_without_a_zone_is_refused() -> None:
    runs = Runs()
    runs.line(wait(lambda _: datetime(2026, 3, 1), name="pause"))  # noqa: DTZ001 - on purpose
    with pytest.raises(ExecutionError, match="no time zone"):
        await runs.graph.execute(start())


async def test_a_sleep_beyond_the_calendar_fails_with_the_name_of_the_node() -> None:
    runs = Runs()
    runs.line(sleep(timedelta.max, name="nap"))
    with pytest.raises(ExecutionError, match="“nap” waits too long: 999999999 days"):
        await runs.graph.execute(start())


def a_child(**options: Any) -> Node[Any, Any]:
    return subworkflow(
        "summarize",
        params=lambda s: {
            "label": s["label"],
            "when": datetime(2026, 1, 1, tzinfo=UTC),
        },
        name="child",
        **options,
    )


async def test_a_subworkflow_pauses_with_its_params_and_stores_the_result() -> None:
    runs = Runs()
    graph = runs.line(a_child(into="summary"), sets("b"))
    pause = await pause_of(runs, start(label="x"))
    assert (pause.kind, pause.workflow) == ("subworkflow", "summarize")
    assert pause.params == {"label": "x", "when": "2026-01-01T00:00:00Z"}
    end = await graph.resume("r1", enter="child", answer=Answer({"text": "short"}))
    assert end["summary"] == {"text": "short"}


async def test_the_result_of_a_subworkflow_can_be_split_into_fields() -> None:
    runs = Runs()

    def take(state: State, result: Any) -> State:
        return state.set(text=result["text"])

    graph = runs.line(a_child(into=take))
    await pause_of(runs, start(label="x"))
    end = await graph.resume("r1", enter="child", answer=Answer({"text": "short"}))
    assert end["text"] == "short"


async def test_a_child_that_failed_fails_the_node_with_its_name() -> None:
    runs = Runs()
    graph = runs.line(a_child(into="summary"))
    await pause_of(runs, start(label="x"))
    with pytest.raises(
        ExecutionError, match=r"summarize.*run 7 failed: no model"
    ) as caught:
        await graph.resume(
            "r1", enter="child", answer=Answer(error="run 7 failed: no model")
        )
    assert isinstance(caught.value.__cause__, SubworkflowFailed)
