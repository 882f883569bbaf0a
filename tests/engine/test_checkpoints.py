"""Checkpoints in memory: their content, and the cost of storing them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pydantic import BaseModel

from workflows.engine.checkpoints import (
    CheckpointNotFound,
    CheckpointStore,
    FlushingStore,
    ItemStore,
    MemoryStore,
    stores,
)
from workflows.engine.errors import ConfigurationError, NotSerialisable
from workflows.engine.state import State


class Page(BaseModel):
    """A value that can be changed in place."""

    text: str


class Pages(State):
    """A typed state with such values."""

    pages: tuple[Page, ...] = ()


def a_state(run_id: str = "r", **values: Any) -> State:
    """Return a state of a run."""
    return State(values).stamped(run_id=run_id)


def test_the_newest_state_of_each_run_is_stored() -> None:
    store: CheckpointStore = MemoryStore()
    for state in (a_state(n=1), a_state(n=2), a_state("other", n=3)):
        store.save(state)
    assert store.load("r") == State(n=2)
    assert store.load("other").run_id == "other"
    assert store.list() == ["other", "r"]


def test_a_run_without_a_checkpoint_is_an_error_with_its_id() -> None:
    with pytest.raises(CheckpointNotFound, match="no checkpoint of run r9") as caught:
        MemoryStore().load("r9")
    assert caught.value.run_id == "r9"


def test_deleting_a_checkpoint_is_idempotent() -> None:
    store = MemoryStore()
    store.save(a_state())
    store.save_item("r", 1, 0, "x")
    store.delete("r")
    store.delete("r")
    assert store.list() == []
    assert store.saved_items("r", 1) == {}


def test_secrets_are_not_stored() -> None:
    store = MemoryStore()
    store.save(a_state().set_secret("token", "hush"))
    assert dict(store.load("r").secrets) == {}


def test_position_and_time_are_stored() -> None:
    store = MemoryStore()
    store.save(a_state().stamped(checkpoint_node="n", sequence=4))
    assert (store.load("r").checkpoint_node, store.load("r").sequence) == ("n", 4)


def test_saving_copies_no_data() -> None:
    store, state = MemoryStore(), a_state(big=list(range(1000)))
    store.save(state)
    assert store.load("r").data is state.data


def test_changes_in_place_after_saving_do_not_affect_the_checkpoint() -> None:
    store = MemoryStore()
    state = Pages(pages=(Page(text="as stored"),)).stamped(run_id="r")
    assert state.pages[0].text == "as stored"  # parsed before it is saved
    store.save(state)
    state.pages[0].text = "changed later"
    first, second = store.load("r"), store.load("r")
    assert isinstance(first, Pages)
    first.pages[0].text = "changed in what was loaded"
    assert isinstance(second, Pages)
    assert second.pages[0].text == "as stored"


# Items of a parallel node -----------------------------------------------------------


def test_items_are_stored_by_step_and_index_until_their_step_is_complete() -> None:
    store = MemoryStore()
    store.save(a_state().stamped(sequence=1))
    store.save_item("r", 2, 0, {"label": "x"})
    store.save_item("r", 2, 3, None)
    store.save_item("r", 3, 0, "later")
    assert store.saved_items("r", 2) == {0: {"label": "x"}, 3: None}
    store.save(a_state().stamped(sequence=2))
    assert store.saved_items("r", 2) == {}
    assert store.saved_items("r", 3) == {0: "later"}


def test_stored_items_cannot_be_changed_by_writers_or_readers() -> None:
    store, value = MemoryStore(), {"list": [1]}
    store.save_item("r", 1, 0, value)
    value["list"].append(2)
    store.saved_items("r", 1).clear()
    assert store.saved_items("r", 1) == {0: {"list": [1]}}
    with pytest.raises(NotSerialisable):
        store.save_item("r", 1, 1, object())


def test_the_features_of_a_store_are_detected_by_its_methods() -> None:
    class Plain:
        def save(self, state: State) -> None: ...

    class Later(Plain):
        async def flush(self) -> None: ...

    assert isinstance(MemoryStore(), ItemStore)
    assert not isinstance(MemoryStore(), FlushingStore)
    assert not isinstance(Plain(), ItemStore)
    assert isinstance(Later(), FlushingStore)


def test_many_threads_may_use_one_store() -> None:
    store = MemoryStore()
    together = threading.Barrier(8)

    def use(run_id: str) -> None:
        together.wait()
        for number in range(200):
            store.save(a_state(run_id, n=number).stamped(sequence=number))
            store.save_item(run_id, number + 1, 0, number)
            assert store.load(run_id).get("n") == number
            assert run_id in store.list()

    threads = [threading.Thread(target=use, args=(f"r{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.load(f"r{n}").get("n") for n in range(8)] == [199] * 8


def test_the_store_in_memory_is_registered_by_name() -> None:
    assert isinstance(stores.get("memory"), MemoryStore)
    with pytest.raises(ConfigurationError, match="No store is called “disk”") as caught:
        stores.get("disk")
    assert caught.value.code == "unknown_store"
