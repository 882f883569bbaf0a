"""Calls the ORM from the event loop, on a few threads with persistent connections.

`sync_to_async` would run all calls one after another on one thread. These threads keep
their connections between calls and drop one that broke.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import connection

from workflows.infra import outages

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Result = TypeVar("Result")

JOIN_SECONDS = 5.0  # that the end of a worker waits for calls in progress
THREADS = 4  # one connection each, in addition to the writer's and the heartbeat's

_local = threading.local()
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")


async def run_in_db(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Call a synchronous function that uses the ORM in a thread; return its result."""
    return await _on(_threads, partial(function, *args, **kwargs))


def in_this_thread(function: Callable[[], Result]) -> Result:
    """Call a function that uses the ORM in this thread, on its persistent connection.

    A thread outside of the pool has to close its connection at its end.
    """
    _ensure_connection()
    try:
        result = function()
    finally:
        connection.close_if_unusable_or_obsolete()
    outages.database.report_success()
    return result


async def _on(threads: ThreadPoolExecutor, function: Callable[[], Result]) -> Result:
    loop = asyncio.get_running_loop()

    def call() -> Result:
        _local.loop = loop
        try:
            return in_this_thread(function)
        finally:
            _local.loop = None

    return await loop.run_in_executor(threads, call)


async def run_in_db_retrying(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Call `run_in_db`, and retry for as long as the database is unavailable.

    For idempotent functions: a call that was cut off may have been committed.
    """
    backoff = outages.Backoff()
    while True:
        try:
            return await run_in_db(function, *args, **kwargs)
        except Exception as error:
            pause = backoff.next_delay(error)
            if pause is None:
                raise
        await asyncio.sleep(pause)


def calling_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that awaits this thread, None outside of `run_in_db`."""
    return getattr(_local, "loop", None)


def _ensure_connection() -> None:
    """Open this thread's connection and keep it until it breaks or all are closed.

    A connection from before an outage is replaced without trying it.
    """
    outage = outages.database.count
    if getattr(_local, "outage", outage) != outage:
        connection.close()
    _local.outage = outage
    connection.ensure_connection()
    connection.close_at = None  # CONN_MAX_AGE is for requests
    connection.health_check_enabled = False  # type: ignore[attr-defined] # a broken one is found when used


def close_connections() -> None:
    """Close the connections of all threads, each in its own thread, between calls.

    A call outlives the task that awaited it, and closing a connection during a call
    crashes the process.
    """
    barrier = threading.Barrier(THREADS)  # so that every thread gets exactly one

    def close() -> None:
        with suppress(threading.BrokenBarrierError):  # one thread is stuck in a call
            barrier.wait(JOIN_SECONDS)
        connection.close()

    closing = [_threads.submit(close) for _ in range(THREADS)]
    wait(closing, 2 * JOIN_SECONDS)
