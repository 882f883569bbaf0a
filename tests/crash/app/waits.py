"""Workflows that wait for events and callbacks, and one whose runs are limited."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from pydantic import BaseModel

from tests.crash.app.traces import leave_line
from workflows.engine import (
    Limits,
    State,
    Workflow,
    ask,
    callback,
    event,
    node,
)
from workflows.runtime import Runtime


class Params(BaseModel):
    """The trace file, and what selects the messages of a run."""

    trace: str  # path of the file
    key: str = ""
    hold: str = ""  # path of a file: a node that has begun waits until it exists
    seconds: float = 0.0  # the limited node takes this long


class Number(BaseModel):
    """A message."""

    number: int


class Waiting(State):
    """State of a run that waits."""

    params: Params
    first: Number | None = None
    second: Number | None = None
    receipt: Number | None = None


def key_of(state: Waiting) -> str:
    """Return the key of the messages for a run."""
    return state.params.key


def request(state: Waiting, runtime: Runtime, url: str) -> None:
    """Write the address to the trace, and wait for the file."""
    leave_line(state.params.trace, "asked", url)
    while state.params.hold and not Path(state.params.hold).exists():
        time.sleep(0.02)


@node
async def work(state: Waiting, runtime: Runtime) -> Waiting:
    """Write to the trace when it begins and ends."""
    leave_line(state.params.trace, "began", runtime.key)
    await asyncio.sleep(state.params.seconds)
    leave_line(state.params.trace, "ended", runtime.key)
    return state


first = event("number", Number, "first", key=key_of, name="first")
second = event("number", Number, "second", key=key_of, name="second")
numbers = Workflow("numbers", state=Waiting, start=first, routes={first: second})

asked = callback(request, Number, "receipt", name="asked")
asking = Workflow("asking", state=Waiting, start=asked, routes={})

AT_ONCE = 2
limited = Workflow(
    "limited", state=Waiting, start=work, routes={}, limits=Limits(at_once=AT_ONCE)
)


class Transfer(State):
    """State of a run whose step fails until its input is edited."""

    params: Params
    iban: str = "wrong"


@node(when_failed=ask())
def transfer(state: Transfer, runtime: Runtime) -> Transfer:
    """Fail with the wrong input; else wait for the file."""
    leave_line(state.params.trace, "tried", state.iban)
    if state.iban == "wrong":
        raise LookupError("no such account")
    while state.params.hold and not Path(state.params.hold).exists():
        time.sleep(0.02)
    return state


transferring = Workflow("transferring", state=Transfer, start=transfer, routes={})
