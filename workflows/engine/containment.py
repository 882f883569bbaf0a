"""What leaves author code: an ordinary exception, or a signal that the engine expects.

Author code may raise anything: `sys.exit()`, KeyboardInterrupt, GeneratorExit, a BaseException of
its own, a signal of the engine that nobody sent. Each of these would end a task, the event loop or
the process. Every call of an author's function goes through one of the functions below, which turn
them into `ExitRaised`, so that whoever catches `Exception` has caught all that the code can do.
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

MAX_GROUP_EXCEPTIONS = 10_000  # exceptions of a group that are looked at


def call_contained(call: Callable[[], Result]) -> Result:
    """What a function returns that awaits nothing. Raises nothing but Exception.

    For functions of the state alone: predicates, params, factories, migrations. No task is
    interrupted meanwhile and no pause is meant, so even those signals are the author's own.
    """
    try:
        return call()
    except StopIteration as raised:  # no coroutine may let it out
        raise ExitRaised(raised) from raised
    except Exception:
        raise
    except BaseException as raised:
        raise ExitRaised(raised) from raised


def call_in_node(call: Callable[[], Result], context: NodeContext) -> Result:
    """What a sync function of a node returns; runs in its thread. Raises Exception, or a signal.

    CancelledError of either kind is a failure: the task that waits for the thread would take it for
    a cancellation of its own. A GeneratorExit would even close that task's coroutine.
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
    """What author code gives that is awaited. Raises Exception, a signal, or CancelledError.

    1. Cancelled and DeadlinePassed pass once the run has to stop, Paused always does.
    2. CancelledError passes where someone cancelled this very task; else something that the code
       awaited was cancelled, which is a failure of the node or item.
    3. GeneratorExit passes when this coroutine is being closed.
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
    """The task that runs; None also where no loop does, as when garbage is collected."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _find_signal(
    raised: BaseException, cancellation: Cancellation
) -> BaseException | None:
    """The signal that was raised, by itself or among the tasks of a group; a pause goes first."""
    stop: BaseException | None = None
    for error in _members(raised):
        if isinstance(error, Paused):
            return error
        if isinstance(error, Cancelled | DeadlinePassed) and cancellation.cancelled:
            stop = stop or error
    return stop


def _members(raised: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, however deep, or the one exception. Without recursion."""
    waiting = [raised]
    for _ in range(MAX_GROUP_EXCEPTIONS):
        if not waiting:
            return
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(reversed(error.exceptions))
        else:
            yield error
