"""Steps that say what time it is, in the log or in the result, and steps that do nothing."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import BaseModel

from workflows.engine import Node, State, Workflow, node, otherwise, predicate, when

if TYPE_CHECKING:
    from workflows.runtime import Runtime


class Pace(BaseModel):
    """How many rounds, and how fast."""

    rounds: int = 60
    seconds: float = 0.5  # a round


class Ticking(State):
    """The state of a run."""

    params: Pace
    round: int = 0


@node
async def tick(state: Ticking, runtime: Runtime) -> Ticking:
    """Wait, then say what time it is."""
    await asyncio.sleep(state.params.seconds)
    runtime.logger.info("tick %.4f", time.time())
    return state.set(round=state.round + 1)


@node
def end(state: Ticking) -> Ticking:
    """Have it done."""
    return state


@predicate("round {s.round} of {s.params.rounds}")
def goes_on(state: Ticking) -> bool:
    """Return whether there is another round."""
    return state.round < state.params.rounds


ticking = Workflow(
    "bench-ticking",
    state=Ticking,
    start=tick,
    routes={tick: [when(goes_on, tick), otherwise(end)]},
)


class Moment(State):
    """When the only step began, on this machine's monotonic clock."""

    at: float = 0.0


@node
def now(state: Moment) -> Moment:
    """Say what time it is."""
    return state.set(at=time.monotonic())


moment = Workflow("bench-moment", state=Moment, start=now, routes={})


def _empty(number: int) -> Node[State, State]:
    @node(name=f"n{number}")
    async def step(state: State) -> State:
        return state

    return step


_steps = [_empty(number) for number in range(10)]
steps = Workflow(
    "bench-steps", state=State, start=_steps[0], routes=dict(pairwise(_steps))
)
