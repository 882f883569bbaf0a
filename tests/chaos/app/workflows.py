"""Workflows of the chaos suite: each call of a node appends its begin and end to the ledger."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from secrets import token_hex
from typing import Any, Literal

from pydantic import BaseModel

from tests.chaos.ledger import BEGIN, END, Execution, append_execution
from workflows.engine import (
    Limits,
    Node,
    Retry,
    State,
    Workflow,
    approval,
    branches,
    node,
    otherwise,
    parallel,
    predicate,
    sleep,
    subworkflow,
    when,
)
from workflows.runtime import Runtime

PLANNED = "planned failure"  # the message of every failure that belongs to the suite
ITEMS = 6
TIMER = timedelta(seconds=1)
WITHIN = timedelta(seconds=15)  # for a response to an approval


class Order(BaseModel):
    """The params of a launch."""

    order: str  # unique per request
    ledger: str  # path of the file
    pace: float = 0.05  # seconds that a node takes
    rounds: int = 2


class Response(BaseModel):
    """The response to an approval."""

    outcome: Literal["publish", "reject"]


class Case(State):
    """State of a run; `done` has step and token of each recorded call."""

    params: Order
    done: tuple[str, ...] = ()
    worked: int = 0
    items: tuple[str, ...] = ()
    child: dict[str, Any] | None = None
    response: Response | None = None
    parts: dict[str, str] | None = (
        None  # of branches: the token of the last step of each
    )


class Item(BaseModel):
    """One item of a parallel node."""

    number: int
    params: Order


def attempt_of(runtime: Runtime) -> int:
    """Return the attempt that executes a node, which the runtime does not expose."""
    return int(runtime.logger.write.__self__.run.attempt)  # type: ignore[attr-defined]


@contextmanager
def recorded(params: Order, runtime: Runtime) -> Iterator[str]:
    """Append start and end of the call to the ledger; yield its token."""
    run, name, step, *item = runtime.key.split("/")
    call = {
        "run": run.replace("-", ""),
        "node": name,
        "step": int(step),
        "item": int(item[0]) if item else None,
        "attempt": attempt_of(runtime),
        "token": token_hex(6),
    }
    append_execution(params.ledger, Execution(BEGIN, **call))  # type: ignore[arg-type]
    yield str(call["token"])
    append_execution(params.ledger, Execution(END, **call))  # type: ignore[arg-type]


def step_done(state: Case, runtime: Runtime, token: str) -> Case:
    """Return the state with the token of this call."""
    step = runtime.key.split("/")[2]
    return state.append("done", f"{step}/{token}")


@node
async def begin(state: Case, runtime: Runtime) -> Case:
    """Wait on the event loop."""
    with recorded(state.params, runtime) as token:
        runtime.logger.info("order %s", state.params.order)
        await asyncio.sleep(state.params.pace)
        return step_done(state, runtime, token)


@node
async def work(state: Case, runtime: Runtime) -> Case:
    """Wait on the event loop, once in each round."""
    with recorded(state.params, runtime) as token:
        await asyncio.sleep(state.params.pace)
        return step_done(state, runtime, token).set(worked=state.worked + 1)


@node
def compute(state: Case, runtime: Runtime) -> Case:
    """Block a thread."""
    with recorded(state.params, runtime) as token:
        time.sleep(state.params.pace * 2)
        return step_done(state, runtime, token)


@node
def finish(state: Case, runtime: Runtime) -> Case:
    """Return at once."""
    with recorded(state.params, runtime) as token:
        return step_done(state, runtime, token)


@predicate("{s.worked} of {s.params.rounds} rounds")
def needs_more(state: Case) -> bool:
    """Return whether another round follows."""
    return state.worked < state.params.rounds


sequence = Workflow(
    "chaos-sequence",
    state=Case,
    start=begin,
    routes={begin: work, work: [when(needs_more, work), otherwise(finish)]},
)
thread = Workflow("chaos-thread", state=Case, start=compute, routes={compute: finish})


@node
async def visit(item: Item, runtime: Runtime) -> str:
    """Wait on the event loop."""
    with recorded(item.params, runtime) as token:
        await asyncio.sleep(item.params.pace)
        return token


def all_items(state: Case) -> list[Item]:
    """Return the items of the parallel node."""
    return [Item(number=number, params=state.params) for number in range(ITEMS)]


visits = parallel(visit, over=all_items, into="items", limit=2)
spread = Workflow("chaos-items", state=Case, start=visits, routes={visits: finish})


def child_params(state: Case) -> dict[str, Any]:
    """Return the order of a child, which is that of its parent."""
    return state.params.model_dump(mode="json") | {"rounds": 1}


call = subworkflow("chaos-sequence", child_params, "child")
parent = Workflow(
    "chaos-parent", state=Case, start=begin, routes={begin: call, call: finish}
)


@predicate("the response is {s.response.outcome}")
def was_approved(state: Case) -> bool:
    """Return whether the response is to publish."""
    return state.response is not None and state.response.outcome == "publish"


@node
async def publish(state: Case, runtime: Runtime) -> Case:
    """Record a positive response."""
    with recorded(state.params, runtime) as token:
        return step_done(state, runtime, token)


@node
async def reject(state: Case, runtime: Runtime) -> Case:
    """Record a negative response."""
    with recorded(state.params, runtime) as token:
        return step_done(state, runtime, token)


ask = approval(
    "Publish {s.params.order}?",
    answer=Response,
    into="response",
    within=WITHIN,
    on_expiry=Response(outcome="reject"),
)
asking = Workflow(
    "chaos-approval",
    state=Case,
    start=begin,
    routes={begin: ask, ask: [when(was_approved, publish), otherwise(reject)]},
)

pause = sleep(TIMER)
timer = Workflow(
    "chaos-timer", state=Case, start=begin, routes={begin: pause, pause: finish}
)


@node
async def left(state: Case, runtime: Runtime) -> str:
    """Return the token of this call, from a branch of one step."""
    with recorded(state.params, runtime) as token:
        await asyncio.sleep(state.params.pace)
        return token


@node
async def right(state: Case, runtime: Runtime) -> Case:
    """Be the first step of a branch of two."""
    with recorded(state.params, runtime):
        await asyncio.sleep(state.params.pace)
        return state.set(worked=state.worked + 1)


@node
def last_right(state: Case, runtime: Runtime) -> str:
    """Return the token of this call, in a thread."""
    with recorded(state.params, runtime) as token:
        time.sleep(state.params.pace)
        return token


split: Node[Case, Case] = branches(
    {"left": left, "right": [right, last_right]}, into="parts", name="split"
)
branching = Workflow(
    "chaos-branches",
    state=Case,
    start=begin,
    routes={begin: split, split: finish},
)

AT_ONCE = 2  # runs of the limited workflow that are executed at the same time
limited = Workflow(
    "chaos-limited",
    state=Case,
    start=begin,
    routes={begin: work, work: [when(needs_more, work), otherwise(finish)]},
    limits=Limits(at_once=AT_ONCE),
)


@node
async def cancel_order(state: Case, runtime: Runtime) -> Case:
    """Undo the first step."""
    with recorded(state.params, runtime):
        await asyncio.sleep(state.params.pace)
        return state


@node
async def cancel_work(state: Case, runtime: Runtime) -> Case:
    """Undo a round."""
    with recorded(state.params, runtime):
        return state


@node
async def fail_last(state: Case, runtime: Runtime) -> Case:
    """Fail, so that everything before is undone."""
    with recorded(state.params, runtime):
        raise ValueError(PLANNED)


undoing = Workflow(
    "chaos-undo",
    state=Case,
    start=begin,
    routes={begin: work, work: [when(needs_more, work), otherwise(fail_last)]},
    undo={begin: cancel_order, work: cancel_work},
)

_tries: dict[str, int] = {}


@node(retry=Retry(attempts=6, on=ConnectionError, wait=0.1))
async def fail_twice(state: Case, runtime: Runtime) -> Case:
    """Fail twice in each process, then succeed."""
    with recorded(state.params, runtime) as token:
        tries = _tries[runtime.key] = _tries.get(runtime.key, 0) + 1
        if tries in (1, 2):
            raise ConnectionError(PLANNED)
        return step_done(state, runtime, token)


retries = Workflow(
    "chaos-retries",
    state=Case,
    start=begin,
    routes={begin: fail_twice, fail_twice: finish},
)


@node
async def fail_first(state: Case, runtime: Runtime) -> Case:
    """Fail in every second attempt, so that a resume succeeds."""
    with recorded(state.params, runtime) as token:
        await asyncio.sleep(state.params.pace)
        if attempt_of(runtime) % 2:
            raise ValueError(PLANNED)
        return step_done(state, runtime, token)


failing = Workflow(
    "chaos-failing",
    state=Case,
    start=begin,
    routes={begin: fail_first, fail_first: finish},
)


@node
async def kill_process(state: Case, runtime: Runtime) -> Case:
    """Kill the process in the first attempt."""
    with recorded(state.params, runtime) as token:
        await asyncio.sleep(state.params.pace)
        if attempt_of(runtime) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return step_done(state, runtime, token)


fatal = Workflow(
    "chaos-fatal",
    state=Case,
    start=begin,
    routes={begin: kill_process, kill_process: finish},
)


@node
async def block_loop(state: Case, runtime: Runtime) -> Case:
    """Block the event loop for longer than a lease of the suite."""
    with recorded(state.params, runtime) as token:
        time.sleep(state.params.pace * 60)  # noqa: ASYNC251 - the fault itself
        return step_done(state, runtime, token)


blocking = Workflow(
    "chaos-blocking",
    state=Case,
    start=begin,
    routes={begin: block_loop, block_loop: finish},
)
