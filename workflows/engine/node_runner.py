"""The execution of one node: retries, interruption, and the translation of its errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from .context import begin_node_task, end_node_task
from .retries import run_with_retries
from .state import State

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from .cancellation import Cancellation, Interruption
    from .context import NodeContext
    from .nodes import Node

S = TypeVar("S", bound=State)


class NodeRunner:
    """Runs the nodes of one attempt so that a cancellation interrupts them."""

    def __init__(
        self, runtime: object, cancellation: Cancellation, interruption: Interruption
    ) -> None:
        self._runtime = runtime
        self._cancellation = cancellation
        self._interruption = interruption

    async def run(self, node: Node[S, S], before: S, context: NodeContext) -> S:
        """Return the node's result. Raises its error, or the signal that stopped it."""
        try:
            run = self._run_interruptibly(node, before, context)
            after = await (
                run if node.runs_in_thread else self._run_in_task(run, context)
            )
        except BaseException as error:
            interrupted = self._interruption.close()
            if isinstance(error, Exception | asyncio.CancelledError):
                self._translate_error(error, interrupted=interrupted)
            raise
        self._interruption.close()
        return after

    async def _run_in_task(
        self, run: Coroutine[Any, Any, S], context: NodeContext
    ) -> S:
        """Return the result of a separate task.

        Code that runs on the loop could cancel the run's task or leave it marked as
        cancelled. The task costs two turns of the loop.
        """
        task = asyncio.create_task(run)
        begin_node_task(task, context)
        try:
            return await task
        finally:
            end_node_task(task)

    async def _run_interruptibly(
        self, node: Node[S, S], before: S, context: NodeContext
    ) -> S:
        self._interruption.open()
        return await run_with_retries(node, before, self._runtime, context)

    def _translate_error(self, error: BaseException, *, interrupted: bool) -> None:
        """Raise the error that a node's error stands for; return if it stands for itself."""
        by_asyncio = isinstance(error, asyncio.CancelledError)
        if self._interruption.cancelled_externally:
            if not by_asyncio:
                raise asyncio.CancelledError from error
        elif interrupted:
            raise self._cancellation.error() from error
        elif by_asyncio:
            raise RuntimeError(
                "something that the node awaited was cancelled"
            ) from error
