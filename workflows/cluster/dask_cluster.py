"""The connection of a process to a Dask scheduler, which all its items share."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from workflows.cluster.placed_calls import PlacedCall, SchedulerLost
from workflows.engine.errors import describe
from workflows.engine.item_places import ClusterUnavailable

if TYPE_CHECKING:
    from distributed import Client

    from workflows.engine.context import NodeContext
    from workflows.engine.isolation import Work

Result = TypeVar("Result")

CONNECT_SECONDS: Final = 5.0  # for one attempt to connect
RECONNECT_SECONDS: Final = 30.0  # in which a lost scheduler may come back
ITEMS_PER_THREAD: Final = 2  # one runs, the next one is there already
CLOSE_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)


class DaskCluster:
    """A cluster by the address of its scheduler. Thread-safe; connects when it is needed."""

    def __init__(
        self, address: str, reconnect_seconds: float = RECONNECT_SECONDS
    ) -> None:
        self.address = address
        self._reconnect_seconds = reconnect_seconds
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._failure: tuple[float, ClusterUnavailable] | None = None

    async def concurrency(self) -> int:
        """Return how many items are given to the cluster at once, 0 if it is not known."""
        try:
            connection = await asyncio.to_thread(self._connected)
            threads = await connection.on_loop(connection.threads)
        except Exception as error:  # the items themselves wait for it, and report it
            logger.warning("The size of the Dask cluster is unknown: %s", error)
            return 0
        return ITEMS_PER_THREAD * threads

    async def call(self, work: Work, runtime: object, context: NodeContext) -> Any:
        """Call the function of an item on a worker of the cluster, and return its result.

        An item whose worker is lost runs again on another one; that whose scheduler is lost
        waits for it, and is given to it again. Raises what the function raises, ProcessDied,
        IsolationFailed, and ClusterUnavailable if the scheduler does not come back.
        """
        call = PlacedCall(work, runtime, context)
        while True:
            connection = await self._wait_for_connection()
            try:
                return await call.on(connection)
            except SchedulerLost:
                logger.warning(
                    "The Dask scheduler was lost while %s ran there.", context.key
                )
                self._forget(connection)

    def close(self) -> None:
        """Close the connection; blocks for CLOSE_SECONDS at most."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _wait_for_connection(self) -> Connection:
        deadline = time.monotonic() + self._reconnect_seconds
        while True:
            try:
                return await asyncio.to_thread(self._connected)
            except ClusterUnavailable:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(1)

    def _connected(self) -> Connection:
        """Return the connection, opened if there is none. Raises ClusterUnavailable."""
        with self._lock:
            if self._connection is not None and self._connection.is_open:
                return self._connection
            if self._failure is not None and time.monotonic() - self._failure[0] < 1:
                raise self._failure[1]  # of another item
            try:
                self._connection = Connection(self.address)
            except Exception as error:
                failure = ClusterUnavailable(
                    f"The Dask scheduler at {self.address} (DASK_SCHEDULER) cannot be"
                    f" reached: {describe(error)}"
                )
                self._failure = time.monotonic(), failure
                raise failure from error
            return self._connection

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = None
        threading.Thread(
            target=connection.close, name="dask-close", daemon=True
        ).start()


class Connection:
    """A client of the scheduler, with an event loop in a thread of its own."""

    def __init__(self, address: str) -> None:
        from distributed import Client  # noqa: PLC0415 - an optional requirement

        self._client: Client = Client(
            address, timeout=CONNECT_SECONDS, set_as_default=False, name="signalbox"
        )
        self.topic = f"signalbox-{self._client.id}"
        self._calls: dict[str, PlacedCall] = {}
        self._client.subscribe_topic(self.topic, self._on_note)

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return bool(self._client.status == "running")

    async def on_loop(
        self, function: Callable[..., Coroutine[Any, Any, Result]], *values: Any
    ) -> Result:
        """Return the result of `function(client, *values)`, awaited on the client's loop."""
        loop = self._client.loop.asyncio_loop
        work = function(self._client, *values)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    @staticmethod
    async def threads(client: Client) -> int:
        """Return the number of threads of all workers."""
        found: dict[str, int] = await client.nthreads()
        return sum(found.values())

    def add(self, call_id: str, call: PlacedCall) -> None:
        """Pass notes about the messages of a call on to it."""
        self._calls[call_id] = call

    def remove(self, call_id: str) -> None:
        """Ignore notes about a call."""
        self._calls.pop(call_id, None)

    def close(self) -> None:
        """Close the client, and with it its tasks on the cluster."""
        try:
            self._client.close(timeout=CLOSE_SECONDS)
        except Exception as error:  # it is gone already
            logger.info("The connection to the Dask scheduler did not close: %s", error)

    def _on_note(self, event: tuple[float, Any]) -> None:
        """Take a note of a worker, on the client's loop."""
        _, note = event
        call = self._calls.get(note["call"])
        if call is not None:
            call.on_note(note["worker"])
