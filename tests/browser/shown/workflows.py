"""A draft that is refined in a loop with a flaky service, and other content of pages."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from workflows.engine import (
    Node,
    Retry,
    State,
    Workflow,
    approval,
    key,
    node,
    otherwise,
    parallel,
    predicate,
    subworkflow,
    when,
)

if TYPE_CHECKING:
    from workflows.runtime import Runtime

STEPS = 60
_tries: Counter[str] = Counter()


class Wishes(BaseModel):
    """Params of a draft."""

    rounds: int = Field(3, ge=0)
    pace: float = Field(0.02, ge=0, description="Seconds that a step takes.")
    wait: float = Field(0.05, ge=0, description="Seconds between two tries.")
    broken_press: bool = False


class Verdict(BaseModel):
    """The response of the reviewer."""

    outcome: Literal["publish", "again", "reject"]


class Draft(State):
    """State of a run."""

    params: Wishes
    round: int = 0
    confidence: float = 0.2
    texts: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    verdict: Verdict | None = None
    result: str = ""


@node
async def collect(state: Draft, runtime: Runtime) -> Draft:
    """Fetch the texts."""
    await asyncio.sleep(state.params.pace)
    runtime.logger.info("Collected %d texts.", 6)
    return state.set(texts=tuple(f"paragraph {n} " * 12 for n in range(6)))


async def score(text: str, runtime: Runtime) -> float:
    """Score one text."""
    await asyncio.sleep(0.02)
    return len(text) / 200


@node(retry=Retry(attempts=3, on=ConnectionError, wait=1.5))
async def ask_service(state: Draft) -> Draft:
    """Call the service, which succeeds at the second try."""
    await asyncio.sleep(state.params.pace)
    _tries[state.run_id] += 1
    if _tries[state.run_id] < 2:
        raise ConnectionError("the service did not answer within 5 s")
    return state


@node
async def improve(state: Draft, runtime: Runtime) -> Draft:
    """Refine the draft."""
    await asyncio.sleep(state.params.pace)
    runtime.logger.debug("Round %d.", state.round + 1)
    return state.set(round=state.round + 1)


@node
async def judge(state: Draft) -> Draft:
    """Judge the draft."""
    done = state.round / (state.params.rounds or 1)
    return state.set(confidence=round(0.2 + 0.7 * min(done, 1), 3))


@node
async def publish(state: Draft, runtime: Runtime) -> Draft:
    """Publish the draft."""
    runtime.logger.warning("The press is slow today.")
    if state.params.broken_press:
        raise RuntimeError("The press is out of paper.")
    return state.set(result="published")


@node
def reject(state: Draft) -> Draft:
    """Reject the draft."""
    return state.set(result="rejected")


@predicate("{s.round} of {s.params.rounds} rounds are done")
def has_rounds_left(state: Draft) -> bool:
    """Return whether another round is wanted."""
    return state.round < state.params.rounds


@predicate("the reviewer chose “{s.verdict.outcome}”")
def was_approved(state: Draft) -> bool:
    """Return whether the draft was approved."""
    return state.verdict is not None and state.verdict.outcome == "publish"


@predicate("the reviewer chose “{s.verdict.outcome}”")
def is_to_be_refined(state: Draft) -> bool:
    """Return whether the draft is to be refined again."""
    return state.verdict is not None and state.verdict.outcome == "again"


scoring = parallel(score, over="texts", into="scores", limit=3, name="score_texts")
review = approval("Publish this draft?", answer=Verdict, into="verdict", name="review")
refine = Workflow(
    "refine-draft",
    state=Draft,
    start=collect,
    routes={
        collect: scoring,
        scoring: ask_service,
        ask_service: improve,
        improve: judge,
        judge: [when(has_rounds_left, improve), otherwise(review)],
        review: [
            when(was_approved, publish),
            when(is_to_be_refined, improve),
            otherwise(reject),
        ],
    },
)


class Outer(State):
    """State of a run that launches a child run."""

    inner: dict[str, Any] | None = None


@node
def begin(state: Outer) -> Outer:
    """Return the state unchanged."""
    return state


@node
def finish(state: Outer) -> Outer:
    """Return the state unchanged."""
    return state


inner = subworkflow(
    "refine-draft", params=lambda _: {"rounds": 1}, into="inner", name="refine"
)
outer = Workflow(
    "outer-run", state=Outer, start=begin, routes={begin: inner, inner: finish}
)


def step(number: int) -> Node[State, State]:
    """Return a step of the large graph; some names are long."""
    name = f"step_{number:02d}" + ("_with_a_rather_long_name" if not number % 7 else "")

    @node(name=name)
    async def count(state: State) -> State:
        return state.set(n=state.get("n", 0) + 1)

    return count


def large_routes(steps: list[Node[State, State]]) -> dict[Any, Any]:
    """Return edges to the next step, to later steps and to earlier ones."""
    routes: dict[Any, Any] = {}
    for number, one in enumerate(steps[:-1]):
        ways = []
        if number % 5 == 0 and number + 7 < STEPS:
            ways.append(when(key("skip").equals(number), steps[number + 7]))
        if number % 9 == 8:
            ways.append(when(key("n").equals(10**6), steps[number - 6]))
        following = steps[number + 1]
        routes[one] = [*ways, otherwise(following)] if ways else following
    return routes


steps = [step(number) for number in range(STEPS)]
large = Workflow("large-graph", state=State, start=steps[0], routes=large_routes(steps))


LONG = "a_word_without_any_break_" * 12


@node(name="say_a_name_that_is_much_longer_than_a_phone_is_wide_and_has_no_break")
def say(state: State, runtime: Runtime) -> State:
    """Write a long text everywhere."""
    runtime.logger.info(LONG)
    return state.set(said=LONG, **{LONG[:90]: [LONG]})


@predicate("{s.said}")
def is_a_condition_with_a_name_that_is_much_longer_than_a_phone(state: State) -> bool:
    """Return whether the text is long."""
    return bool(state["said"])


@node(name="stop_with_words_that_are_much_longer_than_a_phone_is_wide")
def stop(state: State) -> State:
    """Fail with a long message."""
    raise RuntimeError(state["said"])


long_words = Workflow(
    "long-words",
    state=State,
    start=say,
    routes={
        say: [
            when(is_a_condition_with_a_name_that_is_much_longer_than_a_phone, stop),
            otherwise(stop),
        ]
    },
)
