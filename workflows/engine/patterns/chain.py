"""Chain: fold items into a value sequentially."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from workflows.engine.cancellation import Cancellation
from workflows.engine.config import ChainConfig
from workflows.engine.context import NodeContext
from workflows.engine.errors import ChainError
from workflows.engine.events import EventType
from workflows.engine.nodes import (
    AnyStep,
    Node,
    accepts_arguments,
    call_function,
    runtime_for_try,
)
from workflows.engine.observers import Observer
from workflows.engine.retries import Retry
from workflows.engine.state import State

from .context import pattern_context
from .items import Over, items_of

Item = TypeVar("Item")
Value = TypeVar("Value")
S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True)
class ChainResult(Generic[Value]):
    """The result of a chain, also of a failed one."""

    final: Value  # the accumulator after the last completed step
    steps: int  # number of completed steps
    intermediates: tuple[Value, ...] | None = (
        None  # the initial value and one per step, if captured
    )


async def fold(  # noqa: PLR0913 - arguments of the pattern, then of its context
    items: Iterable[Item],
    initial: Value,
    processor: Callable[[Value, Item], Value | Awaitable[Value]],
    progress: Callable[[int, int, Value], object] | None = None,
    *,
    config: ChainConfig | None = None,
    observer: Observer | None = None,
    cancellation: Cancellation | None = None,
    context: NodeContext | None = None,
) -> ChainResult[Value]:
    """Call `processor(accumulated, item)` for every item in order.

    1. Cancellation before a step raises ChainError at that step.
    2. An error of the processor raises ChainError with step, item and previous accumulator.
    3. `progress(finished, total, accumulated)` is called after every step.
    """
    config = config or ChainConfig()
    context = pattern_context(
        "chain",
        named=config.observer,
        observer=observer,
        cancellation=cancellation,
        context=context,
    )
    captured = [initial] if config.capture_intermediate_states else None
    state_fold = _Fold(list(items), initial, processor, progress, captured, context)
    return await state_fold.run()


@dataclass(eq=False, slots=True)
class _Fold(Generic[Item, Value]):
    items: list[Item]
    value: Value  # so far
    processor: Callable[[Value, Item], Value | Awaitable[Value]]
    progress: Callable[[int, int, Value], object] | None
    captured: list[Value] | None
    context: NodeContext
    steps: int = 0  # finished

    async def run(self) -> ChainResult[Value]:
        self.context.emit_event(
            EventType.CHAIN_START,
            {
                "item_count": len(self.items),
                "has_progress_callback": self.progress is not None,
                "capture_intermediate": self.captured is not None,
            },
        )
        for item in self.items:
            await self._step(item)
        self._complete(error=False)
        return self.result

    @property
    def result(self) -> ChainResult[Value]:
        captured = None if self.captured is None else tuple(self.captured)
        return ChainResult(self.value, self.steps, captured)

    async def _step(self, item: Item) -> None:
        if self.context.cancellation.cancelled:
            self._complete(error=True, error_type="cancellation")
            raise self._error(
                "chain.cancelled", item
            ) from self.context.cancellation.error()
        place = {"step_index": self.steps, "total_steps": len(self.items)}
        self.context.emit_event(EventType.STEP_START, dict(place))
        try:
            value: Value = await call_function(
                self.processor, self.context, self.value, item
            )
        except BaseException as error:
            self.context.emit_event(EventType.STEP_COMPLETE, place | {"error": True})
            failed = isinstance(error, Exception)
            self._complete(
                error=True, error_type="processor" if failed else "cancellation"
            )
            if failed:
                raise self._error("chain.processor", item) from error
            raise
        self.context.emit_event(EventType.STEP_COMPLETE, place | {"error": False})
        await self._record(value)

    async def _record(self, value: Value) -> None:
        self.value = value
        self.steps += 1
        if self.captured is not None:
            self.captured.append(value)
        if self.progress is not None:
            await call_function(
                self.progress, self.context, self.steps, len(self.items), value
            )

    def _complete(self, **outcome: object) -> None:
        self.context.emit_event(
            EventType.CHAIN_COMPLETE, {"steps_completed": self.steps, **outcome}
        )

    def _error(self, code: str, item: Item) -> ChainError:
        return ChainError(
            code, step=self.steps, item=item, state=self.value, result=self.result
        )


class ChainNode(Node[Any, Any]):
    """A node that folds items into its state."""

    kind = "chain"

    def __init__(  # noqa: PLR0913 - from `chain` alone
        self,
        step: Callable[..., Any],
        over: Over,
        *,
        name: str,
        config: ChainConfig,
        progress: Callable[[int, int, Any], object] | None,
        retry: Retry | None,
        timeout: float | None,
    ) -> None:
        super().__init__(name, retry=retry, timeout=timeout, doc=step.__doc__ or "")
        self.step = step
        self.over = over
        self.config = config
        self.progress = progress
        self._accepts_runtime = accepts_arguments(step, 3)

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:
        """Execute one try and return the state after the last item."""
        step = self.step
        if self._accepts_runtime:
            step = functools.partial(
                _with_runtime, step, runtime_for_try(runtime, context), context
            )
        items = items_of(value, self.over, context.node)
        result = await fold(
            items, value, step, self.progress, config=self.config, context=context
        )
        return result.final


async def _with_runtime(
    step: Callable[..., Any],
    runtime: object,
    context: NodeContext,
    state: S,
    item: object,
) -> S:
    after: S = await call_function(step, context, state, item, runtime)
    return after


def chain(  # noqa: PLR0913 - all but the first two are options
    step: Callable[..., Any],
    over: Over,
    *,
    name: str = "",
    config: ChainConfig | None = None,
    progress: Callable[[int, int, Any], object] | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
) -> AnyStep:
    """Return a node that calls `step(state, item)` or `step(state, item, runtime)` per item.

    `over` is a field of the state or a function of the state.
    """
    return ChainNode(
        step,
        over,
        name=name,
        config=config or ChainConfig(),
        progress=progress,
        retry=retry,
        timeout=timeout,
    )
