"""Workflows that attempt to end the process in different ways, and one that completes."""

from __future__ import annotations

import asyncio
import sys

from pydantic import BaseModel

from workflows.engine import State, Workflow, node, parallel


class Params(BaseModel):
    """Params of all workflows."""

    trace: str = ""


class Case(State):
    """State of these runs."""

    params: Params
    items: tuple[int, ...] = (1, 2, 3, 4)
    out: tuple[int, ...] = ()


class Foreign(BaseException):
    """A BaseException that is not an Exception."""


@node
async def wait_a_while(state: Case) -> Case:
    """Run while the other runs are executed."""
    for _ in range(10):
        await asyncio.sleep(0.1)
    return state


@node
def end(state: Case) -> Case:
    """Return the state unchanged."""
    return state


innocent = Workflow(
    "innocent", state=Case, start=wait_a_while, routes={wait_a_while: end}
)


def leave_at_three(item: int) -> int:
    """Exit from an item."""
    if item == 3:
        sys.exit(3)
    return item


leaving = parallel(leave_at_three, over="items", into="out", fail_fast=False)


@node
def interrupt(state: Case) -> Case:
    """Raise KeyboardInterrupt."""
    raise KeyboardInterrupt


@node
async def interrupt_in_a_task(state: Case) -> Case:
    """Raise KeyboardInterrupt in a task that the engine does not await."""
    await asyncio.create_task(leave(KeyboardInterrupt()))
    return state


@node
async def exit_in_a_task(state: Case) -> Case:
    """Raise SystemExit in a task that the engine does not await."""
    await asyncio.gather(leave(SystemExit(3)), asyncio.sleep(60))
    return state


async def leave(error: BaseException) -> None:
    """Raise an error after a moment."""
    await asyncio.sleep(0)
    raise error


@node
def foreign(state: Case) -> Case:
    """Raise a BaseException."""
    raise Foreign("inner")


@node
async def circle(state: Case) -> Case:
    """Raise an error that is its own cause."""
    try:
        raise ValueError("inner")  # noqa: TRY301 - code of an author
    except ValueError as error:
        raise error from error


items = Workflow("items", state=Case, start=leaving, routes={leaving: end})
interrupts = Workflow("interrupts", state=Case, start=interrupt, routes={})
interrupts_in_a_task = Workflow(
    "interrupts-in-a-task", state=Case, start=interrupt_in_a_task, routes={}
)
exits_in_a_task = Workflow(
    "exits-in-a-task", state=Case, start=exit_in_a_task, routes={}
)
raises_foreign = Workflow("foreign", state=Case, start=foreign, routes={})
circles = Workflow("circles", state=Case, start=circle, routes={})
