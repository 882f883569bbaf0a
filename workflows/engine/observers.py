"""Who listens to a run. An observer never affects the walk: one that raises is skipped.

The exception is an observer that makes the run durable (it has `settle`, see `Settles`): a record
it could not take would be lost without anyone noticing, so its error is raised.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from .checkpoints import FlushingStore
from .events import Event, EventType
from .registry import Registry

if TYPE_CHECKING:
    from .clock import Clock
    from .context import Emit

logger = logging.getLogger(__name__)

CONTENT = frozenset(
    {"input_snapshot", "output_snapshot", "values", "reason", "question"}
)
"""Data of events that tell what a state holds, which no log should."""


class Observer(Protocol):
    """Gets every event of a run, in order, while the walk waits."""

    def on_event(self, event: Event) -> None:
        """Take an event."""


class NoOpObserver:
    """Listens to nothing; the walk then builds no events at all."""

    def on_event(self, event: Event) -> None:
        """Do nothing."""


class LogObserver:
    """Writes events to the log: what happened and where, never what a state holds."""

    def on_event(self, event: Event) -> None:
        """Write one line; a run that failed is a warning."""
        level = logging.WARNING if event.type == EventType.GRAPH_ERROR else logging.INFO
        if logger.isEnabledFor(level):
            content = {
                key: value for key, value in event.data.items() if key not in CONTENT
            }
            fields = {"event": event.type, "graph": event.source, "facts": content}
            logger.log(
                level, "%s %s %s", event.source, event.type, content, extra=fields
            )


class MultiObserver:
    """Several observers as one, called in the given order; None is left out."""

    def __init__(self, *members: Observer | None) -> None:
        """Take the members; one that is given twice is called twice."""
        self.members = tuple(member for member in members if member is not None)

    def on_event(self, event: Event) -> None:
        """Give the event to each; one that raises does not keep it from the next."""
        for member in self.members:
            notify(member, event)


def notify(observer: Observer, event: Event) -> None:
    """Give an event to an observer; log it and go on when that raises.

    Raises only what an observer raises that makes the run durable, or a group of observers with
    such a one in it.
    """
    try:
        observer.on_event(event)
    except Exception:
        if is_durable(observer):
            raise
        logger.exception("%r did not take %s of %s", observer, event.type, event.source)


def make_emitter(observer: Observer, source: str, clock: Clock) -> Emit | None:
    """Return a function that sends events to an observer; None if it ignores all events."""
    if isinstance(observer, NoOpObserver):
        return None

    def emit(event: str, data: dict[str, Any]) -> None:
        notify(observer, Event(event, clock.now(), source, data))

    return emit


def is_durable(observer: Observer) -> bool:
    """Tell whether an observer makes the run durable, or a member of it does."""
    if isinstance(observer, MultiObserver):
        return any(map(is_durable, observer.members))
    return isinstance(observer, FlushingStore)


observers: Registry[Observer] = Registry("observer")
observers.register("noop", NoOpObserver())
observers.register("log", LogObserver())
