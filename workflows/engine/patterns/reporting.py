"""Where a pattern tells its events: to the run's own observer, or to its own when it runs alone."""

from __future__ import annotations

from workflows.engine.cancellation import Cancellation
from workflows.engine.clock import Clock, SystemClock
from workflows.engine.context import Emit, NodeContext
from workflows.engine.events import Event
from workflows.engine.observers import NoOpObserver, Observer, notify, observers


def context_of(
    pattern: str,
    *,
    named: str,
    observer: Observer | None,
    cancellation: Cancellation | None,
    context: NodeContext | None,
) -> NodeContext:
    """The node's context, or one of its own for a pattern that runs outside a graph.

    The observer `named` in its configuration must exist either way; it is listened to only when
    there is no graph and no `observer`.
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
        emit=emitter(observer or named_observer, pattern, clock),
    )


def emitter(observer: Observer, source: str, clock: Clock) -> Emit | None:
    """What tells events to an observer; None when it does not listen."""
    if isinstance(observer, NoOpObserver):
        return None

    def emit(event: str, data: dict[str, object]) -> None:
        notify(observer, Event(event, clock.now(), source, data))

    return emit
