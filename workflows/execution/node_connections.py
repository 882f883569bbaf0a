"""Database connections of nodes' own code: closed after each node, and apart from ours.

Nodes may use the ORM. Their connections come from a pool of their own, half as large as
that of the process, in which a node waits long for its turn: code that holds a connection
while it works can keep neither pages nor the worker from theirs. After a node each
connection that its thread opened is closed, with whatever it left behind: a transaction,
a setting, a connection that the server has ended.
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

WAIT_SECONDS = 60.0  # that a node waits for a connection while others hold all of them


def prepare() -> None:
    """Let this thread take its connections from the nodes' pool, where there are pools."""
    for alias, settings in connections.settings.items():
        if settings["OPTIONS"].get("pool"):
            connections[alias] = _of_nodes(alias)


def clean_up() -> None:
    """Close all connections of this thread, and forget what their wrappers remember.

    A transaction that is open is rolled back, and said to have been left open.
    """
    used = [one for one in connections.all(initialized_only=True) if _is_used(one)]
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


def _of_nodes(alias: str) -> BaseDatabaseWrapper:
    kind: Any = type(connections.create_connection(alias))
    settings = connections.settings[alias]
    options = settings["OPTIONS"]
    size = options["pool"]["max_size"]
    pool = {"min_size": 0, "max_size": max(1, size // 2), "timeout": WAIT_SECONDS}
    given = {**options, "pool": {**options["pool"], **pool}}
    wrapper: BaseDatabaseWrapper = _apart(kind)({**settings, "OPTIONS": given}, alias)
    return wrapper


@functools.cache
def _apart(kind: Any) -> Any:  # a class
    """Return the same kind of connection, whose class keeps pools of its own."""
    return type("NodeDatabaseWrapper", (kind,), {"_connection_pools": {}})


class CleaningThreads(ThreadPoolExecutor):
    """Threads whose connections are closed after each call: for `asyncio.to_thread`."""

    def __init__(self, max_workers: int | None = None) -> None:
        """Take how many threads there are at most."""
        super().__init__(max_workers, "worker", initializer=prepare)

    def submit(
        self, function: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> Future[Result]:
        """Call the function in a thread."""
        return super().submit(_cleanly, functools.partial(function, *args, **kwargs))


def _cleanly(function: Callable[[], Result]) -> Result:
    try:
        return function()
    finally:
        clean_up()


class RunThread(Executor):
    """The thread in which one run's async nodes call sync code: `sync_to_async`, the ORM.

    It is started when it is first needed. Its connections are closed between two nodes and
    not between two calls: a query set is read by several of them.
    """

    def __init__(self) -> None:
        """Begin without a thread."""
        self._threads: ThreadPoolExecutor | None = None

    def submit(
        self, function: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> Future[Result]:
        """Call the function in the run's thread, after what was called before."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, "run", initializer=prepare)
        return self._threads.submit(function, *args, **kwargs)

    def after_node(self) -> None:
        """Close its connections, before the next call in it; nobody waits for that."""
        if self._threads is not None:
            self._threads.submit(clean_up).add_done_callback(_log_error)

    def end(self) -> None:
        """Let the thread end when it has done what it was given."""
        if self._threads is not None:
            self.after_node()
            self._threads.shutdown(wait=False)


def _log_error(done: Future[None]) -> None:
    if error := done.exception():
        logger.error("A node's connection could not be closed.", exc_info=error)
