"""Crossing from the event loop to the ORM and back, on threads of our own.

`sync_to_async` would run everything one after another on one thread; these few threads
keep their connections between calls and drop one that broke.
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

RETRY_SECONDS = 5.0  # that the end of a worker waits for calls under way
THREADS = 4  # one connection each, beside the writer's and the heartbeat's

_here = threading.local()
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")


async def run_in_db(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Return what a synchronous function returns that uses the ORM."""
    return await _on(_threads, partial(function, *args, **kwargs))


def in_this_thread(function: Callable[[], Result]) -> Result:
    """Return what a function returns that uses the ORM, on a kept connection.

    For a thread that is not of a pool: it closes its connection itself at its end.
    """
    _keep_connection()
    try:
        result = function()
    finally:
        connection.close_if_unusable_or_obsolete()
    outages.database.report_success()
    return result


async def _on(threads: ThreadPoolExecutor, function: Callable[[], Result]) -> Result:
    loop = asyncio.get_running_loop()

    def call() -> Result:
        _here.loop = loop
        try:
            return in_this_thread(function)
        finally:
            _here.loop = None

    return await loop.run_in_executor(threads, call)


async def run_in_db_retrying(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Return what `run_in_db` returns, however long the database is away.

    For what may be done twice: nobody knows whether a call that was cut off was done.
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
    """Return the event loop that waits for this thread, None outside of `run_in_db`."""
    return getattr(_here, "loop", None)


def _keep_connection() -> None:
    """Open this thread's connection, to be kept until it breaks or all are closed.

    One from before an outage that somebody met is not worth trying.
    """
    outage = outages.database.count
    if getattr(_here, "outage", outage) != outage:
        connection.close()
    _here.outage = outage
    connection.ensure_connection()
    connection.close_at = None  # whatever CONN_MAX_AGE says of requests
    connection.health_check_enabled = False  # type: ignore[attr-defined] # a broken one is found when used


def close_connections() -> None:
    """Close the connections the threads kept, each in its own thread, between calls.

    A call outlives the task that awaited it, and a connection closed beneath one takes
    the whole process down.
    """
    together = threading.Barrier(THREADS)  # so that every thread gets just one

    def close() -> None:
        with suppress(threading.BrokenBarrierError):  # one thread is stuck in a call
            together.wait(RETRY_SECONDS)
        connection.close()

    closing = [_threads.submit(close) for _ in range(THREADS)]
    wait(closing, 2 * RETRY_SECONDS)
