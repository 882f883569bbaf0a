"""Observers of runs. Errors of an observer are logged and do not affect the run.

The exception is an observer that makes the run durable (see `FlushingStore`): its error is raised,
since a record would otherwise be lost unnoticed.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Protocol

from .checkpoints import FlushingStore
from .events import EVENT_TYPES, Event, EventType
from .registry import Registry

if TYPE_CHECKING:
    from collections.abc import Collection

    from .clock import Clock
    from .context import Emit

logger = logging.getLogger(__name__)

CONTENT = frozenset(
    {"input_snapshot", "output_snapshot", "values", "reason", "question"}
)
"""Event data with content of the state, which must not be logged."""


class Observer(Protocol):
    """Receives every event of a run, in order and synchronously.

    An observer with an attribute `event_types`, a set of types, receives no others; the
    engine does not even create them.
    """

    def on_event(self, event: Event) -> None:
        """Handle an event."""


class NoOpObserver:
    """Ignores all events; the runner then creates none."""

    def on_event(self, event: Event) -> None:
        """Do nothing."""


class LogObserver:
    """Logs events without content of the state."""

    def on_event(self, event: Event) -> None:
        """Log one line; a failed run as a warning."""
        level = logging.WARNING if event.type == EventType.GRAPH_ERROR else logging.INFO
        if logger.isEnabledFor(level):
            data = {
                key: value for key, value in event.data.items() if key not in CONTENT
            }
            fields = {"event": event.type, "graph": event.source, "facts": data}
            logger.log(level, "%s %s %s", event.source, event.type, data, extra=fields)


class MultiObserver:
    """Several observers, called in the given order; None is ignored."""

    def __init__(self, *members: Observer | None) -> None:
        """A member that is given twice is called twice."""
        self.members = tuple(member for member in members if member is not None)

    def on_event(self, event: Event) -> None:
        """Send the event to each member, also after an error of another one."""
        for member in self.members:
            notify(member, event)


def notify(observer: Observer, event: Event) -> None:
    """Send an event to an observer and log its errors.

    Errors of a durable observer, or of a group that contains one, are raised instead.
    """
    try:
        observer.on_event(event)
    except Exception:
        if is_durable(observer):
            raise
        logger.exception(
            "%r could not handle %s of %s", observer, event.type, event.source
        )


def make_emitter(observer: Observer, source: str, clock: Clock) -> Emit | None:
    """Return a function that sends events to an observer; None if it ignores all events."""
    if isinstance(observer, NoOpObserver):
        return None
    wanted: Collection[str] = getattr(observer, "event_types", EVENT_TYPES)
    on_event, now = observer.on_event, clock.now

    def emit_or_raise(event: str, data: dict[str, Any]) -> None:
        if event in wanted:
            on_event(Event(event, now(), source, data))

    def emit(event: str, data: dict[str, Any]) -> None:
        if event in wanted:
            notify(observer, Event(event, now(), source, data))

    return emit_or_raise if is_durable(observer) else emit


def is_durable(observer: Observer) -> bool:
    """Return whether an observer, or a member of it, makes the run durable."""
    if isinstance(observer, MultiObserver):
        return any(map(is_durable, observer.members))
    return _is_flushing(type(observer))


@functools.lru_cache(maxsize=1_000)
def _is_flushing(observer: type) -> bool:
    """Return whether a class is a FlushingStore; cached, as each run asks."""
    return issubclass(observer, FlushingStore)


observers: Registry[Observer] = Registry("observer")
observers.register("noop", NoOpObserver())
observers.register("log", LogObserver())
