"""Parallel as a node: from one field of the state into another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from workflows.engine.config import ParallelConfig
from workflows.engine.context import NodeContext
from workflows.engine.errors import ConfigurationError
from workflows.engine.fair_scheduling import turns_of_loop
from workflows.engine.frozen import Json
from workflows.engine.item_places import Place, concurrency_at, placed
from workflows.engine.nodes import (
    AnyStep,
    Node,
    accepts_arguments,
    as_node,
    call_function,
)
from workflows.engine.state import State

from .items import Over, ResultCodec, items_of
from .parallel import ParallelResult, StoredItems
from .parallel import map as map_items

S = TypeVar("S", bound=State)

Into: TypeAlias = str | Callable[..., Any]


class ParallelNode(Node[Any, Any]):
    """A node that runs another node for every item and stores each result immediately."""

    kind = "parallel"

    def __init__(  # noqa: PLR0913 - from `parallel` alone
        self,
        item: Node[Any, Any],
        over: Over,
        into: Into,
        *,
        name: str,
        config: ParallelConfig,
        progress: Callable[[int, int, Any], object] | None,
        cpus: int | None,
        on: Place | None,
    ) -> None:
        super().__init__(name, doc=item.doc)
        self.item = placed(item, on)
        self.on = on
        self.over = over
        self.into = into
        self.config = config
        self.progress = progress
        self.cpus = cpus
        self._codec = ResultCodec(item)

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:
        """Execute one try and return the state with the results, including stored ones."""
        outcome: ParallelResult[Any] = await map_items(
            items_of(value, self.over, context.node),
            self.item,
            self.progress,
            config=self.config,
            context=context,
            runtime=runtime,
            stored=self._stored_items(context),
            cpus=self.cpus,
            at_once=await concurrency_at(self.on),
        )
        return await self._store_results(value, outcome, context)

    def _stored_items(self, context: NodeContext) -> StoredItems[Any]:
        read = self._codec.read

        def save(index: int, result: Any) -> Any:
            written = self._codec.write(result)
            if context.save_item is not None:
                context.save_item(index, written)
            return read(written)

        def fail(index: int, error: BaseException) -> None:
            if context.fail_item is not None:
                context.fail_item(index, error)

        return StoredItems(context.saved_items(), read, save, fail)

    async def _store_results(
        self, value: S, outcome: ParallelResult[Any], context: NodeContext
    ) -> S:
        if isinstance(self.into, str):
            if self.into in value.fields():
                return value.set(self.into, list(outcome.results))
            # an untyped state holds JSON only
            return value.set(self.into, await self._written(outcome.results))
        arguments = [value, list(outcome.results), list(outcome.errors)]
        count = 3 if accepts_arguments(self.into, 3) else 2
        state: S = await call_function(self.into, context, *arguments[:count])
        return state

    async def _written(self, results: Sequence[Any]) -> list[Json]:
        turns, written = turns_of_loop(), []
        for result in results:
            if not turns.take():
                await turns.wait()
            written.append(self._codec.write(result))
        return written


def parallel(  # noqa: PLR0913 - all but the first three are options
    item: Callable[..., Any] | Node[Any, Any],
    over: Over,
    into: Into,
    *,
    limit: int = 0,
    fail_fast: bool | None = None,
    name: str = "",
    config: ParallelConfig | None = None,
    progress: Callable[[int, int, Any], object] | None = None,
    cpus: int | None = None,
    on: Place | None = None,
) -> AnyStep:
    """Return a node that runs `item(value)` or `item(value, runtime)` for every value of `over`.

    - `over`: a field of the state, or a function of the state.
    - `into`: the field for the results in item order, or a function
      `(state, results)` or `(state, results, errors)` that returns the state.
    - `limit`: the number of concurrent items; 0 derives it from CPUs and items.
    - `on="processes"` runs each item, a sync function that needs a CPU, in a child process;
      `on="dask"` runs items on a Dask cluster if the installation has one, else as without it.
    - `fail_fast=False` runs all items despite failures, and fails only if none succeeded.

    Retries and the timeout of the item's node apply to each item. The result of a finished item is
    stored, and the item does not run again when the run is resumed.
    """
    config = (config or ParallelConfig()).merge(
        ParallelConfig(
            max_workers=limit, fail_fast=fail_fast, worker_cap=0, observer=""
        )
    )
    if min(limit, config.max_workers, config.worker_cap) < 0:
        raise ConfigurationError(
            "A parallel node has fewer than 0 workers: give limit=0 to let it choose.",
            code="config.workers",
        )
    return ParallelNode(
        as_node(item),
        over,
        into,
        name=name,
        config=config,
        progress=progress,
        cpus=cpus,
        on=on,
    )
