"""Crossing from the event loop to the ORM and back, on threads of our own.

`sync_to_async` would run everything one after another on one thread; these few threads
keep their connections between calls and drop one that broke.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

Given = ParamSpec("Given")
Result = TypeVar("Result")

THREADS = 4  # one connection each, beside the writer's

_kept: list[BaseDatabaseWrapper] = []
_here = threading.local()
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")


async def in_database(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Return what a synchronous function returns that uses the ORM."""
    loop = asyncio.get_running_loop()

    def call() -> Result:
        _keep_connection()
        _here.loop = loop
        try:
            return function(*args, **kwargs)
        finally:
            _here.loop = None
            connection.close_if_unusable_or_obsolete()

    return await loop.run_in_executor(_threads, call)


def calling_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that waits for this thread, None outside of `in_database`."""
    return getattr(_here, "loop", None)


def _keep_connection() -> None:
    """Open this thread's connection, to be kept until it breaks or all are closed."""
    connection.ensure_connection()
    connection.close_at = None  # whatever CONN_MAX_AGE says of requests
    kept = connections[DEFAULT_DB_ALIAS]
    if not kept.allow_thread_sharing:
        kept.inc_thread_sharing()  # so that the one who ends a worker can close it
        _kept.append(kept)


def close_connections() -> None:
    """Close the connections the threads kept; call it when none of them is at work."""
    for kept in _kept:
        kept.close()
