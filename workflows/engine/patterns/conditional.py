"""Conditional: select a handler by name, which returns the next state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from workflows.engine.cancellation import Cancellation
from workflows.engine.config import ConditionalConfig
from workflows.engine.context import NodeContext
from workflows.engine.errors import ConditionalError, ConfigurationError
from workflows.engine.events import EventType
from workflows.engine.nodes import AnyStep, Node, as_node, call_function
from workflows.engine.observers import Observer
from workflows.engine.retries import Retry, run_with_retries
from workflows.engine.state import State

from .context import pattern_context

Value = TypeVar("Value")
S = TypeVar("S", bound=State)

DEFAULT_ROUTE = "default"  # the route in events when no handler has the chosen name


async def route(  # noqa: PLR0913 - arguments of the pattern, then of its context
    state: Value,
    choose: Callable[[Value], str | Awaitable[str]],
    handlers: Mapping[str, Callable[..., Any]],
    default: Callable[..., Any] | None = None,
    *,
    config: ConditionalConfig | None = None,
    observer: Observer | None = None,
    cancellation: Cancellation | None = None,
    context: NodeContext | None = None,
    runtime: object = None,
) -> Value:
    """Call the handler named by `choose(state)` and return its state.

    Raises ConditionalError with route, unchanged state and cause.
    """
    config = config or ConditionalConfig()
    try:
        context = pattern_context(
            "conditional",
            named=config.observer,
            observer=observer,
            cancellation=cancellation,
            context=context,
        )
    except ConfigurationError as error:
        raise ConditionalError("conditional.unknown_observer", state=state) from error
    return await _Route(state, choose, handlers, default, context, runtime).run()


@dataclass(frozen=True, slots=True)
class _Route(Generic[Value]):
    state: Value
    choose: Callable[[Value], str | Awaitable[str]]
    handlers: Mapping[str, Callable[..., Any]]
    default: Callable[..., Any] | None
    context: NodeContext
    runtime: object

    async def run(self) -> Value:
        self._raise_if_cancelled("")
        self.context.emit_event(
            EventType.ROUTE_EVALUATE, {"route_count": len(self.handlers)}
        )
        chosen = await self._choose_route()
        name, handler = self._handler(chosen)
        self.context.emit_event(
            EventType.ROUTE_SELECT,
            {"route": name, "has_default": self.default is not None},
        )
        self._raise_if_cancelled(name)
        try:
            state: Value = await run_with_retries(
                as_node(handler), self.state, self.runtime, self.context
            )
        except Exception as error:
            raise ConditionalError(
                "conditional.handler", route=name, state=self.state
            ) from error
        self.context.emit_event(
            EventType.ROUTE_EXECUTE, {"route": name, "error": False}
        )
        return state

    async def _choose_route(self) -> str:
        try:
            chosen = _require_text(
                await call_function(self.choose, self.context, self.state)
            )
        except Exception as error:
            raise ConditionalError("conditional.predicate", state=self.state) from error
        return chosen

    def _handler(self, chosen: str) -> tuple[str, Callable[..., Any]]:
        if chosen in self.handlers:
            return chosen, self.handlers[chosen]
        if self.default is not None:
            return DEFAULT_ROUTE, self.default
        raise ConditionalError(
            "conditional.unknown_route", route=chosen, state=self.state
        )

    def _raise_if_cancelled(self, name: str) -> None:
        if self.context.cancellation.cancelled:
            cause = self.context.cancellation.error()
            raise ConditionalError(
                "conditional.cancelled", route=name, state=self.state
            ) from cause


def _require_text(chosen: object) -> str:
    if not isinstance(chosen, str):
        raise TypeError(f"a route is a text, not {type(chosen).__name__}")
    return chosen


class ConditionalNode(Node[Any, Any]):
    """A node that passes its state to the handler that a function names."""

    kind = "conditional"

    def __init__(  # noqa: PLR0913 - from `conditional` alone
        self,
        choose: Callable[[Any], Any],
        handlers: Mapping[str, Callable[..., Any]],
        default: Callable[..., Any] | None,
        *,
        name: str,
        config: ConditionalConfig,
        retry: Retry | None,
        timeout: float | None,
    ) -> None:
        super().__init__(name, retry=retry, timeout=timeout, doc=choose.__doc__ or "")
        self.choose = choose
        self.handlers = dict(handlers)
        self.default = default
        self.config = config

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:
        """Execute one try and return the state of the chosen handler."""
        return await route(
            value,
            self.choose,
            self.handlers,
            self.default,
            config=self.config,
            context=context,
            runtime=runtime,
        )


def conditional(  # noqa: PLR0913 - all but the first three are options
    choose: Callable[[Any], Any],
    handlers: Mapping[str, Callable[..., Any]],
    default: Callable[..., Any] | None = None,
    *,
    name: str = "",
    config: ConditionalConfig | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
) -> AnyStep:
    """Return a node that calls the handler named by `choose(state)`, else `default`.

    A handler is `fn(state)` or `fn(state, runtime)` and returns the state.
    """
    return ConditionalNode(
        choose,
        handlers,
        default,
        name=name,
        config=config or ConditionalConfig(),
        retry=retry,
        timeout=timeout,
    )
