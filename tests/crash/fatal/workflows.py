"""Workflows that end the process of their worker, and one that does not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from pathlib import Path

from pydantic import BaseModel

from workflows.engine import State, Workflow, node


class Params(BaseModel):
    """How to end the process, or how long to work."""

    trace: str = ""
    how: str = ""  # exit, exit-0, kill, crash, memory
    alone: str = ""  # path of a file: end the process only when it exists
    seconds: float = 0.0
    hold: str = ""  # path of a file for which `work` waits


class Case(State):
    """The state of these runs."""

    params: Params
    pids: tuple[int, ...] = ()


async def allowed(path: str) -> None:
    """Wait until the test has created the file."""
    while path and not await asyncio.to_thread(Path(path).exists):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


@node
async def first(state: Case) -> Case:
    """Complete a step before the fatal one."""
    return state.append("pids", os.getpid())


@node
async def end_process(state: Case) -> Case:
    """End the process."""
    await allowed(state.params.alone)
    if state.params.how == "exit":
        os._exit(3)
    if state.params.how == "exit-0":
        os._exit(0)
    if state.params.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if state.params.how == "memory":
        bytearray(2_000_000_000)
        return state
    ctypes.string_at(0)  # a segmentation fault
    return state


@node
async def work(state: Case) -> Case:
    """Take some time, or wait for the test."""
    await asyncio.sleep(state.params.seconds)
    await allowed(state.params.hold)
    return state.append("pids", os.getpid())


@node
async def last(state: Case) -> Case:
    """Complete another step."""
    return state.append("pids", os.getpid())


fatal = Workflow(
    "fatal", state=Case, start=first, routes={first: end_process, end_process: last}
)
innocent = Workflow(
    "innocent", state=Case, start=first, routes={first: work, work: last}
)
