"""Workflows of the soak test: one for each kind of node, pause and end.

The first node of each stores the time at which it began, from which the latency of a launch
is computed.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from workflows.engine import (
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
from workflows.runtime import Runtime

PAUSE = timedelta(seconds=1)
ITEMS = 6
NODE_SECONDS = 0.05
HANG_SECONDS = 600.0
TEXT = "What a node of the soak test knows. " * 60  # about 2 kB


class Work(BaseModel):
    """How much a run does."""

    rounds: int = 4


class Response(BaseModel):
    """The response to the approval."""

    outcome: Literal["publish", "reject"]


class Job(State):
    """The state of a run; `began` is the time at which its first node began."""

    params: Work
    began: float = 0.0
    rounds: int = 0
    notes: tuple[str, ...] = ()
    items: tuple[int, ...] = ()
    child: dict[str, Any] | None = None
    response: Response | None = None


@node
async def begin(state: Job, runtime: Runtime) -> Job:
    """Store the time."""
    runtime.logger.info("begins")
    return state.set(began=time.time())


@node
async def work(state: Job, runtime: Runtime) -> Job:
    """Wait on the event loop, then extend the state."""
    await asyncio.sleep(NODE_SECONDS)
    runtime.logger.info("round %d", state.rounds)
    return state.append("notes", TEXT).set(rounds=state.rounds + 1)


@node
def compute(state: Job) -> Job:
    """Use a thread and the processor."""
    sum(number & 7 for number in range(100_000))
    return state


@node(isolate=True)
def compute_apart(state: Job) -> Job:
    """Use a child process."""
    return state


@node
async def fail(state: Job) -> Job:  # noqa: ARG001 - the signature of nodes
    """End the run."""
    raise ValueError("This failure is part of the soak test.")


@node
async def hang(state: Job) -> Job:
    """Wait until the run is cancelled."""
    await asyncio.sleep(HANG_SECONDS)
    return state


@node
async def finish(state: Job) -> Job:
    """Return at once."""
    return state


@predicate("{s.rounds} of {s.params.rounds} rounds")
def needs_more(state: Job) -> bool:
    """Return whether there is another round."""
    return state.rounds < state.params.rounds


@predicate("the response is {s.response.outcome}")
def was_approved(state: Job) -> bool:
    """Return whether the response is positive."""
    return state.response is not None and state.response.outcome == "publish"


@node
async def visit(item: int) -> int:
    """Wait on the event loop."""
    await asyncio.sleep(NODE_SECONDS)
    return item


def numbers(state: Job) -> list[int]:  # noqa: ARG001 - the signature of `over`
    """Return the items of the parallel node."""
    return list(range(ITEMS))


def child_params(state: Job) -> dict[str, Any]:  # noqa: ARG001 - likewise
    """Return the params of the child."""
    return {"rounds": 2}


steps = Workflow(
    "soak-steps",
    state=Job,
    start=begin,
    routes={begin: work, work: [when(needs_more, work), otherwise(finish)]},
)
visits = parallel(visit, over=numbers, into="items", limit=3)
items = Workflow(
    "soak-items", state=Job, start=begin, routes={begin: visits, visits: finish}
)
call = subworkflow("soak-steps", child_params, "child")
parent = Workflow(
    "soak-parent", state=Job, start=begin, routes={begin: call, call: finish}
)
pause = sleep(PAUSE)
timer = Workflow(
    "soak-timer", state=Job, start=begin, routes={begin: pause, pause: finish}
)
thread = Workflow(
    "soak-thread", state=Job, start=begin, routes={begin: compute, compute: finish}
)
isolated = Workflow(
    "soak-isolated",
    state=Job,
    start=begin,
    routes={begin: compute_apart, compute_apart: finish},
)
failing = Workflow("soak-failing", state=Job, start=begin, routes={begin: fail})
hanging = Workflow("soak-hanging", state=Job, start=begin, routes={begin: hang})
ask = approval("Publish?", answer=Response, into="response")
asking = Workflow(
    "soak-approval",
    state=Job,
    start=begin,
    routes={begin: ask, ask: [when(was_approved, work), otherwise(finish)]},
)
