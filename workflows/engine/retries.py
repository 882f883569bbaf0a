"""Retry policies of nodes and their execution."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .author_code import await_contained
from .context import HeartbeatLimit, NodeContext, TryLimit, set_current_context
from .errors import DefinitionError, ExitRaised, NodeSilent, NodeTimedOut, describe
from .events import EventType
from .state import State

if TYPE_CHECKING:
    from .nodes import Node

In = TypeVar("In")
Out = TypeVar("Out")


DEFAULT_ATTEMPTS: Final = 3
_UNSET: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class Retry:
    """Try at most `attempts` times while one of the errors `on`, and none of `never`, occurs.

    The delay after try n is `min(wait * factor ** (n - 1), max_wait)`, or `waits[n - 1]` if
    `waits` is given, plus up to `jitter`.
    """

    # total number of tries; by default 3, or one more than `waits` has delays
    attempts: int = _UNSET
    on: type[Exception] | tuple[type[Exception], ...] = Exception
    wait: float = 1.0  # seconds before the second try
    factor: float = 2.0
    jitter: float = 0.0  # seconds added at most, uniformly distributed
    max_wait: float = 60.0  # seconds
    never: type[Exception] | tuple[type[Exception], ...] = ()  # has priority over `on`
    # seconds before each further try, in place of `wait`, `factor` and `max_wait`
    waits: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Raise DefinitionError for values that would fail, or hide an error, in a run."""
        _check_errors("on", self.on)
        if self.never != ():
            _check_errors("never", self.never)
        object.__setattr__(self, "waits", tuple(self.waits))
        self._complete_attempts()
        if self.attempts < 1:
            raise DefinitionError(
                f"Retry(attempts={self.attempts}) never runs the node: use 1 or more."
            )
        for name in ("wait", "factor", "jitter", "max_wait"):
            if getattr(self, name) < 0:
                raise DefinitionError(f"Retry({name}=…) is below 0: use 0 or more.")
        if any(wait < 0 for wait in self.waits):
            raise DefinitionError(
                f"Retry(waits={list(self.waits)}) has a wait below 0: use 0 or more."
            )

    def _complete_attempts(self) -> None:
        """Set `attempts` if it was not given. Raises DefinitionError if `waits` differs."""
        number = len(self.waits) + 1 if self.waits else DEFAULT_ATTEMPTS
        if self.attempts is _UNSET:
            object.__setattr__(self, "attempts", number)
        elif self.waits and self.attempts != number:
            raise DefinitionError(
                f"Retry(attempts={self.attempts}) does not match its {len(self.waits)} waits, which"
                f" are for {number}: leave it out."
            )

    def should_retry(self, error: Exception, try_number: int) -> bool:
        """Return whether another try follows this error."""
        if try_number >= self.attempts or isinstance(error, ExitRaised):
            return False
        return _is_any(error, self.on) and not _is_any(error, self.never)

    def delay_after(self, try_number: int) -> float:
        """Return the delay after a try, in seconds."""
        if self.waits:
            wait = self.waits[min(try_number, len(self.waits)) - 1]
        else:
            wait = self._growing_delay(try_number)
        return wait + random.uniform(0, self.jitter)  # noqa: S311 - spreads load, no secret

    def _growing_delay(self, try_number: int) -> float:
        try:
            return min(self.wait * self.factor ** (try_number - 1), self.max_wait)
        except OverflowError:
            return self.max_wait


def _check_errors(name: str, given: object) -> None:
    """Raise DefinitionError unless a class of Exception, or a tuple of them, was given."""
    kinds = given if isinstance(given, tuple) else (given,)
    if not kinds or not all(map(_is_error, kinds)):
        raise DefinitionError(
            f"Retry({name}={given!r}) names no errors: give a class of Exception, such as"
            " ConnectionError, or a tuple of them."
        )


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)


def _is_any(
    error: Exception, kinds: type[Exception] | tuple[type[Exception], ...]
) -> bool:
    """Return what `except` would: isinstance would run code of an author's metaclass."""
    named = kinds if isinstance(kinds, tuple) else (kinds,)
    return any(kind in type(error).__mro__ for kind in named)


async def run_with_retries(
    node: Node[In, Out], value: In, runtime: object, context: NodeContext
) -> Out:
    """Run a node until a try succeeds and return its result. Raises the error of the last try.

    The tries of an interrupted attempt count as well; `context.last_try` is set.
    """
    retry, step = node.retry, context
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
        step.last_try = context.try_number


def _fresh_value(value: In) -> In:
    """Return the input of one try, without in-place changes that an earlier try made."""
    return value.clone() if isinstance(value, State) else value


async def _run_try(
    node: Node[In, Out], value: In, runtime: object, context: NodeContext
) -> Out:
    set_current_context(context)
    if node.heartbeat is None and node.timeout is None:  # most nodes: nothing to set up
        return await await_contained(node.run(value, runtime, context), context)

    async def run() -> Out:
        return await await_contained(node.run(value, runtime, context), context)

    if node.heartbeat is not None:
        silent = NodeSilent(context.node, node.heartbeat)
        run = partial(_run_within, run, node.heartbeat, silent, context)
    if node.timeout is not None:
        timed_out = NodeTimedOut(context.node, node.timeout)
        run = partial(_run_within, run, node.timeout, timed_out, context)
    return await run()


async def _run_within(
    run: Callable[[], Awaitable[Out]],
    seconds: float,
    too_late: NodeTimedOut,
    context: NodeContext,
) -> Out:
    """Return the result of a try. Raises `too_late` if the time passes before."""
    try:
        async with asyncio.timeout(seconds) as timeout:
            if isinstance(too_late, NodeSilent):
                context.heartbeat = HeartbeatLimit(timeout, seconds)
                context.limits.append(context.heartbeat)
            else:
                context.limits.append(TryLimit(timeout))
            try:
                result = await run()
                if not _is_late(timeout):
                    return result
                failure: Exception = too_late
            except Exception as error:  # raised again below
                # not through asyncio.timeout: it loops endlessly over circular contexts
                failure = error
            finally:
                context.limits.pop()
    except TimeoutError as error:
        raise too_late from error
    if isinstance(failure, TimeoutError) and timeout.expired():
        raise too_late from (None if failure is too_late else failure)
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
