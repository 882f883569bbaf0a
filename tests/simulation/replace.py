"""Replacements of parts of the product during a schedule."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import uuid_utils.compat
from django.apps import apps
from django.db import connections
from django.utils import timezone

from tests.chaos.app import workflows as chaos_workflows
from tests.simulation.children import Child, Exits
from tests.simulation.loop import PROCESS, Process
from tests.simulation.simulated_app import workflows as simulated_workflows
from workflows import system
from workflows.engine import clock as engine_clock
from workflows.engine import threads
from workflows.execution import (
    claims,
    launch_commits,
    local_workers,
    node_loop,
    suspect_process,
    suspects,
    variables,
    worker,
    worker_loops,
)
from workflows.execution.node_loop import NodeLoop
from workflows.execution.writer import Writer
from workflows.infra import clock, database_threads, notifications, outages

if TYPE_CHECKING:
    from tests.simulation.world import World

REAL_NOW = timezone.now
COMMAND = Process("command")  # of calls outside of any simulated process


def replacements(world: World) -> Iterator[Any]:
    """Yield the patches for one schedule."""
    yield from _time(world)
    yield from _database_and_messages(world)
    yield from _threads_and_processes(world)
    yield from _launches(world)


def _time(world: World) -> Iterator[Any]:
    for field in _fields_with_time():
        yield patch.dict(field.__dict__, _get_default=world.now)
    yield patch.object(time, "time", world.timestamp)
    yield patch.object(time, "monotonic", world.loop.time)
    yield patch.object(timezone, "now", world.now)
    yield patch.object(clock, "local_now", world.now)
    yield patch.object(engine_clock.SystemClock, "now", lambda _: world.now())
    yield patch.object(uuid_utils.compat, "uuid7", world.next_id)


def _database_and_messages(world: World) -> Iterator[Any]:
    database = world.database

    async def on(_: object, function: Callable[[], Any]) -> Any:
        result = await database.call(function)
        outages.database.report_success()
        return result

    def from_thread(notify: Callable[[], Coroutine[Any, Any, object]]) -> None:
        task = world.loop.create_task(notify())
        world.tasks.add(task)

    def local(began: str) -> Any:
        return PerProcess(lambda: outages.Outage("simulated", began, "Over"))

    # Django keeps a connection per context of a thread with an event loop
    shared = SimpleNamespace(default=connections["default"])
    yield patch.object(connections, "_connections", shared)
    yield patch.object(database_threads, "_on", on)
    yield patch.object(outages, "database", local("Database unavailable"))
    yield patch.object(outages, "changes", local("Database refuses writes"))
    yield patch.object(variables, "_cache", PerProcess(variables._Cache))  # noqa: SLF001 - of a real process
    yield patch.object(notifications, "send", world.send)
    yield patch.object(notifications, "subscribe", world.subscribe)
    yield patch.object(notifications, "_from_thread", from_thread)
    announcers = PerProcess(notifications.Announcer)
    yield patch.object(notifications, "announcer", announcers.current)


def _threads_and_processes(world: World) -> Iterator[Any]:
    heartbeat, writer = _heartbeat(world), _writer(world)
    for module in (worker, suspect_process):
        yield patch.object(module, "Heartbeat", heartbeat)
        yield patch.object(module, "Writer", writer)
        yield patch.object(module, "close_connections", lambda: None)
    yield patch.object(suspects, "ChildProcess", partial(Child, world))
    # ids repeat from one schedule to the next, and so do the keys of nodes
    yield patch.dict(simulated_workflows.addresses, clear=True)
    yield patch.dict(chaos_workflows._tries, clear=True)  # noqa: SLF001 - of a real process
    yield patch.object(threading, "Timer", _timer(world))
    yield patch.object(suspect_process, "os", Exits)
    yield patch.object(worker_loops, "NodeLoop", _node_loop(world))
    yield patch.object(worker_loops, "LoopWatch", NoWatch)
    yield patch.dict(vars(threads.pool), _of_new_pool())
    yield patch.object(threads.ThreadPool, "_start", _start_call(world))
    yield patch.object(world.loop, "run_in_executor", _in_executor(world))


def _of_new_pool() -> dict[str, Any]:
    """Return attributes of a pool without calls; crashed processes leave some in theirs."""
    hooks = {"_prepare", "_clean_ups"}
    return {k: v for k, v in vars(threads.ThreadPool()).items() if k not in hooks}


def _launches(world: World) -> Iterator[Any]:
    class SimulatedCommits(launch_commits.LaunchCommits):
        """Commits whose followers let simulated time pass, in place of their threads."""

        def _wait(self, launch: Any) -> None:
            while not launch.woken.is_set():
                world.database.pause(0.001)

    yield patch.object(system, "launch_commits", PerProcess(SimulatedCommits))
    workers = PerProcess(local_workers.LocalWorkers)
    for module in (launch_commits, claims, worker):
        yield patch.object(module, "local_workers", workers)


def _fields_with_time() -> list[Any]:
    """Return the fields whose default is the time: they refer to the real function."""
    return [
        field
        for model in apps.get_models()
        for field in model._meta.concrete_fields  # noqa: SLF001 - Django's documented model API
        if field.default is REAL_NOW
    ]


@contextmanager
def replaced(world: World, *, with_background: bool = True) -> Iterator[None]:
    """Execute the block with all replacements.

    Without background, workers neither count runs nor do tasks of other packages.
    """
    with ExitStack() as stack:
        for replacement in replacements(world):
            stack.enter_context(replacement)
        for step in () if with_background else ("_housekeep", "_run_background"):
            stack.enter_context(patch.object(worker.Worker, step, _do_nothing))
        yield


async def _do_nothing(_: worker.Worker) -> None:
    await asyncio.Event().wait()


class PerProcess:
    """An object per simulated process, created on first use."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._objects: WeakKeyDictionary[Process, Any] = WeakKeyDictionary()

    def current(self) -> Any:
        """Return the object of the process that executes now."""
        process = PROCESS.get() or COMMAND
        if process not in self._objects:
            self._objects[process] = self._make()
        return self._objects[process]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current(), name)


