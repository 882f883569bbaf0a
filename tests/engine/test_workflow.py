"""Declared workflows: a table of routes, checked at import."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field, ValidationError

from workflows.engine import (
    DefinitionError,
    DefinitionWarning,
    Graph,
    GraphConfig,
    Node,
    Retry,
    State,
    Workflow,
    approval,
    node,
    otherwise,
    parallel,
    predicate,
    sleep,
    subworkflow,
    when,
)
from workflows.engine.testing import ManualClock, run_in_memory, run_in_memory_async

DOCUMENT = uuid4()


class AgentUnavailable(Exception):
    """The agent is unavailable."""


class Params(BaseModel):
    document: UUID = Field(title="Document")
    threshold: float = Field(
        0.8, ge=0, le=1, description="Publish unseen at or above this."
    )


class Verdict(BaseModel):
    label: str
    confidence: float


class Review(BaseModel):
    outcome: Literal["publish", "judge again", "reject"]


class Classification(State):
    params: Params
    pages: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    label: str = ""
    confidence: float = 0.0
    review: Review | None = None
    summary: dict[str, Any] | None = None
    outcome: str = ""


class Runtime:
    """Documents that are texts, and an agent that is sometimes unavailable."""

    def __init__(self, *pages: str, away: int = 0) -> None:
        self.pages = pages
        self.away = away

    async def read(self, _document: UUID) -> tuple[str, ...]:
        return self.pages

    async def ask(self, page: str) -> Verdict:
        if self.away:
            self.away -= 1
            raise AgentUnavailable
        label, sure = page.split()
        return Verdict(label=label, confidence=float(sure))


@node(timeout=60)
async def read_pages(state: Classification, runtime: Runtime) -> Classification:
    """Fetch the text of every page."""
    return state.set(pages=await runtime.read(state.params.document))


@node(retry=Retry(attempts=3, on=AgentUnavailable), timeout=120)
async def judge_page(page: str, runtime: Runtime) -> Verdict:
    """Classify one page."""
    return await runtime.ask(page)


@node
def weigh(state: Classification, runtime: Runtime) -> Classification:
    """Take the most common label, with the confidence of its pages."""
    label, _ = Counter(verdict.label for verdict in state.verdicts).most_common(1)[0]
    sure = [verdict.confidence for verdict in state.verdicts if verdict.label == label]
    return state.set(label=label, confidence=sum(sure) / len(sure))


@node
async def publish(state: Classification, runtime: Runtime) -> Classification:
    return state.set(outcome="published")


@node
async def reject(state: Classification, runtime: Runtime) -> Classification:
    return state.set(outcome="rejected")


@predicate("confidence {s.confidence:.0%}, threshold {s.params.threshold:.0%}")
def is_confident(state: Classification) -> bool:
    return state.confidence >= state.params.threshold


@predicate("the reviewer chose “{s.review.outcome}”")
def was_approved(state: Classification) -> bool:
    return state.review is not None and state.review.outcome == "publish"


judge_pages = parallel(judge_page, over="pages", into="verdicts", limit=4)
review = approval(
    "Is “{s.label}” right?", answer=Review, into="review", within=timedelta(days=3)
)
summarize = subworkflow(
    "summarize", params=lambda s: {"document": s.params.document}, into="summary"
)

classify = Workflow(
    "classify-document",
    state=Classification,
    start=read_pages,
    routes={
        read_pages: judge_pages,
        judge_pages: weigh,
        weigh: [when(is_confident, publish), otherwise(review)],
        review: [when(was_approved, publish), otherwise(reject)],
        publish: summarize,
    },
)

PARAMS = {"document": str(DOCUMENT)}
SUMMARY = {"summarize": {"text": "short"}}


def a_state(**values: Any) -> Classification:
    return Classification(params=Params(document=DOCUMENT), **values)


def test_the_table_is_the_graph() -> None:
    shape = classify.shape
    assert (shape.entry, shape.exits) == ("read_pages", ("reject", "summarize"))
    assert [(n.name, n.kind) for n in shape.nodes] == [
        ("read_pages", "node"),
        ("judge_pages", "parallel"),
        ("weigh", "node"),
        ("publish", "node"),
        ("review", "approval"),
        ("reject", "node"),
        ("summarize", "subworkflow"),
    ]
    branches = [(e.source, e.target, e.predicate) for e in shape.edges_from("weigh")]
    assert branches == [("weigh", "publish", "is_confident"), ("weigh", "review", "")]
    assert (classify.title, classify.params_type) == ("Classify document", Params)


def test_a_label_below_the_threshold_goes_to_review() -> None:
    to, decisions = classify.graph.next(weigh, a_state(label="invoice", confidence=0.7))
    assert to is review
    assert decisions[0].reason == "confidence 70%, threshold 80%"


def test_a_label_above_the_threshold_is_published_without_review() -> None:
    outcome = run_in_memory(
        classify, PARAMS, runtime=Runtime("a 0.9", "a 1.0"), answers=SUMMARY
    )
    assert outcome.status == "completed"
    assert outcome.path == [
        "read_pages",
        "judge_pages",
        "weigh",
        "publish",
        "summarize",
    ]
    assert outcome.state.outcome == "published"
    assert outcome.state.summary == {"text": "short"}
    (decision,) = [d for d in outcome.decisions if d.source == "weigh"]
    assert decision.reason == "confidence 95%, threshold 80%"


def test_an_uncertain_label_waits_for_the_reviewer() -> None:
    outcome = run_in_memory(classify, PARAMS, runtime=Runtime("a 0.5"))
    assert outcome.status == "waiting"
    assert outcome.pause is not None
    assert outcome.pause.question == "Is “a” right?"
    assert [(stage.node, stage.status) for stage in outcome.stages][-1] == (
        "review",
        "waiting",
    )
    assert outcome.state.label == "a"


def test_the_response_of_the_reviewer_decides() -> None:
    answers = {review: Review(outcome="reject")}
    outcome = run_in_memory(classify, PARAMS, runtime=Runtime("a 0.5"), answers=answers)
    assert (outcome.status, outcome.state.outcome) == ("completed", "rejected")
    reasons = [d.reason for d in outcome.decisions if d.source == "review"]
    assert reasons == ["the reviewer chose “reject”", "always"]


def test_retries_pass_without_waiting_and_show_on_the_clock() -> None:
    clock = ManualClock()
    runtime = Runtime("a 0.9", away=2)
    outcome = run_in_memory(
        classify, PARAMS, runtime=runtime, answers=SUMMARY, clock=clock
    )
    assert outcome.status == "completed"
    assert clock.slept == [1.0, 2.0]


def test_a_failed_run_reports_where_and_why() -> None:
    outcome = run_in_memory(classify, PARAMS, runtime=Runtime("a 0.9", away=9))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.node == "judge_pages"
    assert outcome.stages[-1].status == "failed"
    assert "AgentUnavailable" in outcome.stages[-1].error


async def test_an_async_test_runs_it_too() -> None:
    runtime = Runtime("a 0.9")
    outcome = await run_in_memory_async(
        classify, PARAMS, runtime=runtime, answers=SUMMARY
    )
    assert outcome.status == "completed"
    same = run_in_memory(classify, PARAMS, runtime=runtime, answers=SUMMARY)
    assert same.state == outcome.state


def test_params_are_checked_before_anything_runs() -> None:
    with pytest.raises(ValidationError, match="threshold"):
        run_in_memory(classify, {"document": str(DOCUMENT), "threshold": 2})
    assert classify.params_of(PARAMS) == Params(document=DOCUMENT)
    assert classify.params_of(Params(document=DOCUMENT)) == Params(document=DOCUMENT)


def test_a_workflow_is_a_factory_like_any_other() -> None:
    graph = Graph("any", GraphConfig(observer="noop"))
    state = classify(graph, None, PARAMS)
    assert state.params.document == DOCUMENT
    assert graph.describe().edges == classify.graph.describe().edges
    assert graph.check() == []


class Bag(BaseModel):
    size: int
    name: str = "x"


@node
async def touch(state: State) -> State:
    return state


def test_the_graph_of_a_run_can_be_extended_without_changing_the_workflow() -> None:
    one, other = Graph("one"), Graph("other")
    for graph in (one, other):
        classify(graph, None, {"document": DOCUMENT})
    one.add_node("extra", lambda state: state)
    one.set_exit_point("extra")
    one.add_edge("extra", one.entry)
    assert other.describe() == classify.graph.describe()
    assert len(one.describe().edges) == len(other.describe().edges) + 1


def test_a_workflow_is_added_to_a_graph_that_has_nodes() -> None:
    graph = Graph("larger")
    graph.add_node("extra", lambda state: state)
    classify(graph, None, {"document": DOCUMENT})
    assert set(graph.nodes) == {"extra", *classify.graph.nodes}


def test_params_of_an_open_state_become_its_values() -> None:
    bag = Workflow("bag", state=State, start=touch, routes={}, params=Bag)
    assert dict(bag.initial({"size": 3}).data) == {"size": 3, "name": "x"}
    with pytest.raises(ValidationError):
        bag.initial({})
    free = Workflow("free", state=State, start=touch, routes={})
    assert dict(free.initial({"a": 1}).data) == {"a": 1}
    assert dict(free.initial().data) == {}


class Plain(State):
    done: bool = False


@node
async def one(state: Plain) -> Plain:
    return state


@node
async def two(state: Plain) -> Plain:
    return state.set(done=True)


@node
async def three(state: Plain) -> Plain:
    return state


@predicate
def is_done(state: Plain) -> bool:
    return state.done


def test_an_unreachable_node_is_refused_by_name() -> None:
    with pytest.raises(DefinitionError, match="no route leads to “three”"):
        Workflow("w", state=Plain, start=one, routes={one: two, three: two})


def test_a_loop_without_an_exit_is_refused_by_name() -> None:
    with pytest.raises(DefinitionError, match="no exit can be reached from “two”"):
        Workflow(
            "w",
            state=Plain,
            start=one,
            routes={one: [when(is_done, three), otherwise(two)], two: two},
        )
    with pytest.raises(DefinitionError, match=r"no run can end.*“one”, “two”"):
        Workflow("w", state=Plain, start=one, routes={one: two, two: one})


def test_a_branch_without_otherwise_is_warned_of() -> None:
    with pytest.warns(DefinitionWarning, match="“one”.*otherwise"):
        Workflow("w", state=Plain, start=one, routes={one: [when(is_done, two)]})


def test_an_empty_route_is_refused() -> None:
    with pytest.raises(DefinitionError, match="empty"):
        Workflow("w", state=Plain, start=one, routes={one: []})


def test_a_function_that_is_no_node_is_refused() -> None:
    def plain(state: Plain) -> Plain:
        return state

    with pytest.raises(DefinitionError, match="put @node"):
        Workflow("w", state=Plain, start=one, routes={one: plain})  # type: ignore[dict-item]


def test_a_pattern_without_a_variable_or_a_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match="a wait node has no name"):
        Workflow("w", state=Plain, start=one, routes={one: sleep(timedelta(1))})


def test_a_pattern_is_named_after_its_global_or_local_variable() -> None:
    nap = sleep(timedelta(hours=1))
    named = sleep(timedelta(hours=1), name="siesta")
    workflow = Workflow("w", state=Plain, start=one, routes={one: nap, nap: named})
    assert workflow.shape.names == ("one", "nap", "siesta")


def test_two_nodes_of_one_name_are_refused() -> None:
    other: Node[Plain, Plain] = node(name="two")(one.function)
    with pytest.raises(DefinitionError, match="“two” exists already"):
        Workflow("w", state=Plain, start=one, routes={one: two, two: other})


def test_a_workflow_needs_a_name() -> None:
    with pytest.raises(DefinitionError, match="name"):
        Workflow(" ", state=Plain, start=one, routes={})


# run_in_memory itself


def test_waits_pass_at_once() -> None:
    nap = sleep(timedelta(days=30))
    workflow = Workflow("w", state=Plain, start=one, routes={one: nap, nap: two})
    clock = ManualClock()
    began = clock.now()
    outcome = run_in_memory(workflow, clock=clock)
    assert outcome.status == "completed"
    assert clock.now() == began + timedelta(days=30)


def test_a_child_workflow_runs_in_memory_too() -> None:
    @node
    async def shorten(state: State) -> State:
        return state.set(text=f"about {state['document'][:4]}")

    child = Workflow("summarize", state=State, start=shorten, routes={})
    outcome = run_in_memory(
        classify, PARAMS, runtime=Runtime("a 0.9"), subworkflows={"summarize": child}
    )
    assert outcome.state.summary is not None
    assert outcome.state.summary["text"] == f"about {str(DOCUMENT)[:4]}"


def test_a_child_that_fails_fails_the_node() -> None:
    @node
    async def breaks(state: State) -> State:
        raise ValueError("no words")

    child = Workflow("summarize", state=State, start=breaks, routes={})
    outcome = run_in_memory(
        classify, PARAMS, runtime=Runtime("a 0.9"), subworkflows={"summarize": child}
    )
    assert outcome.status == "failed"
    assert "“summarize”" in str(outcome.error)
    assert "no words" in str(outcome.error)


def test_secrets_reach_the_nodes_also_after_a_pause() -> None:
    @node
    async def reveal(state: Plain) -> Plain:
        return state.set(done=state.secret("token") == "s3cret")

    nap = sleep(timedelta(hours=1))
    workflow = Workflow("w", state=Plain, start=one, routes={one: nap, nap: reveal})
    outcome = run_in_memory(workflow, secrets={"token": "s3cret"})
    assert outcome.state.done
    assert "s3cret" not in repr(outcome.events)


def test_circular_answers_are_reported_instead_of_looping() -> None:
    ask = approval("Again?", answer=Review, into="review")
    workflow = Workflow(
        "w",
        state=Classification,
        start=ask,
        routes={ask: [when(was_approved, publish), otherwise(ask)]},
    )
    answer = {"outcome": "judge again"}
    with pytest.raises(RuntimeError, match="circle"):
        run_in_memory(workflow, PARAMS, answers={"ask": answer})
    given = iter(["judge again", "publish"])
    outcome = run_in_memory(
        workflow, PARAMS, answers={"ask": lambda _: {"outcome": next(given)}}
    )
    assert outcome.state.outcome == "published"


class Basket(State):
    """State of the workflows below."""

    items: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()
    kept: bool = False


class Keep(BaseModel):
    """A response."""

    keep: bool


@node
def double_one(item: int) -> int:
    """Double an item."""
    return item * 2


@node
def leave(basket: Basket) -> Basket:
    """Return the state unchanged."""
    return basket


@pytest.mark.parametrize(
    ("over", "into", "slip"),
    [("itms", "doubled", "itms"), ("items", "duobled", "duobled")],
)
def test_a_misspelt_field_of_a_parallel_node_is_found_at_import(
    over: str, into: str, slip: str
) -> None:
    doubles = parallel(double_one, over=over, into=into, name="doubles")
    with pytest.raises(
        DefinitionError, match=f"“{slip}”.* it has items, doubled, kept"
    ):
        Workflow("slips", state=Basket, start=doubles, routes={doubles: leave})


def test_a_misspelt_field_of_an_approval_is_refused_at_import() -> None:
    ask = approval("Keep {s.items}?", answer=Keep, into="kep", name="ask")
    with pytest.raises(DefinitionError, match="“ask” stores its result in “kep”"):
        Workflow("slips", state=Basket, start=ask, routes={ask: leave})


@pytest.mark.parametrize("question", ["Pay {amount}?", "Pay {}?", "Pay {s.amount?"])
def test_a_question_that_no_state_could_fill_is_found_at_import(question: str) -> None:
    with pytest.raises(DefinitionError, match="The question"):
        approval(question, answer=Keep, into="kept")
