"""Database connections of nodes: closed after each node, and separate from the worker's.

Nodes may use the ORM. Their connections come from a separate pool, half as large as that
of the process, with a long timeout: code that holds a connection while it works cannot
block pages or the worker. After a node each connection that its thread opened is closed,
with anything left behind: a transaction, a setting, a connection that the server closed.
"""

from __future__ import annotations

import functools
import logging
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

WAIT_SECONDS = 60.0  # for a connection, while other nodes hold all of them


def prepare() -> None:
    """Use the pool of the nodes in this thread, if the database has pools."""
    for alias, settings in connections.settings.items():
        if settings["OPTIONS"].get("pool"):
            connections[alias] = _node_connection(alias)


def clean_up() -> None:
    """Close all connections of this thread, and drop their wrappers with their state.

    An open transaction is rolled back and logged.
    """
    used = [
        connection
        for connection in connections.all(initialized_only=True)
        if _is_used(connection)
    ]
    for connection in used:
        try:
            _close(connection)
        finally:
            del connections[connection.alias]
    if used:
        prepare()


def _is_used(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is not None or connection.in_atomic_block


def _close(connection: BaseDatabaseWrapper) -> None:
    if connection.in_atomic_block or not connection.autocommit:
        logger.warning(
            "A node left a transaction open on the database “%s”: it is rolled back.",
            connection.alias,
        )
    connection.close()


def _node_connection(alias: str) -> BaseDatabaseWrapper:
    kind: Any = type(connections.create_connection(alias))
    settings = connections.settings[alias]
    options = settings["OPTIONS"]
    size = options["pool"]["max_size"]
    pool = {"min_size": 0, "max_size": max(1, size // 2), "timeout": WAIT_SECONDS}
    node_options = {**options, "pool": {**options["pool"], **pool}}
    wrapper: BaseDatabaseWrapper = _with_own_pools(kind)(
        {**settings, "OPTIONS": node_options}, alias
    )
    return wrapper


@functools.cache
def _with_own_pools(kind: Any) -> Any:  # a class
    """Return a subclass of a connection class that has separate pools."""
    return type("NodeDatabaseWrapper", (kind,), {"_connection_pools": {}})


class CleaningThreads(ThreadPoolExecutor):
    """Threads whose connections are closed after each call: for `asyncio.to_thread`."""

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__(max_workers, "worker", initializer=prepare)

    def submit(
        self, function: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> Future[Result]:
        """Call the function in a thread, then close its connections."""
        return super().submit(
            _call_and_clean_up, functools.partial(function, *args, **kwargs)
        )


def _call_and_clean_up(function: Callable[[], Result]) -> Result:
    try:
        return function()
    finally:
        clean_up()


class RunThread(Executor):
    """The thread in which one run's async nodes call sync code: `sync_to_async`, the ORM.

    It is started at its first use. Its connections are closed between two nodes and not
    between two calls: a query set is read by several calls.
    """

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    def submit(
        self, function: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> Future[Result]:
        """Call the function in the run's thread, after all earlier calls."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, "run", initializer=prepare)
        return self._threads.submit(function, *args, **kwargs)

    def after_node(self) -> None:
        """Close its connections before its next call, without waiting for that."""
        if self._threads is not None:
            self._threads.submit(clean_up).add_done_callback(_log_error)

    def end(self) -> None:
        """End the thread after all calls that were submitted."""
        if self._threads is not None:
            self.after_node()
            self._threads.shutdown(wait=False)


def _log_error(done: Future[None]) -> None:
    if error := done.exception():
        logger.error("A node's connection could not be closed.", exc_info=error)
