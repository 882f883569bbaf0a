"""Resources of a workflow: opened once per worker and shared by its runs, such as a pool.

A resource belongs to the event loop on which runs execute. It is opened before the first run
that needs it, by a task that also closes it: libraries with task groups require that.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import (
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload
from weakref import WeakKeyDictionary

from .author_code import call_contained
from .cancellation import Cancellation
from .clock import SystemClock
from .context import NodeContext, attribute_task
from .errors import DefinitionError, ResourceFailed, describe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

logger = logging.getLogger(__name__)

T = TypeVar("T")
OPEN_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 5.0


class Resource(Generic[T]):
    """A value that a generator function opens, yields and closes; see `resource`."""

    def __init__(
        self, function: Callable[[], AsyncIterator[T]] | Callable[[], Iterator[T]]
    ) -> None:
        self.function = function
        self.name: str = getattr(function, "__name__", "")
        self.is_async = inspect.isasyncgenfunction(function)
        if not (self.is_async or inspect.isgeneratorfunction(function)):
            raise DefinitionError(
                f"The resource “{self.name}” is no generator function: `yield` the value"
                " once; what follows closes it."
            )
        if inspect.signature(function).parameters:
            raise DefinitionError(
                f"The resource “{self.name}” has parameters, and is opened without any."
            )

    def __repr__(self) -> str:
        return f"<resource {self.name}>"


@overload
def resource(function: Callable[[], AsyncIterator[T]], /) -> Resource[T]: ...
@overload
def resource(function: Callable[[], Iterator[T]], /) -> Resource[T]: ...
def resource(function: Any, /) -> Any:
    """Turn a function that yields once into a resource, for `Workflow(resources=[…])`.

    An async function runs on the event loop of the runs, another one in a thread. Raises
    DefinitionError for a function that is no generator, or has parameters.
    """
    return Resource(function)


class _ResourceTask:
    """The task that opens one resource, keeps it, and closes it."""

    def __init__(self, resource: Resource[Any], run_id: str) -> None:
        self._resource = resource
        self._opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._close = asyncio.Event()
        name = f"resource {resource.name}"
        self.task = asyncio.create_task(self._open_and_close(), name=name)
        # if it blocks the loop, it is the code of this run
        attribute_task(
            self.task, NodeContext(run_id, name, 0, 0, Cancellation(), SystemClock())
        )

    @property
    def has_ended(self) -> bool:
        """Whether it could not be opened, or is not open any more."""
        return self.task.done()

    async def value(self) -> Any:
        """Return the value once it is open. Raises ResourceFailed."""
        return await asyncio.shield(self._opened)

    async def close(self) -> None:
        """Close it; give up after CLOSE_SECONDS."""
        self._close.set()
        done, _ = await asyncio.wait([self.task], timeout=CLOSE_SECONDS)
        if not done:
            self.task.cancel()
            logger.warning(
                "The resource %s was not closed within %g s.",
                self._resource.name,
                CLOSE_SECONDS,
            )

    async def _open_and_close(self) -> None:
        """Open, wait and close. Nothing that author code raises leaves this task."""
        steps = _AsyncSteps if self._resource.is_async else _SyncSteps
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                opened = steps(self._resource.function)
                value = await opened.first()
        except BaseException as error:
            self._fail(error)
            return
        if not self._opened.done():
            self._opened.set_result(value)
        try:
            await self._close.wait()
        finally:
            try:
                await opened.last()
            except BaseException as error:
                logger.warning(
                    "The resource %s could not be closed: %s",
                    self._resource.name,
                    describe(error),
                    exc_info=error,
                )

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, TimeoutError) and not str(error):
            reason = f"it did not open within {OPEN_SECONDS:g} s."
        elif isinstance(error, StopAsyncIteration | _NothingYielded):
            reason = "it ended without `yield`."
        else:
            reason = describe(error)
        failure = ResourceFailed(
            f"The resource “{self._resource.name}” could not be opened: {reason}"
        )
        failure.__cause__ = error
        if not self._opened.done():
            self._opened.set_exception(failure)
            self._opened.exception()  # marked as retrieved: the run may be cancelled


class _NothingYielded(Exception):
    """A sync generator ended before it yielded."""


class _AsyncSteps:
    """The two parts of an async generator."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._generator: AsyncGenerator[Any, None] = call_contained(function)

    async def first(self) -> Any:
        return await anext(self._generator)

    async def last(self) -> None:
        with suppress(StopAsyncIteration):
            await anext(self._generator)
            await self._generator.aclose()
            raise RuntimeError("it yields more than once.")


class _SyncSteps:
    """The two parts of a generator, each in a thread."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._generator: Generator[Any, None, None] = call_contained(function)

    async def first(self) -> Any:
        return await asyncio.to_thread(call_contained, self._first)

    async def last(self) -> None:
        await asyncio.to_thread(call_contained, self._last)

    def _first(self) -> Any:
        for value in self._generator:
            return value
        raise _NothingYielded

    def _last(self) -> None:
        for _ in self._generator:
            self._generator.close()
            raise RuntimeError("it yields more than once.")


class OpenResources:
    """The open resources of one event loop. Use it on that loop only."""

    def __init__(self) -> None:
        self._tasks: dict[Resource[Any], _ResourceTask] = {}

    async def open(
        self, resources: Iterable[Resource[Any]], run_id: str
    ) -> Mapping[Resource[Any], Any]:
        """Return the values of resources for a run; open those that are not open.

        One that failed is tried again by the next run. Raises ResourceFailed.
        """
        values = {}
        for one in resources:
            task = self._tasks.get(one)
            if task is None or task.has_ended:
                task = self._tasks[one] = _ResourceTask(one, run_id)
            values[one] = await task.value()
        return values

    async def close(self) -> None:
        """Close all, the newest first. Nothing is raised: failures are logged."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in reversed(tasks):
            await task.close()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, OpenResources] = (
    WeakKeyDictionary()
)


def open_resources() -> OpenResources:
    """Return the resources of the running event loop."""
    return _of_loops.setdefault(asyncio.get_running_loop(), OpenResources())
