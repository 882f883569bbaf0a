"""Workflows that would end the process, each in another way, and one that completes."""

from __future__ import annotations

import asyncio
import sys

from pydantic import BaseModel

from workflows.engine import State, Workflow, node, parallel


class Params(BaseModel):
    """What the tests give to every workflow."""

    trace: str = ""


class Case(State):
    """What these runs know."""

    params: Params
    items: tuple[int, ...] = (1, 2, 3, 4)
    out: tuple[int, ...] = ()


class Foreign(BaseException):
    """An exception that is no Exception."""


@node
async def wait_a_while(state: Case) -> Case:
    """Be at work while the others are."""
    for _ in range(10):
        await asyncio.sleep(0.1)
    return state


@node
def end(state: Case) -> Case:
    """Go out."""
    return state


innocent = Workflow(
    "innocent", state=Case, start=wait_a_while, routes={wait_a_while: end}
)


def leave_at_three(item: int) -> int:
    """Leave the process in the middle of the items."""
    if item == 3:
        sys.exit(3)
    return item


leaving = parallel(leave_at_three, over="items", into="out", fail_fast=False)


@node
def interrupt(state: Case) -> Case:
    """Raise what a keyboard does."""
    raise KeyboardInterrupt


@node
async def interrupt_in_a_task(state: Case) -> Case:
    """Raise it where the engine cannot reach."""
    await asyncio.create_task(leave(KeyboardInterrupt()))
    return state


@node
async def exit_in_a_task(state: Case) -> Case:
    """Leave the process where the engine cannot reach."""
    await asyncio.gather(leave(SystemExit(3)), asyncio.sleep(60))
    return state


async def leave(error: BaseException) -> None:
    """Raise an error after a moment."""
    await asyncio.sleep(0)
    raise error


@node
def foreign(state: Case) -> Case:
    """Raise what is no Exception."""
    raise Foreign("inner")


@node
async def circle(state: Case) -> Case:
    """Raise an error that is its own cause."""
    try:
        raise ValueError("inner")  # noqa: TRY301 - as authors write it
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
