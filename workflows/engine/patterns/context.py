"""The context of a pattern: that of its node, or a separate one outside a graph."""

from __future__ import annotations

from workflows.engine.cancellation import Cancellation
from workflows.engine.clock import SystemClock
from workflows.engine.context import NodeContext
from workflows.engine.observers import NoOpObserver, Observer, make_emitter, observers


def pattern_context(
    pattern: str,
    *,
    named: str,
    observer: Observer | None,
    cancellation: Cancellation | None,
    context: NodeContext | None,
) -> NodeContext:
    """Return the node's context, or a new one for a pattern that runs outside a graph.

    `named` is the observer of the pattern's configuration. It must be registered in any case, but
    is used only without a graph and without `observer`. Raises ConfigurationError.
    """
    named_observer = observers.get(named) if named else NoOpObserver()
    if context is not None:
        return context
    clock = SystemClock()
    return NodeContext(
        run_id="",
        node=pattern,
        sequence=0,
        iteration=0,
        cancellation=cancellation or Cancellation(),
        clock=clock,
        emit=make_emitter(observer or named_observer, pattern, clock),
    )
