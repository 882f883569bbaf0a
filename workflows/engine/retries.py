"""Retry policies of nodes and their execution."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from .containment import await_contained
from .context import NodeContext, TryLimit, set_current_context
from .errors import DefinitionError, ExitRaised, NodeTimedOut, describe
from .events import EventType
from .state import State

if TYPE_CHECKING:
    from .nodes import Node

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Retry:
    """Try at most `attempts` times while one of the errors `on` occurs.

    The delay after try n is `min(wait * factor ** (n - 1), max_wait)`, plus up to `jitter`.
    """

    attempts: int = 3  # total number of tries
    on: type[Exception] | tuple[type[Exception], ...] = Exception
    wait: float = 1.0  # seconds before the second try
    factor: float = 2.0
    jitter: float = 0.0  # seconds added at most, uniformly distributed
    max_wait: float = 60.0  # seconds

    def __post_init__(self) -> None:
        """Raise DefinitionError for values that would fail, or hide an error, in a run."""
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        if not kinds or not all(map(_is_error, kinds)):
            raise DefinitionError(
                f"Retry(on={self.on!r}) names no errors: give a class of Exception, such as"
                " ConnectionError, or a tuple of them."
            )
        if self.attempts < 1:
            raise DefinitionError(
                f"Retry(attempts={self.attempts}) never runs the node: use 1 or more."
            )
        for name in ("wait", "factor", "jitter", "max_wait"):
            if getattr(self, name) < 0:
                raise DefinitionError(f"Retry({name}=…) is below 0: use 0 or more.")

    def should_retry(self, error: Exception, try_number: int) -> bool:
        """Return whether another try follows this error."""
        if try_number >= self.attempts or isinstance(error, ExitRaised):
            return False
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        # as in `except`: isinstance would run code of an author's metaclass
        return any(kind in type(error).__mro__ for kind in kinds)

    def delay_after(self, try_number: int) -> float:
        """Return the delay after a try, in seconds."""
        try:
            wait = min(self.wait * self.factor ** (try_number - 1), self.max_wait)
        except OverflowError:
            wait = self.max_wait
        return wait + random.uniform(0, self.jitter)  # noqa: S311 - spreads load, no secret


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)


async def run_with_retries(
    node: Node[In, Out], value: In, runtime: object, context: NodeContext
) -> Out:
    """Run a node until a try succeeds and return its result. Raises the error of the last try.

    The tries of an interrupted attempt count as well.
    """
    retry = node.retry
    if context.try_after:
        await _sleep(context.try_after, context)
    if retry is None:
        return await _run_try(node, value, runtime, context)
    while True:
        try:
            return await _run_try(node, _fresh_value(value), runtime, context)
        except Exception as error:
            if not retry.should_retry(error, context.try_number):
                raise
            await _wait_for_retry(retry, error, context)
        context = context.for_try(context.try_number + 1)


def _fresh_value(value: In) -> In:
    """Return the input of one try, without in-place changes that an earlier try made."""
    return value.clone() if isinstance(value, State) else value


async def _run_try(
    node: Node[In, Out], value: In, runtime: object, context: NodeContext
) -> Out:
    set_current_context(context)
    if node.timeout is None:
        return await await_contained(node.run(value, runtime, context), context)
    try:
        async with asyncio.timeout(node.timeout) as limit:
            context.limits.append(TryLimit(limit))
            try:
                result = await await_contained(
                    node.run(value, runtime, context), context
                )
                if not _is_late(limit):
                    return result
                failure: Exception = NodeTimedOut(context.node, node.timeout)
            except Exception as error:  # raised again below
                # not through asyncio.timeout: it loops endlessly over circular contexts
                failure = error
            finally:
                context.limits.pop()
    except TimeoutError as error:
        raise NodeTimedOut(context.node, node.timeout) from error
    if isinstance(failure, TimeoutError) and limit.expired():
        raise NodeTimedOut(context.node, node.timeout) from failure
    raise failure


def _is_late(limit: asyncio.Timeout) -> bool:
    """Return whether the deadline has passed, also if the loop was blocked meanwhile.

    The timer of a blocked loop is late: a node that does not await returns before it.
    """
    when = limit.when()
    return when is not None and asyncio.get_running_loop().time() >= when


async def _wait_for_retry(retry: Retry, error: Exception, context: NodeContext) -> None:
    """Wait for the next try. Raises the signal if the run was cancelled."""
    context.cancellation.raise_if_cancelled()
    seconds = retry.delay_after(context.try_number)
    context.emit_event(
        EventType.NODE_RETRY,
        {
            "iteration": context.iteration,
            "try": context.try_number,
            "of": retry.attempts,
            "error": describe(error),
            "wait_seconds": seconds,
        }
        | ({} if context.item is None else {"item_index": context.item}),
    )
    await _sleep(seconds, context)


async def _sleep(seconds: float, context: NodeContext) -> None:
    """Wait. Raises the signal if the run was cancelled during the wait."""
    await context.clock.sleep(seconds)
    context.cancellation.raise_if_cancelled()
