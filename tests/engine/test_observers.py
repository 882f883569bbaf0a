"""Observers: notified in order, without effect on the run, and without values of the state."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from workflows.engine import Graph, State
from workflows.engine.errors import ConfigurationError
from workflows.engine.events import EVENT_TYPES, Event, EventType
from workflows.engine.observers import (
    LogObserver,
    MultiObserver,
    NoOpObserver,
    Observer,
    notify,
    observers,
)
from workflows.engine.registry import Registry

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def an_event(kind: str = EventType.NODE_START, **data: Any) -> Event:
    """Return an event of the graph “g”."""
    return Event(kind, NOON, "g", data)


class Recording:
    """Appends its name and the events it gets in a list shared by several."""

    def __init__(self, name: str, reported: list[tuple[str, str]]) -> None:
        self.name = name
        self.reported = reported

    def on_event(self, event: Event) -> None:
        self.reported.append((self.name, event.type))


class Failing:
    """Raises the given exception."""

    def on_event(self, event: Event) -> None:
        raise ValueError(f"no {event.type}, please")


class Durable(Failing):
    """Raises too, but makes the run durable."""

    async def flush(self) -> None:
        """Do nothing."""


class Selective(Recording):
    """Receives two types of events."""

    event_types = frozenset({EventType.NODE_START, EventType.GRAPH_COMPLETE})


async def test_an_observer_with_event_types_receives_no_others() -> None:
    reported: list[tuple[str, str]] = []
    graph = Graph("g", observer=Selective("one", reported))
    graph.add_node("only", lambda state: state)
    graph.set_entry_point("only")
    graph.set_exit_point("only")
    await graph.execute(State())
    expected = (EventType.NODE_START, EventType.GRAPH_COMPLETE)
    assert reported == [("one", kind) for kind in expected]


def test_an_event_is_frozen_and_its_repr_omits_the_data() -> None:
    event = an_event(input_snapshot={"secret": 1})
    with pytest.raises(AttributeError):
        event.type = "other"  # type: ignore[misc]
    assert "secret" not in repr(event)


def test_every_type_of_event_is_known_by_its_wire_name() -> None:
    assert len(EVENT_TYPES) == len(set(EVENT_TYPES)) == 26
    assert EventType.GRAPH_START in EVENT_TYPES
    assert all(name == name.lower() and "." in name for name in EVENT_TYPES)


def test_several_observers_are_called_in_the_given_order() -> None:
    reported: list[tuple[str, str]] = []
    first, second = Recording("a", reported), Recording("b", reported)
    several = MultiObserver(first, None, second, first)
    several.on_event(an_event("node.start"))
    several.on_event(an_event("node.complete"))
    assert reported == [
        ("a", "node.start"), ("b", "node.start"), ("a", "node.start"),
        ("a", "node.complete"), ("b", "node.complete"), ("a", "node.complete"),
    ]  # fmt: skip


def test_an_observer_that_raises_is_logged_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reported: list[tuple[str, str]] = []
    several = MultiObserver(
        Recording("a", reported), Failing(), Recording("b", reported)
    )
    notify(several, an_event())
    assert [name for name, _ in reported] == ["a", "b"]
    assert "could not handle node.start of g" in caplog.text
    assert "no node.start, please" in caplog.text


def test_the_error_of_a_durable_observer_is_raised_at_any_position() -> None:
    for observer in (
        Durable(),
        MultiObserver(NoOpObserver(), Durable()),
        MultiObserver(MultiObserver(Durable())),
    ):
        with pytest.raises(ValueError, match="please"):
            notify(observer, an_event())


def test_a_signal_passes_through() -> None:
    class Stopping:
        def on_event(self, event: Event) -> None:
            raise KeyboardInterrupt(event.type)

    with pytest.raises(KeyboardInterrupt):
        notify(Stopping(), an_event())


def test_the_log_reports_events_without_values_of_the_state(
    caplog: pytest.LogCaptureFixture,
) -> None:
    event = an_event(
        EventType.EDGE_EVALUATE,
        node="weigh",
        input_snapshot={"a": "private"},
        output_snapshot={"a": "private"},
        values={"a": "private"},
        reason="a is private",
        question="Is “private” right?",
    )
    with caplog.at_level(logging.INFO):
        LogObserver().on_event(event)
    (record,) = caplog.records
    assert record.getMessage() == "g edge.evaluate {'node': 'weigh'}"
    assert "private" not in str(vars(record))
    assert vars(record)["event"] == "edge.evaluate"


def test_the_log_marks_failures_and_respects_the_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        LogObserver().on_event(an_event())
        LogObserver().on_event(an_event(EventType.GRAPH_ERROR, code="dead_end"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_no_op_observer_accepts_every_event() -> None:
    reported: list[tuple[str, str]] = []
    notify(MultiObserver(NoOpObserver(), Recording("a", reported)), an_event())
    assert reported == [("a", "node.start")]


# By name ----------------------------------------------------------------------------


def test_observers_are_found_by_name() -> None:
    assert isinstance(observers.get("noop"), NoOpObserver)
    assert isinstance(observers.get("log"), LogObserver)


def test_an_unknown_name_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match=r"No observer is called “lgo”.*log, noop"
    ) as caught:
        observers.get("lgo")
    assert caught.value.code == "unknown_observer"


def test_a_name_can_be_replaced_and_unregistered() -> None:
    names: Registry[Observer] = Registry("observer")
    first, second = NoOpObserver(), LogObserver()
    names.register("x", first)
    names.register("x", second)
    assert names.get("x") is second
    names.unregister("x")
    names.unregister("x")
    with pytest.raises(ConfigurationError, match="use one of these: none"):
        names.get("x")


def test_an_observer_without_a_name_is_refused() -> None:
    names: Registry[Observer] = Registry("observer")
    with pytest.raises(ConfigurationError, match="without a name") as caught:
        names.register("", NoOpObserver())
    assert caught.value.code == "config.empty_name"
    assert names.list() == []


def test_many_threads_can_register_concurrently() -> None:
    names: Registry[int] = Registry("number")
    together = threading.Barrier(8)

    def register(start: int) -> None:
        together.wait()
        for number in range(start, 400, 8):
            names.register(f"n{number}", number)
            assert names.get(f"n{number}") == number
            names.list()

    threads = [threading.Thread(target=register, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names.get(name) for name in names.list()) == list(range(400))
