"""Sync nodes, each in a thread of a pool of its own, with the caller's context variables."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .context import NodeContext

Result = TypeVar("Result")

THREADS = 64  # sync nodes at work at once in one process; further ones wait their turn

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="workflow-node")


async def in_thread(call: Callable[[], Result], context: NodeContext) -> Result:
    """What `call` returns, run in a thread.

    A thread cannot be interrupted. A cancelled run waits until it returns, lest its repetition work
    beside it; one that timed out, or whose task is cancelled, leaves it alone and says so in
    `context.cancelled`.
    """
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(_pool, contextvars.copy_context().run, _guarded, call)
    work.add_done_callback(_forget)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if not context.cancellation.cancelled:
            context.abandoned = True
            raise
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        context.abandoned = True  # the server stops, which waits for no thread
        raise


def _guarded(call: Callable[[], Result]) -> Result:
    """A future cannot hold StopIteration: whoever awaited it would wait for ever."""
    try:
        return call()
    except StopIteration as error:
        raise RuntimeError("StopIteration was raised") from error


def _forget(work: asyncio.Future[Result]) -> None:
    """Take note of the error, lest that of a thread no one waits for is called forgotten."""
    if not work.cancelled():
        work.exception()
