"""A person decides about a failed step, in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import Field

from workflows.engine import (
    Answer,
    DefinitionError,
    Graph,
    State,
    Workflow,
    ask,
    branches,
    node,
    otherwise,
    parallel,
    predicate,
    when,
    when_failed,
)
from workflows.engine.testing import ManualClock, Outcome, run_in_memory


class Refused(Exception):
    """The bank refused the transfer."""


class Payment(State):
    iban: str = "wrong"
    amount: int = 5
    receipt: str = ""
    path: tuple[str, ...] = ()
    parts: dict[str, Any] = Field(default_factory=dict)


@node(when_failed=ask(within=timedelta(days=1), groups=["clerks"]))
def pay(state: Payment) -> Payment:
    if state.iban == "wrong":
        raise Refused("no such account")
    return state.set(receipt=f"paid to {state.iban}")


@predicate("{s.amount}")
def is_large(state: Payment) -> bool:
    return state.amount > 10


@node
def archive(state: Payment) -> Payment:
    return state.set(path=(*state.path, "archived"))


@node
def review(state: Payment) -> Payment:
    return state.set(path=(*state.path, "reviewed"))


payment = Workflow(
    "payment",
    state=Payment,
    start=pay,
    routes={pay: [when(is_large, review), otherwise(archive)]},
)
QUESTION = "ask about pay"


def outcome_of(
    answer: Any, workflow: Workflow[Payment] = payment, **options: Any
) -> Outcome[Payment]:
    answers = {} if answer is None else {QUESTION: answer}
    return run_in_memory(workflow, answers=answers, **options)


def test_a_failed_step_waits_for_a_person() -> None:
    outcome = outcome_of(None)
    assert (outcome.status, outcome.path) == ("waiting", [])
    pause = outcome.pause
    assert pause is not None
    assert (pause.kind, pause.node, pause.groups) == ("approval", QUESTION, ("clerks",))
    assert pause.question == "“pay” failed. How does the run continue?"
    assert pause.show["failure"]["message"] == "no such account"
    assert [(one.node, one.status) for one in outcome.stages] == [
        ("pay", "failed"),
        (QUESTION, "waiting"),
    ]


def test_the_form_has_the_fields_of_the_state_and_the_targets_of_the_edges() -> None:
    pause = outcome_of(None).pause
    assert pause is not None
    assert pause.form is not None
    properties = pause.form["properties"]
    assert properties["route"]["enum"] == ["", "review", "archive"]
    assert [*properties["changes"]["properties"]] == [*Payment.fields()]
    assert "removed" not in properties


def test_an_edited_input_is_tried_again() -> None:
    outcome = outcome_of({"choice": "retry", "changes": {"iban": "DE02"}})
    assert (outcome.status, outcome.state.receipt) == ("completed", "paid to DE02")
    assert outcome.path == [QUESTION, "pay", "archive"]
    taken = [(one.source, one.target) for one in outcome.decisions if one.result]
    assert taken == [("pay", QUESTION), (QUESTION, "pay"), ("pay", "archive")]
    assert outcome.state.failure is None


def test_a_step_that_fails_again_is_asked_about_again() -> None:
    answers = iter([{"choice": "retry"}, {"choice": "retry", "changes": {"iban": "X"}}])
    outcome = outcome_of(lambda _pause: next(answers))
    assert (outcome.status, outcome.state.receipt) == ("completed", "paid to X")
    assert [one.node for one in outcome.stages].count(QUESTION) == 4


def test_a_skipped_step_is_followed_by_its_own_edges_with_the_given_output() -> None:
    given = {"choice": "skip", "changes": {"receipt": "by hand", "amount": 11}}
    outcome = outcome_of(given)
    assert outcome.path == [QUESTION, "review"]
    assert outcome.state.receipt == "by hand"
    decision = next(one for one in outcome.decisions if one.target == "review")
    assert (decision.result, decision.reason) == (True, "skip was chosen; 11")


def test_another_edge_is_taken_although_its_condition_is_not_met() -> None:
    outcome = outcome_of({"choice": "route", "route": "review"})
    assert (outcome.status, outcome.path) == ("completed", [QUESTION, "review"])


def test_giving_up_fails_the_run_at_the_failed_step() -> None:
    outcome = outcome_of(Answer({"choice": "give_up"}, by="ada", comment="no money"))
    assert (outcome.status, outcome.error and outcome.error.node) == ("failed", "pay")
    assert "no such account (ada gave up: no money)" in str(outcome.error)


def test_an_expired_question_fails_the_run() -> None:
    clock = ManualClock()
    began = clock.now()
    outcome = outcome_of(Answer(expired=True), clock=clock)
    assert (outcome.status, outcome.error and outcome.error.node) == ("failed", "pay")
    assert "no one responded in time" in str(outcome.error)
    assert clock.now() - began == timedelta(days=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"choice": "route", "route": "moon"}, "No edge of “pay” leads there"),
        ({"choice": "retry", "route": "review"}, "Only the choice “route”"),
        ({"choice": "give_up", "changes": {"iban": "X"}}, "The run fails"),
        ({"choice": "dance"}, "does not fit its form"),
        ({"choice": "retry", "changes": {"amount": "many"}}, "amount"),
    ],
)
def test_a_response_that_does_not_fit_fails_the_run(given: Any, message: str) -> None:
    outcome = outcome_of(given)
    assert outcome.status == "failed"
    assert message in str(outcome.error)


def test_the_undo_of_earlier_steps_runs_after_giving_up_and_not_before() -> None:
    undone: list[str] = []

    @node
    def cancel(state: Payment) -> Payment:
        undone.append("cancel")
        return state

    @node(undo=cancel)
    def reserve(state: Payment) -> Payment:
        return state

    flow = Workflow(
        "reserved", state=Payment, start=reserve, routes={reserve: pay, pay: archive}
    )
    assert outcome_of(None, flow).status == "waiting"
    assert undone == []
    assert outcome_of({"choice": "give_up"}, flow).undone == "1 of 1 undone"
    assert undone == ["cancel"]


def test_an_exit_that_is_skipped_ends_the_run() -> None:
    flow = Workflow("short", state=Payment, start=pay, routes={})
    outcome = outcome_of({"choice": "skip", "changes": {"receipt": "cash"}}, flow)
    assert (outcome.status, outcome.state.receipt) == ("completed", "cash")
    assert outcome.state.step_failure is None


def test_a_failure_route_comes_before_the_question() -> None:
    flow = Workflow(
        "routed",
        state=Payment,
        start=pay,
        routes={pay: [when_failed(review, on=Refused), otherwise(archive)]},
    )
    assert outcome_of(None, flow).path == ["review"]


def test_the_target_of_a_failure_route_can_be_chosen() -> None:
    flow = Workflow(
        "routed-otherwise",
        state=Payment,
        start=pay,
        routes={pay: [when_failed(review, on=OSError), otherwise(archive)]},
    )
    outcome = outcome_of({"choice": "route", "route": "review"}, flow)
    assert outcome.path == [QUESTION, "review"]


def test_the_deadline_ends_the_run_without_a_question() -> None:
    outcome = outcome_of(None, deadline=0)
    assert (outcome.status, outcome.error and outcome.error.is_deadline) == (
        "failed",
        True,
    )


def test_an_untyped_state_loses_and_gains_keys() -> None:
    @node(when_failed=ask("“{s.run_id}” is stuck"))
    def load(state: State) -> State:
        if "path" in state:
            raise OSError("not there")
        return state

    flow = Workflow("open", state=State, start=load, routes={})
    answer = {"choice": "retry", "removed": ["path"], "changes": {"text": "given"}}
    outcome = run_in_memory(flow, {"path": "/x"}, answers={"ask about load": answer})
    assert (outcome.status, dict(outcome.state.data)) == (
        "completed",
        {"text": "given"},
    )


def test_a_setting_of_the_workflow_holds_for_all_of_its_nodes() -> None:
    @node
    def fetch(state: Payment) -> Payment:
        raise OSError("down")

    flow = Workflow(
        "all", state=Payment, start=fetch, routes={fetch: archive}, when_failed=ask()
    )
    assert {"ask about fetch", "ask about archive"} <= {*flow.graph.nodes}
    outcome = run_in_memory(flow, answers={"ask about fetch": {"choice": "skip"}})
    assert outcome.path == ["ask about fetch", "archive"]


def test_failed_items_and_branches_are_asked_about_at_their_node() -> None:
    async def double(item: int) -> int:
        raise OSError(item)

    class Listed(State):
        items: tuple[int, ...] = (1, 2)
        doubled: tuple[int, ...] = ()
        parts: dict[str, Any] = Field(default_factory=dict)

    @node
    def left(state: Listed) -> int:
        raise OSError("left")

    @node
    def right(state: Listed) -> int:
        return 2

    each = parallel(double, over="items", into="doubled", name="each")
    both = branches({"left": left, "right": right}, into="parts", name="both")
    flow = Workflow(
        "listed", state=Listed, start=each, routes={each: both}, when_failed=ask()
    )
    answers = {
        "ask about each": {"choice": "skip", "changes": {"doubled": [2, 4]}},
        "ask about both": {"choice": "skip"},
    }
    outcome = run_in_memory(flow, answers=answers)
    assert outcome.status == "completed"
    assert outcome.state.doubled == (2, 4)
    statuses = {one.node: one.status for one in outcome.stages}
    assert (statuses["left"], statuses["both"]) == ("failed", "failed")


def test_a_question_is_part_of_the_fingerprint_only_where_it_is_used() -> None:
    def flow(**options: Any) -> Workflow[Payment]:
        routes = {review: archive}
        return Workflow("same", state=Payment, start=review, routes=routes, **options)

    assert flow().fingerprint == flow(when_failed=None).fingerprint
    asked = flow(when_failed={review: ask()})
    assert asked.fingerprint != flow().fingerprint
    assert asked.fingerprint == flow(when_failed={review: ask("Hm?")}).fingerprint
    assert asked.differences(flow().shape)[0] == "the node “ask about review” was added"


def test_mistakes_name_the_node_and_the_remedy() -> None:
    @node(when_failed=ask())
    def step(state: Payment) -> Payment:
        return state

    @node(when_failed=ask())
    def item_step(item: int) -> int:
        return item

    def declared(**options: Any) -> Workflow[Payment]:
        given: dict[str, Any] = {"state": Payment, "start": review, "routes": {}}
        return Workflow("wrong", **(given | options))

    both = branches({"a": step, "b": archive}, into="parts", name="both")
    each = parallel(item_step, over="path", into="path", name="each")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"when_failed": "retry"}, "has when_failed='retry': give it ask() for all"),
        ({"when_failed": {archive: ask()}}, "is not a node of its routes"),
        ({"when_failed": {review: 3}}, "“review” has when_failed=3: give it ask()"),
        ({"start": both}, "“step” has when_failed=ask(), and is no step of the routes"),
        (
            {"start": each},
            "“item_step” has when_failed=ask(), and is no step of the routes",
        ),
        ({"on_end": step}, "“step” cannot undo a step or run at the end"),
        (
            {
                "start": step,
                "routes": {step: [when_failed(archive), otherwise(review)]},
            },
            "no approval is ever requested for “step”",
        ),
    ]
    for options, message in wrong:
        with pytest.raises(DefinitionError, match="wrong") as refused:
            declared(**options)
        assert message in str(refused.value)


def test_wrong_arguments_of_ask_are_refused() -> None:
    with pytest.raises(DefinitionError, match="give a timedelta above 0"):
        ask(within=timedelta(0))
    with pytest.raises(DefinitionError, match="knows the state only"):
        ask("{x}")


def test_a_factory_adds_the_question_itself() -> None:
    graph = Graph("plain")
    graph.add_node("pay", pay)
    graph.set_entry_point("pay")
    graph.set_exit_point("pay")
    with pytest.raises(DefinitionError, match=r"call graph\.add_question"):
        graph.validate()
    graph.add_question("pay", ask())
    graph.validate()
    assert [*graph.nodes] == ["pay", QUESTION]
