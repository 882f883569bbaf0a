"""Containment of author code: only ordinary exceptions and expected signals leave it.

Author code may raise anything: `sys.exit()`, KeyboardInterrupt, GeneratorExit, another
BaseException, or a signal of the engine without cause. Each of these would end a task, the event
loop or the process. Every call of an author's function goes through one of the functions below,
which convert such errors to `ExitRaised`, so that `except Exception` catches all errors.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Iterator
from typing import NoReturn, TypeVar

from .cancellation import Cancellation
from .context import NodeContext
from .errors import Cancelled, DeadlinePassed, ExitRaised, Paused

Result = TypeVar("Result")

MAX_GROUP_EXCEPTIONS = 10_000  # that are examined


def call_contained(call: Callable[[], Result]) -> Result:
    """Call a function that awaits nothing and return its result. Raises only Exception.

    For functions without a node: predicates, params, factories, migrations. They are not
    interrupted and cannot pause, so these signals are contained as well.
    """
    try:
        return call()
    except StopIteration as raised:  # cannot be raised from a coroutine
        raise ExitRaised(raised) from raised
    except Exception:
        raise
    except BaseException as raised:
        raise ExitRaised(raised) from raised


def call_in_node(call: Callable[[], Result], context: NodeContext) -> Result:
    """Call a sync function of a node in its thread. Raises Exception or a signal.

    CancelledError of both kinds becomes a failure: the task that waits for the thread would
    interpret it as its own cancellation. A GeneratorExit would close that task's coroutine.
    """
    try:
        return call()
    except (asyncio.CancelledError, concurrent.futures.CancelledError) as raised:
        raise _awaited_was_cancelled(context) from raised
    except Exception:
        raise
    except BaseException as raised:
        _raise_contained(raised, context)


async def await_contained(awaitable: Awaitable[Result], context: NodeContext) -> Result:
    """Await author code and return its result. Raises Exception, a signal, or CancelledError.

    1. Cancelled and DeadlinePassed pass if the run has to stop, Paused always passes.
    2. CancelledError passes if this task is being cancelled; otherwise something that the code
       awaited was cancelled, which is a failure of the node or item.
    3. GeneratorExit passes if this coroutine is being closed.
    4. Everything else becomes ExitRaised.
    """
    task = asyncio.current_task()
    try:
        return await awaitable
    except Exception:
        raise
    except GeneratorExit as raised:
        if _current_task() is not task:
            raise
        raise ExitRaised(raised) from raised
    except asyncio.CancelledError as raised:
        if task is None or task.cancelling():
            raise
        raise _awaited_was_cancelled(context) from raised
    except BaseException as raised:
        _raise_contained(raised, context)


def _raise_contained(raised: BaseException, context: NodeContext) -> NoReturn:
    signal = _find_signal(raised, context.cancellation)
    if signal is raised:
        raise raised
    raise (signal or ExitRaised(raised)) from raised


def _awaited_was_cancelled(context: NodeContext) -> RuntimeError:
    what = "the node" if context.item is None else "the item"
    return RuntimeError(f"something that {what} awaited was cancelled")


def _current_task() -> asyncio.Task[object] | None:
    """Return the current task; None also without a loop, as during garbage collection."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _find_signal(
    raised: BaseException, cancellation: Cancellation
) -> BaseException | None:
    """Return the signal that was raised, alone or in a group, or None; a pause has priority."""
    stop: BaseException | None = None
    for error in _members(raised):
        if isinstance(error, Paused):
            return error
        if isinstance(error, Cancelled | DeadlinePassed) and cancellation.cancelled:
            stop = stop or error
    return stop


def _members(raised: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group at any depth, or the one exception, without recursion."""
    waiting = [raised]
    for _ in range(MAX_GROUP_EXCEPTIONS):
        if not waiting:
            return
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(reversed(error.exceptions))
        else:
            yield error
