"""Workflows with failure routes, events, callbacks, and the first of several waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import BaseModel

from tests.chaos.app.workflows import (
    PLANNED,
    Case,
    begin,
    cancel_order,
    finish,
    recorded,
    step_done,
)
from workflows.engine import (
    Retry,
    Workflow,
    callback,
    event,
    first_of,
    node,
    otherwise,
    predicate,
    sleep,
    when,
    when_failed,
)
from workflows.runtime import Runtime

NOTICE, ANY_NOTICE = "notice", "any-notice"  # names of events
FIRST_AFTER = timedelta(seconds=2)  # about as long as a disturbance


@node(retry=Retry(attempts=2, on=ConnectionError, wait=0.1))
async def fail_always(state: Case, runtime: Runtime) -> Case:
    """Fail in every try."""
    with recorded(state.params, runtime):
        await asyncio.sleep(state.params.pace)
        raise ConnectionError(PLANNED)


@node
async def repair(state: Case, runtime: Runtime) -> Case:
    """Continue after the failure, if the state says which it was."""
    with recorded(state.params, runtime) as token:
        assert state.failure is not None
        assert (state.failure.node, state.failure.tries) == ("fail_always", 2)
        await asyncio.sleep(state.params.pace)
        return step_done(state, runtime, token)


route = Workflow(
    "chaos-route",
    state=Case,
    start=begin,
    routes={
        begin: fail_always,
        fail_always: [when_failed(repair, on=ConnectionError), otherwise(finish)],
        repair: finish,
    },
)


@node
async def fail_repair(state: Case, runtime: Runtime) -> Case:
    """Fail on a failure route, so that the run fails and is undone."""
    with recorded(state.params, runtime):
        raise ValueError(PLANNED)


compensated = Workflow(
    "chaos-compensated",
    state=Case,
    start=begin,
    routes={begin: fail_always, fail_always: [when_failed(fail_repair)]},
    undo={begin: cancel_order},
)


class Notice(BaseModel):
    """What a run waits for."""

    number: str  # unique per message


class Notified(Case):
    """State of a run that waits for a notice."""

    notice: Notice | None = None
    first: str = ""


arrival = event(NOTICE, Notice, into="notice", key=lambda state: state.params.order)
waiting = Workflow(
    "chaos-event",
    state=Notified,
    start=begin,
    routes={begin: arrival, arrival: finish},
)

addresses: dict[str, str] = {}  # by order: the last part of the address


def remember(state: Notified, runtime: Runtime, url: str) -> None:
    """Give the third party the address, as often as the product asks for it."""
    addresses[state.params.order] = url.rstrip("/").rpartition("/")[2]


reply = callback(remember, Notice, into="notice")
calling = Workflow(
    "chaos-callback",
    state=Notified,
    start=begin,
    routes={begin: reply, reply: finish},
)

chance = event(ANY_NOTICE, Notice, into="notice", key=lambda state: state.params.order)
too_late = sleep(FIRST_AFTER)
earliest = first_of(chance, too_late, into="first")


@predicate("{s.first} came first")
def has_notice(state: Notified) -> bool:
    """Return whether the notice arrived before the time was over."""
    return state.notice is not None


@node
async def take_notice(state: Notified, runtime: Runtime) -> Notified:
    """Record that the notice came first."""
    with recorded(state.params, runtime) as token:
        assert state.first == chance.name
        return state.append("done", f"{runtime.key.split('/')[2]}/{token}")


@node
async def give_up(state: Notified, runtime: Runtime) -> Notified:
    """Record that the time was over first."""
    with recorded(state.params, runtime) as token:
        assert state.first == too_late.name
        return state.append("done", f"{runtime.key.split('/')[2]}/{token}")


choosing = Workflow(
    "chaos-first",
    state=Notified,
    start=earliest,
    routes={earliest: [when(has_notice, take_notice), otherwise(give_up)]},
)
