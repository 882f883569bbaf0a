"""A call of an item on the cluster, seen from the process of its run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from workflows.cluster import remote_items
from workflows.cluster.remote_items import (
    LOG,
    PROGRESS,
    REQUEST,
    STARTED,
    Ended,
    Message,
    RemoteItem,
    Request,
)
from workflows.cluster.remote_runtime import REQUESTS
from workflows.engine import isolation
from workflows.engine.child_processes import LEVELS
from workflows.engine.context import attribute_task
from workflows.engine.errors import IsolationFailed, ProcessDied, describe
from workflows.engine.isolated_call import dump_error, frame_of
from workflows.engine.isolated_frames import ERROR, Frame, dump, load
from workflows.engine.isolation import Isolation, unpack
from workflows.engine.kept_processes import place_of

if TYPE_CHECKING:
    from distributed import Client

    from workflows.cluster.dask_cluster import Connection
    from workflows.engine.context import NodeContext
    from workflows.engine.isolation import Work

logger = logging.getLogger(__name__)

NO_LIMITS: Final = Isolation()


class SchedulerLost(Exception):
    """The connection to the scheduler ended, and with it the call."""


class PlacedCall:
    """One try of an item on the cluster; all its methods run on the loop of the run."""

    def __init__(self, work: Work, runtime: object, context: NodeContext) -> None:
        self._runtime, self._context = runtime, context
        self._loop = asyncio.get_running_loop()
        self._item = dump(_described(work, context))
        for_child = getattr(runtime, "for_child", None)
        try:
            self._content = dump((work.value, for_child() if for_child else None))
        except Exception as error:
            raise IsolationFailed(
                f"The input of {place_of(context)} cannot be sent to the cluster:"
                f" {describe(error)}"
            ) from error
        self._call_id = ""
        self._connection: Connection | None = None
        self._started = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._work: asyncio.Task[Ended | BaseException] | None = None
        self._signal: BaseException | None = None  # such as a pause, of a request
        self._collecting = asyncio.Lock()

    async def on(self, connection: Connection) -> Any:
        """Return the result. Raises SchedulerLost, and as `DaskCluster.call`."""
        self._connection, self._call_id = connection, remote_items.new_call_id()
        self._started.clear()
        connection.add(self._call_id, self)
        self._work = asyncio.create_task(connection.on_loop(self._submitted))
        try:
            with self._waiting():
                ended = await self._work
        except asyncio.CancelledError:
            if self._signal is not None:
                raise self._signal from None
            raise
        finally:
            connection.remove(self._call_id)
            await self._end_tasks()
        if isinstance(ended, BaseException):
            raise self._failure(ended)
        self._handle(ended.messages)
        return unpack(Frame(ended.kind, ended.body), self._context.node, NO_LIMITS)

    def on_note(self, worker: str) -> None:
        """Collect the messages of the item; called from the thread of the connection."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._start, self._collect(worker))

    async def _submitted(self, client: Client) -> Ended | BaseException:
        """Return what came of the call, on the client's loop. Raises CancelledError."""
        assert self._connection is not None  # noqa: S101 - set by `on`
        future = client.submit(
            remote_items.run_item,
            self._call_id,
            self._connection.topic,
            self._item,
            self._content,
            key=f"{self._context.node}-{self._call_id}",
            pure=False,
        )
        try:
            ended: Ended = await future
        except asyncio.CancelledError as error:
            if future.cancelled():
                return SchedulerLost(str(error))
            await asyncio.shield(future.cancel())
            raise
        except BaseException as error:
            return SchedulerLost() if future.cancelled() else error
        return ended

    def _failure(self, error: BaseException) -> BaseException:
        """Return the error of an item that the cluster has not executed."""
        if isinstance(error, SchedulerLost):
            return error
        if type(error).__name__ == "KilledWorker":
            return ProcessDied(
                f"The workers of the cluster that ran {place_of(self._context)} ended,"
                " each before it returned a result."
            )
        return IsolationFailed(
            f"The cluster could not run {place_of(self._context)}: {describe(error)}"
        )

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Suspend the timeouts of the try until a worker has started it."""
        for limit in self._context.limits:
            limit.pause()
        try:
            yield
        finally:
            self._resume()

    def _resume(self) -> None:
        if not self._started.is_set():
            self._started.set()
            for limit in self._context.limits:
                limit.resume()

    # -- messages ---------------------------------------------------------------------

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        attribute_task(task, self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_tasks(self) -> None:
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _collect(self, worker: str) -> None:
        async with self._collecting:  # in the order in which they were sent
            found = await self._call_worker(worker, remote_items.collect, self._call_id)
            self._handle(found or [], worker)

    async def _call_worker(self, worker: str, function: Any, *values: Any) -> Any:
        """Return the result of a function on a worker, None if the worker is gone."""
        assert self._connection is not None  # noqa: S101 - set by `on`

        async def call(client: Client) -> Any:
            return await client.run(function, *values, workers=[worker])

        try:
            results = await self._connection.on_loop(call)
        except Exception as error:  # the item then runs again on another worker
            logger.info("The Dask worker %s did not respond: %s", worker, error)
            return None
        return results.get(worker)

    def _handle(self, messages: list[Message], worker: str = "") -> None:
        logger_of_run = getattr(self._runtime, "logger", None)
        progress = getattr(self._runtime, "progress", None)
        for kind, body in messages:
            if kind == STARTED:
                self._resume()
                if logger_of_run is not None:
                    which = place_of(self._context)
                    logger_of_run.debug("%s runs on %s", which, body.decode())
            elif kind == LOG and logger_of_run is not None:
                level, text = load(body)
                if level in LEVELS:
                    getattr(logger_of_run, level)("%s", text)
            elif kind == PROGRESS and progress is not None:
                progress(*load(body))
            elif kind == REQUEST and worker:
                self._start(self._serve(worker, load(body)))

    async def _serve(self, worker: str, request: Request) -> None:
        """Answer a request of the item with what the Runtime of the run returns."""
        try:
            called = self._requested(request)
            frame = frame_of(await called(*request.values, **request.options))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            frame = Frame(ERROR, dump_error(error))
        except BaseException as signal:
            # of the run: it is raised here, and the item is cancelled
            self._signal = signal
            if self._work is not None:
                self._work.cancel()
            return
        reply = (request.number, frame.kind, frame.body)
        await self._call_worker(worker, remote_items.deliver, self._call_id, *reply)

    def _requested(self, request: Request) -> Any:
        """Return a method of the Runtime. Raises AttributeError for others."""
        if request.method not in REQUESTS.get(request.part, ()):
            raise AttributeError(f"{request.part}.{request.method}")
        return getattr(getattr(self._runtime, request.part), request.method)


def _described(work: Work, context: NodeContext) -> RemoteItem:
    return RemoteItem(
        module=work.function.__module__,
        name=work.function.__qualname__,
        accepts_runtime=work.accepts_runtime,
        run_id=context.run_id,
        node=context.node,
        sequence=context.sequence,
        iteration=context.iteration,
        try_number=context.try_number,
        index=context.item,
        setups=isolation.setups(),
    )
