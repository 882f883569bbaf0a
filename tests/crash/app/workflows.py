"""Workflows whose nodes append a line to a file on each execution."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from tests.crash.app import deadly
from tests.crash.app.waits import asking, limited, numbers, transferring
from workflows.engine import (
    State,
    Vote,
    Workflow,
    approval,
    branches,
    continue_as_new,
    launch,
    node,
    otherwise,
    parallel,
    subworkflows,
    when,
    when_failed,
)
from workflows.runtime import Runtime

WAITS = (
    asking,
    limited,
    numbers,
    transferring,
)  # registered with the workflows of this module

if "KILL_AT" in os.environ:
    deadly.arm(os.environ["KILL_AT"])
if "KILL_IN" in os.environ:
    deadly.arm_call(os.environ["KILL_IN"])

HELD_FROM = 5  # the first item that waits


class Params(BaseModel):
    """The trace file, and the duration of nodes."""

    trace: str  # path of the file
    rounds: int = 3
    seconds: float = 0.0  # each node takes this long
    hold: str = ""  # path of a file: the second node waits until it exists


class Count(State):
    """State of a counting run."""

    params: Params
    done: int = 0
    steps: tuple[str, ...] = ()
    visited: tuple[int, ...] = ()
    started: str = ""  # id of the run that was launched
    children: tuple[dict[str, Any], ...] = ()  # results of child runs
    joined: dict[str, str] = Field(default_factory=dict)


def leave_trace(state: Count, runtime: Runtime) -> None:
    """Append the key of the step and the process id to the file atomically."""
    line = f"{runtime.key} {os.getpid()}\n"
    file = os.open(state.params.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def held(state: Count) -> bool:
    """Return whether the file that the run waits for is missing."""
    return bool(state.params.hold) and not Path(state.params.hold).exists()


@node
async def begin(state: Count, runtime: Runtime) -> Count:
    """Leave a trace."""
    leave_trace(state, runtime)
    await asyncio.sleep(state.params.seconds)
    return state.append("steps", runtime.key)


@node
async def work(state: Count, runtime: Runtime) -> Count:
    """Write a trace, and wait for the file of the test."""
    leave_trace(state, runtime)
    await asyncio.sleep(state.params.seconds)
    while held(state):  # noqa: ASYNC110 - the file is created by another process
        await asyncio.sleep(0.01)
    return state.append("steps", runtime.key).set(done=state.done + 1)


@node
def finish(state: Count, runtime: Runtime) -> Count:
    """Leave a trace."""
    leave_trace(state, runtime)
    return state.append("steps", runtime.key)


def needs_more(state: Count) -> bool:
    """Return whether another round follows."""
    return state.done < state.params.rounds


count = Workflow(
    "count",
    state=Count,
    start=begin,
    routes={
        begin: work,
        work: [when(needs_more, work), otherwise(finish)],
    },
)


@node
def cancel(state: Count, runtime: Runtime) -> Count:
    """Leave a trace."""
    leave_trace(state, runtime)
    return state.append("steps", f"cancelled after {len(state.steps)}")


@node(undo=cancel)
def book(state: Count, runtime: Runtime) -> Count:
    """Leave a trace."""
    leave_trace(state, runtime)
    return state.append("steps", runtime.key)


@node
def pay(state: Count, runtime: Runtime) -> Count:
    """Leave a trace, and fail."""
    leave_trace(state, runtime)
    raise ValueError("no cover")


@node
def call_bank(state: Count, runtime: Runtime) -> Count:
    """Leave a trace, and fail on the failure route."""
    leave_trace(state, runtime)
    raise ValueError(f"{state.failure.message if state.failure else None}, no answer")


@node
def notify(state: Count, runtime: Runtime) -> Count:
    """Leave a trace."""
    leave_trace(state, runtime)
    return state


def is_booked(state: Count) -> bool:
    """Return whether both bookings were made."""
    return len(state.steps) > 1


saga = Workflow(
    "saga",
    state=Count,
    start=book,
    routes={
        book: [when(is_booked, pay), otherwise(book)],
        pay: [when_failed(call_bank)],
    },
    on_end=notify,
)


class Consent(BaseModel):
    """A response to an approval."""

    ok: bool = True


class Decided(State):
    """State with the votes of an approval."""

    params: Params
    votes: tuple[Vote[Consent], ...] = ()
    steps: tuple[str, ...] = ()


@node
def close(state: Decided, runtime: Runtime) -> Decided:
    """Record the persons who voted."""
    return state.set(steps=tuple(vote.by for vote in state.votes))


board = approval("Right?", Consent, "votes", votes=2, name="board")
decided = Workflow("decided", state=Decided, start=board, routes={board: close})


class Visit(BaseModel):
    """One item of a parallel node."""

    number: int
    params: Params


@node
async def visit(item: Visit, runtime: Runtime) -> int:
    """Write a trace; items from the sixth wait for the test."""
    state = Count(params=item.params)
    leave_trace(state, runtime)
    while item.number >= HELD_FROM and held(state):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.01)
    return item.number * 10


def all_visits(state: Count) -> list[Visit]:
    """Return eight items."""
    return [Visit(number=number, params=state.params) for number in range(8)]


visits = parallel(visit, over=all_visits, into="visited", limit=1)

spread = Workflow("spread", state=Count, start=visits, routes={visits: finish})


start_count = launch(
    count, lambda s: {"trace": s.params.trace, "rounds": 0}, into="started"
)


def has_rounds(state: Count) -> bool:
    """Return whether another run follows."""
    return state.params.rounds > 1


def next_round(state: Count) -> Params:
    """Return the params of the next run."""
    return state.params.model_copy(update={"rounds": state.params.rounds - 1})


start_next = continue_as_new(next_round)
loop = Workflow(
    "loop",
    state=Count,
    start=start_count,
    routes={start_count: [when(has_rounds, start_next), otherwise(finish)]},
    on_end=notify,
)


def elements(state: Count) -> list[int]:
    """Return an element for each round."""
    return list(range(state.params.rounds))


def params_of_child(state: Count, number: int) -> Params:
    """Return the params of the child run of an element, whose number is its duration."""
    return Params(trace=state.params.trace, rounds=0, seconds=number / 1_000)


each_child = subworkflows(
    count, over=elements, params=params_of_child, into="children", limit=2
)
family = Workflow("family", state=Count, start=each_child, routes={})


@node
async def left(state: Count, runtime: Runtime) -> Count:
    """Leave a trace."""
    leave_trace(state, runtime)
    return state.append("steps", runtime.key)


@node
async def left_again(state: Count, runtime: Runtime) -> str:
    """Leave a trace; return what the branch did."""
    leave_trace(state, runtime)
    return " ".join([*state.steps, runtime.key])


@node
def right(state: Count, runtime: Runtime) -> str:
    """Leave a trace, in a thread."""
    leave_trace(state, runtime)
    return " ".join([*state.steps, runtime.key])


@node
async def write_files(state: Count, runtime: Runtime) -> Count:
    """Leave a trace, and make a file for each round; each is a commit."""
    leave_trace(state, runtime)
    add = runtime.documents.add
    made = [
        await add(f"{number}.txt", f"round {number}")
        for number in range(state.params.rounds)
    ]
    return state.append("steps", " ".join(map(str, made)))


filing = Workflow(
    "filing", state=Count, start=write_files, routes={write_files: finish}
)


both = branches({"left": [left, left_again], "right": right}, into="joined")

lanes = Workflow("lanes", state=Count, start=both, routes={both: finish})