class NoWatch:
    """A watch of a loop that is never blocked."""

    def __init__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        """Watch nothing."""

    stop = start


def _heartbeat(world: World) -> type:
    from django.conf import settings

    class Heartbeat:
        """A task that renews the leases, in place of the thread."""

        def __init__(
            self, renew: Callable[[], None], on_failure: Callable[[Exception], None]
        ) -> None:
            self._renew, self._on_failure = renew, on_failure

        def start(self) -> None:
            self._task = world.loop.create_task(self._serve())

        def stop(self) -> None:
            self._task.cancel()

        async def _serve(self) -> None:
            while True:
                try:
                    await world.database.call(self._renew)
                    outages.database.report_success()
                except Exception as error:
                    self._on_failure(error)
                await asyncio.sleep(settings.HEARTBEAT_SECONDS)

    return Heartbeat


def _writer(world: World) -> type[Writer]:
    class SimulatedWriter(Writer):
        """A task that commits the batches, in place of the thread."""

        def start(self) -> None:
            self._arrived = asyncio.Event()
            self._ended = False
            self._no_retries = Retries(world)  # type: ignore[assignment]
            world.loop.create_task(self._work())

        def stop(self) -> None:
            self._stopping = True
            self._arrived.set()
            while not self._ended:
                world.database.pause(0.01)

        def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
            super()._hand_over(loop)
            self._arrived.set()

        async def _work(self) -> None:
            while self._waiting or not self._stopping:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    batch = self._take()
                    await world.database.call(lambda batch=batch: self._write(batch))  # type: ignore[misc]
            self._ended = True

    return SimulatedWriter


class Retries:
    """The event on which the writer waits between tries, in simulated time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_set = False

    def set(self) -> None:
        """Wait no more."""
        self._is_set = True

    def wait(self, seconds: float) -> bool:
        """Let the time pass; return whether the event is set."""
        if not self._is_set:
            self._world.database.pause(seconds)
        return self._is_set


def _node_loop(world: World) -> type[NodeLoop]:
    class SimulatedNodeLoop(NodeLoop):
        """A node loop that is the loop of the simulation."""

        def __init__(self) -> None:
            with patch.object(node_loop, "ResilientLoop", lambda: world.loop):
                super().__init__()

        def start(self) -> None:
            """Start no thread."""

        async def stop(self) -> bool:
            """End nothing: a drained worker has no task left."""
            return True

    return SimulatedNodeLoop


def _start_call(
    world: World,
) -> Callable[[threads.ThreadPool, threads.Call[Any]], None]:
    def start(pool: threads.ThreadPool, call: threads.Call[Any]) -> None:
        call.state = threads._State.RUNNING  # noqa: SLF001 - as the pool does
        pool._calls.add(call)  # noqa: SLF001
        pool._running += 1  # noqa: SLF001

        def execute() -> None:
            call.run(lambda: None)
            pool._end(call)  # noqa: SLF001
            pool._idle = 0  # noqa: SLF001
            call.notify(call.ended)

        world.loop.call_later(world.latency(), execute)

    return start


def _timer(world: World) -> type:
    class Timer:
        """A timer in simulated time."""

        daemon = True

        def __init__(self, seconds: float, function: Callable[[], None]) -> None:
            self._seconds, self._function = seconds, function

        def start(self) -> None:
            """Start the timer."""
            self._handle = world.loop.call_later(self._seconds, self._function)

        def cancel(self) -> None:
            """Stop the timer."""
            self._handle.cancel()

    return Timer


def _in_executor(world: World) -> Callable[..., asyncio.Future[Any]]:
    def run_in_executor(
        _: object, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        return world.loop.create_task(world.database.call(lambda: function(*args)))

    return run_in_executor
