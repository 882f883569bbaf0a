"""Workflows whose nodes use the ORM without cleanup, or never return."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.db import connection
from pydantic import BaseModel

from workflows.engine import State, Workflow, chain, node, parallel

ITEMS = 12
LATE_ITEMS = 80  # more than there are threads for sync nodes
LATE_SECONDS = 6.0  # timeout of an item that occupies its thread
HOLD_SECONDS = 0.2  # for which each item holds its connection
LEFT = "never committed"


class Params(BaseModel):
    """The files that a node writes and waits for."""

    trace: str = ""  # path of a file that the node writes at its start
    hold: str = ""  # path of a file: the node ends when it exists
    seconds: float = 0.0


class Greedy(State):
    """State of these runs."""

    params: Params
    items: tuple[int, ...] = tuple(range(ITEMS))
    counts: tuple[int, ...] = ()
    autocommit: tuple[bool, ...] = ()
    groups: int = -1


def count_people(_item: int) -> int:
    """Return the number of users, and hold the connection for a while."""
    count = User.objects.count()
    time.sleep(HOLD_SECONDS)
    return count


@node
def end(state: Greedy) -> Greedy:
    """Return the state unchanged."""
    return state


ask_all = parallel(count_people, over="items", into="counts", limit=ITEMS)
crowd = Workflow("crowd", state=Greedy, start=ask_all, routes={ask_all: end})


@node
def ask_once(state: Greedy) -> Greedy:
    """Query the database in a thread of nodes."""
    return state.append("counts", User.objects.count())


@node
async def ask_async(state: Greedy) -> Greedy:
    """Query the database from the event loop, and in a thread of asyncio."""
    state = state.append("counts", await User.objects.acount())
    return state.append("counts", await asyncio.to_thread(User.objects.count))


def ask_in_chain(state: Greedy, _item: int) -> Greedy:
    """Query the database in a step of a chain."""
    return state.append("counts", User.objects.count())


ask_chained = chain(ask_in_chain, over=lambda state: state.items[:2])
every_kind = Workflow(
    "every-kind",
    state=Greedy,
    start=ask_once,
    routes={ask_once: ask_async, ask_async: ask_chained},
)


def leave_transaction_open() -> None:
    """Start a transaction and change a row without committing it."""
    connection.set_autocommit(False)
    Group.objects.create(name=LEFT)


@node
def leave_open(state: Greedy) -> Greedy:
    """Leave a transaction open in a thread of nodes."""
    leave_transaction_open()
    return state


@node
def after_sync(state: Greedy) -> Greedy:
    """See what the node before left."""
    return state.append("autocommit", connection.get_autocommit())


@node
async def leave_open_async(state: Greedy) -> Greedy:
    """Leave a transaction open in the thread of `sync_to_async`."""
    await sync_to_async(leave_transaction_open)()
    return state


def is_autocommitting() -> bool:
    """Return whether this thread's connection has no transaction open."""
    return connection.get_autocommit()


@node
async def after_async(state: Greedy) -> Greedy:
    """See what the node before left."""
    # Evaluated in that thread, because connections are per thread.
    autocommit = await sync_to_async(is_autocommitting)()
    state = state.append("autocommit", autocommit)
    return state.set(groups=await Group.objects.filter(name=LEFT).acount())


left_open = Workflow(
    "left-open",
    state=Greedy,
    start=leave_open,
    routes={
        leave_open: after_sync,
        after_sync: leave_open_async,
        leave_open_async: after_async,
    },
)


@node
def wait_in_thread(state: Greedy) -> Greedy:
    """Occupy a thread until the file exists."""
    Path(state.params.trace).touch()
    while not Path(state.params.hold).exists():
        time.sleep(0.02)
    return state


stuck = Workflow("stuck", state=Greedy, start=wait_in_thread, routes={})


@node
async def slow_blocking(state: Greedy) -> Greedy:
    """Block the event loop."""
    time.sleep(state.params.seconds)  # noqa: ASYNC251 - the tested fault
    return state


blocking = Workflow("blocking", state=Greedy, start=slow_blocking, routes={})


@node
async def block_until(state: Greedy) -> Greedy:
    """Block the event loop until the file exists, in a task that the node starts."""
    await asyncio.create_task(_block_until(state.params))
    return state


async def _block_until(params: Params) -> None:
    Path(params.trace).touch()  # noqa: ASYNC240 - the tested fault
    while not Path(params.hold).exists():  # noqa: ASYNC240
        time.sleep(0.02)  # noqa: ASYNC251


blocking_until = Workflow(
    "blocking-until", state=Greedy, start=block_until, routes={block_until: end}
)


@node
async def wait_until(state: Greedy) -> Greedy:
    """Wait for the file without blocking; record each execution."""
    with Path(state.params.trace).open("a") as trace:  # noqa: ASYNC230 - a moment
        trace.write("begun\n")
    while not Path(state.params.hold).exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.05)
    return state


considerate = Workflow(
    "considerate", state=Greedy, start=wait_until, routes={wait_until: end}
)


@node
async def swallow(state: Greedy) -> Greedy:
    """Ignore every cancellation until the file exists."""
    Path(state.params.trace).touch()  # noqa: ASYNC240 - a moment, in a test
    while not Path(state.params.hold).exists():  # noqa: ASYNC240
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    return state


swallowing = Workflow("swallowing", state=Greedy, start=swallow, routes={})


@node(timeout=LATE_SECONDS)
def time_out(item: tuple[str, str, int]) -> int:
    """Record the start of an item, and occupy its thread until the file exists."""
    trace, hold, number = item
    with Path(trace).open("a", encoding="utf-8") as file:
        file.write(f"{time.time()} {number}\n")
    while not Path(hold).exists():
        time.sleep(0.1)
    return number


def late_items(state: Greedy) -> list[tuple[str, str, int]]:
    """Return more items than there are threads for sync nodes."""
    params = state.params
    return [(params.trace, params.hold, number) for number in range(LATE_ITEMS)]


all_late = parallel(
    time_out, over=late_items, into="counts", limit=LATE_ITEMS, fail_fast=False
)
late = Workflow("late", state=Greedy, start=all_late, routes={all_late: end})


@node
async def wait_for_file(state: Greedy) -> Greedy:
    """Wait on the event loop until the file exists."""
    while not Path(state.params.hold).exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.02)
    return state


patient = Workflow(
    "patient",
    state=Greedy,
    start=wait_for_file,
    routes={wait_for_file: ask_once},
)
