"""Who listens to a run. An observer never affects the walk: one that raises is skipped."""

from __future__ import annotations

import logging
from typing import Protocol

from .events import Event
from .names import Names

logger = logging.getLogger(__name__)


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
        """Write one line."""
        told = {key: value for key, value in event.data.items() if key not in _CONTENT}
        logger.info("%s %s %s", event.source, event.type, told)


_CONTENT = frozenset({"input_snapshot", "output_snapshot", "values", "reason"})


class MultiObserver:
    """Several observers as one, called in the given order; None is left out."""

    def __init__(self, *members: Observer | None) -> None:
        self.members = tuple(member for member in members if member is not None)

    def on_event(self, event: Event) -> None:
        """Give the event to each; one that raises does not keep it from the next."""
        for member in self.members:
            notify(member, event)


def notify(observer: Observer, event: Event) -> None:
    """Give an event to an observer; log it and go on when that raises."""
    try:
        observer.on_event(event)
    except Exception:
        logger.exception("%r did not take %s of %s", observer, event.type, event.source)


observers: Names[Observer] = Names("observer")
observers.register("noop", NoOpObserver())
observers.register("log", LogObserver())
