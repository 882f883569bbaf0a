"""Where the items of a parallel node run: `parallel(…, on=…)`.

Items on "processes" run in kept child processes of the worker, those on "dask" on the cluster
that the process of the run is connected to. Without one they run like any other item.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args

from . import kept_processes
from .context import NodeContext
from .errors import DefinitionError, RunError
from .isolation import Work
from .nodes import FunctionNode, Node, is_async

Place: TypeAlias = Literal["processes", "dask"]
PLACES: tuple[str, ...] = get_args(Place)


class ClusterUnavailable(RunError, ConnectionError):
    """The Dask cluster on which items run cannot be reached."""


class Cluster(Protocol):
    """Computers that run items."""

    async def concurrency(self) -> int:
        """Return how many items are given to it at once, 0 if it is not known."""

    async def call(self, work: Work, runtime: object, context: NodeContext) -> Any:
        """Call the function of an item there, and return its result. Raises its error."""

    def close(self) -> None:
        """Close the connection; blocks. The next call opens another one."""


_cluster: Cluster | None = None


def use_cluster(cluster: Cluster | None) -> None:
    """Run the items on "dask" of this process there; None: as if they had no `on`."""
    global _cluster  # noqa: PLW0603 - one per process, like its thread pool
    _cluster = cluster


def close() -> None:
    """End what waits for items of this process; the next items start it again."""
    kept_processes.processes.close()
    if _cluster is not None:
        _cluster.close()


async def concurrency_at(place: Place | None) -> int:
    """Return how many items run there at once by default, 0 if the engine may choose."""
    if place == "processes":
        return kept_processes.processes.size
    if place == "dask" and _cluster is not None:
        return await _cluster.concurrency()
    return 0


class PlacedNode(FunctionNode[Any, Any, Any]):
    """The node of items whose function is called elsewhere."""

    def __init__(self, item: FunctionNode[Any, Any, Any], place: Place) -> None:
        super().__init__(
            item.function,
            item.name,
            retry=item.retry,
            timeout=item.timeout,
            heartbeat=item.heartbeat,
            undo=item.undo,
        )
        self.place = place

    async def run(self, value: Any, runtime: object, context: NodeContext) -> Any:
        """Execute one try, elsewhere if there is such a place."""
        call = self._call_elsewhere()
        if call is None:
            return await super().run(value, runtime, context)
        return await call(self.work_of(value), self.given(runtime, context), context)

    def _call_elsewhere(self) -> Callable[..., Awaitable[Any]] | None:
        if self.place == "processes":
            return kept_processes.call_kept
        return None if _cluster is None else _cluster.call


def placed(item: Node[Any, Any], place: object) -> Node[Any, Any]:
    """Return the node of items that run there. Raises DefinitionError if they cannot."""
    if place is None:
        return item
    if place not in PLACES:
        known = " or ".join(f'"{name}"' for name in PLACES)
        raise DefinitionError(
            f"parallel(on={place!r}) is no place for items: use {known}, or leave it out."
        )
    refuse = functools.partial(_refusal, item, place)
    if not isinstance(item, FunctionNode):
        raise refuse("it is no function: give a function of an item")
    if item.isolation is not None:
        raise refuse(
            "isolate= starts a separate process for each item: use one of the two"
        )
    if place == "processes" and is_async(item.function):
        raise refuse("it is async, and would wait there alone: define it with `def`")
    _check_sendable(item, refuse)
    return PlacedNode(item, cast("Place", place))


def _check_sendable(item: FunctionNode[Any, Any, Any], refuse: Any) -> None:
    """Raise DefinitionError for a function that another process cannot import by its name."""
    remedy = (
        "another process imports it by name: define it at the top level of a module"
    )
    path = getattr(item.function, "__qualname__", "")
    if not path:
        raise refuse(f"it is an object without a name, and {remedy}")
    if "<lambda>" in path:
        raise refuse(f"it is a lambda, and {remedy}")
    if "<locals>" in path:
        raise refuse(f"it is defined inside another function, and {remedy}")


def _refusal(item: Node[Any, Any], place: str, why: str) -> DefinitionError:
    return DefinitionError(f"Items of {item!r} cannot run on {place}: {why}.")
