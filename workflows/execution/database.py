"""Crossing from the event loop to the ORM and back, on threads of our own.

`sync_to_async` would run everything one after another on one thread; these few threads
keep their connections between calls and drop one that broke.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Result = TypeVar("Result")

THREADS = 4  # one connection each, beside the writer's

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")


async def in_database(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Return what a synchronous function returns that uses the ORM."""

    def call() -> Result:
        connection.ensure_connection()
        connection.close_at = None  # ours to keep, whatever CONN_MAX_AGE says of requests
        try:
            return function(*args, **kwargs)
        finally:
            connection.close_if_unusable_or_obsolete()

    return await asyncio.get_running_loop().run_in_executor(_threads, call)


def close_connections() -> None:
    """Close the connections the threads kept, at the end of a worker."""
    for _ in range(THREADS):
        _threads.submit(connection.close)
