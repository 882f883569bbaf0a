"""Mistakes that would fail only in a run, and dead edges, are refused at import."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator

from workflows.engine import (
    Answer,
    Graph,
    State,
    Workflow,
    always,
    approval,
    key,
    node,
    otherwise,
    parallel,
    predicate,
    sleep,
    when,
)
from workflows.engine.errors import DefinitionError
from workflows.engine.testing import ManualClock, run_in_memory


class Review(BaseModel):
    """A response."""

    outcome: str = "yes"


class Stricter(Review):
    """A response that is a subclass of Review."""


class Address(BaseModel):
    """A model within the state."""

    city: str = ""

    @property
    def label(self) -> str:
        return self.city.upper()


class Case(State):
    """State of these workflows."""

    label: str = ""
    address: Address | None = None
    review: Review | None = None
    pages: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.label.title()


@node
def begin(state: Case) -> Case:
    """Return the state unchanged."""
    return state


@node
def left(state: Case) -> Case:
    """Return the state unchanged: an exit."""
    return state


@node
def right(state: Case) -> Case:
    """Return the state unchanged: another exit."""
    return state


@predicate
def is_fine(state: Case) -> bool:
    """Return whether the state is fine."""
    return bool(state.label)


def workflow(branches: Any) -> Workflow[Case]:
    return Workflow("checked", state=Case, start=begin, routes={begin: branches})


# Edges ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "branches",
    [
        [left, right],
        [otherwise(left), when(is_fine, right)],
        [when(always, left), when(is_fine, right)],
        [when(is_fine, left), otherwise(right), otherwise(left)],
        [when(is_fine, left), when(is_fine, right), otherwise(left)],
    ],
)
def test_an_edge_that_is_never_taken_is_refused(branches: Any) -> None:
    with pytest.raises(DefinitionError, match="is never taken") as caught:
        workflow(branches)
    assert caught.value.code == "check.dead_edge"
    assert "from “begin” to “" in str(caught.value)


def test_a_graph_without_a_declaration_may_have_such_an_edge() -> None:
    graph = Graph("g")
    for name in ("a", "b", "c"):
        graph.add_node(name, left)
    graph.add_edge("a", "b")
    graph.add_edge("a", "c")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    graph.set_exit_point("c")
    graph.validate()


# Names ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n" * 201, "a\x00b", "a\nb", "a\ud800"])
def test_a_node_with_a_name_too_long_for_a_row_is_refused(name: str) -> None:
    named = node(name=name)(lambda state: state)
    with pytest.raises(DefinitionError, match="a node cannot be called") as caught:
        Workflow("checked", state=Case, start=named, routes={})
    assert caught.value.code == "build.node_name"


def test_a_name_of_the_maximum_length_is_accepted() -> None:
    named = node(name="ñ" * 200)(lambda state: state)
    Workflow("checked", state=Case, start=named, routes={})


# Answers ----------------------------------------------------------------------------


def approval_workflow(into: Any) -> Workflow[Any]:
    """Return a workflow that puts a Review into a field of that type."""
    state = type("Asked", (State,), {"__annotations__": {"field": into}, "field": None})
    ask = approval("Right?", answer=Review, into="field", name="ask")
    return Workflow("asking", state=state, start=ask, routes={})


@pytest.mark.parametrize(
    "into",
    [
        Review | None,
        Any,
        Review | str | None,
        BaseModel | None,
        Annotated[Review | None, "a note"],
        Annotated[str | None, BeforeValidator(lambda value: value and value.outcome)],
        object,
    ],
    ids=[
        "optional",
        "any",
        "union",
        "base class",
        "annotated",
        "validated",
        "object",
    ],
)
def test_a_field_that_fits_the_response_is_accepted(into: Any) -> None:
    approval_workflow(into)


@pytest.mark.parametrize(
    "into",
    [
        str | None,
        Address | None,
        Stricter | None,
        dict[str, Any] | None,
        tuple[Review, ...] | None,
        Literal["yes"] | None,
        None,
    ],
)
def test_a_field_that_does_not_fit_the_response_is_refused(into: Any) -> None:
    with pytest.raises(DefinitionError, match="puts a Review into “field”") as caught:
        approval_workflow(into)
    assert caught.value.code == "check.answer_type"


# Templates --------------------------------------------------------------------------

RIGHT = (
    "{s.label} {s.title} {s.run_id} {s.address.city} {s.address.label} {s[label]}",
    "{s.pages[0]} {s.label.anything} {s.label:{s.pages}} {{s.fild}}",
)
WRONG = {
    "{s.fild}": "Case has no field “fild”",
    "{s.lable}": "Case has no field “lable”",
    "{s[lable]}": "Case has no field “lable”",
    "{s.address.town}": "Address has no field “town”",
    "{s.label:{s.width}}": "Case has no field “width”",
}


@pytest.mark.parametrize("template", RIGHT)
def test_a_template_of_existing_fields_is_accepted(template: str) -> None:
    condition: Any = predicate(template)(lambda _state: True)
    workflow([when(condition, left), otherwise(right)])
    ask = approval(template, answer=Review, into="review", name="ask")
    Workflow("checked", state=Case, start=ask, routes={})


@pytest.mark.parametrize("template", WRONG)
def test_a_template_of_a_field_that_does_not_exist_is_refused(template: str) -> None:
    ask = approval(template, answer=Review, into="review", name="ask")
    with pytest.raises(DefinitionError, match=WRONG[template]) as caught:
        Workflow("checked", state=Case, start=ask, routes={})
    assert caught.value.code == "check.template"
    condition: Any
    for condition in (
        predicate(template)(lambda _state: True),
        predicate("fine", otherwise=template)(lambda _state: True),
        is_fine
        & ~(key("label").equals("a") | predicate(template)(lambda _state: True)),
    ):
        with pytest.raises(DefinitionError, match=WRONG[template]):
            workflow([when(condition, left), otherwise(right)])


def test_an_open_state_accepts_any_template_and_any_response() -> None:
    ask = approval("Is {s.anything} right?", answer=Review, into="review", name="ask")
    Workflow("checked", state=State, start=ask, routes={})


# Tests in memory --------------------------------------------------------------------


def test_a_test_clock_records_waits_and_advances_to_the_expiry_of_an_approval() -> None:
    nap = sleep(timedelta(minutes=5), name="nap")
    ask = approval(
        "Right?",
        answer=Review,
        into="review",
        within=timedelta(days=3),
        on_expiry=Review(outcome="no"),
        name="ask",
    )
    flow = Workflow("timed", state=Case, start=nap, routes={nap: ask, ask: left})
    clock = ManualClock()
    began = clock.now()
    outcome = run_in_memory(flow, clock=clock, answers={ask: Answer(expired=True)})
    assert outcome.status == "completed"
    assert outcome.state.review == Review(outcome="no")
    assert clock.slept == [300]
    assert clock.now() == began + timedelta(minutes=5, days=3)


def test_the_repr_of_an_outcome_includes_the_reason() -> None:
    @node
    def breaks(state: Case) -> Case:
        raise ValueError("no such page")

    flow = Workflow("w", state=Case, start=begin, routes={begin: breaks})
    failed = repr(run_in_memory(flow))
    assert "failed after begin: At “breaks”: the node failed: no such page" in failed
    ask = approval("Is “{s.label}” right?", answer=Review, into="review", name="ask")
    waits = repr(run_in_memory(Workflow("w", state=Case, start=ask, routes={})))
    assert "waiting after no step: “ask” Is “” right?" in waits


def test_a_parallel_node_is_not_checked_as_an_approval() -> None:
    pages = parallel(len, over="pages", into="pages", name="pages")
    Workflow("checked", state=Case, start=pages, routes={})
