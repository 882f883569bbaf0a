"""Patches between two states: exact, small, and computed by identity."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.json_values import VALUES, changed
from workflows.engine import json_patch
from workflows.engine.errors import CheckpointMismatch
from workflows.engine.frozen import FrozenDict, equal, freeze, share
from workflows.engine.state import State


def through_text(patch: list[json_patch.Operation]) -> list[json_patch.Operation]:
    """Return a patch as it is read from a database."""
    operations: list[json_patch.Operation] = json.loads(json.dumps(patch))
    return operations


class Untouchable(FrozenDict):
    """An object that raises at any access to its content."""

    __slots__ = ()

    def _fail(self, *_: object) -> Any:
        raise AssertionError("someone looked into what had not changed")

    keys = values = items = get = __getitem__ = __iter__ = __len__ = _fail


@given(VALUES, VALUES)
def test_a_patch_transforms_one_value_into_any_other_exactly(
    before: Any, after: Any
) -> None:
    patch = through_text(json_patch.diff(freeze(before), freeze(after)))
    result = json_patch.apply(patch, freeze(before))
    assert equal(result, after)
    assert json.dumps(result) == json.dumps(after)  # the order of keys as well


@given(VALUES.flatmap(lambda value: st.tuples(st.just(value), changed(value))))
def test_a_patch_between_nearly_equal_values_is_exact(
    values: tuple[Any, Any],
) -> None:
    before = freeze(values[0])
    after = share(before, freeze(values[1]))
    result = json_patch.apply(through_text(json_patch.diff(before, after)), before)
    assert equal(result, after)
    assert json.dumps(result) == json.dumps(after)


@given(VALUES)
def test_equal_values_have_no_patch(value: Any) -> None:
    assert json_patch.diff(freeze(value), freeze(json.loads(json.dumps(value)))) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), VALUES), max_size=8))
def test_the_patches_of_a_run_rebuild_every_state(
    changes: list[tuple[str, Any]],
) -> None:
    states = [State()]
    for key, value in changes:
        states.append(states[-1].set(key, value))
    data = states[0].data
    for before, after in itertools.pairwise(states):
        data = json_patch.apply(
            through_text(json_patch.diff(before.data, after.data)), data
        )
        assert json.dumps(data) == json.dumps(after.data)


def test_identical_objects_are_not_compared() -> None:
    big: Any = dict.__new__(Untouchable)
    before = freeze({"n": 1}).with_items({"big": big})
    after = before.with_items({"n": 2})
    assert json_patch.diff(before, after) == [
        {"op": "replace", "path": "/n", "value": 2}
    ]


def test_an_append_is_one_small_operation_for_a_list_of_any_length() -> None:
    before = State(verdicts=[{"page": page, "label": "x" * 50} for page in range(1000)])
    after = before.append("verdicts", {"page": 1000}, {"page": 1001})
    patch = json_patch.diff(before.data, after.data)
    assert patch == [
        {"op": "add", "path": "/verdicts/-", "value": {"page": 1000}},
        {"op": "add", "path": "/verdicts/-", "value": {"page": 1001}},
    ]
    assert json_patch.size(patch) < 150


def test_each_kind_of_change_is_reported_with_its_path() -> None:
    before = freeze({"same": [1], "gone": 1, "object": {"list": [{"a": 1}, 2]}})
    after = freeze({"same": [1], "object": {"list": [{"a": 2}, 2]}, "new": {}})
    assert json_patch.diff(before, after) == [
        {"op": "remove", "path": "/gone"},
        {"op": "replace", "path": "/object/list/0/a", "value": 2},
        {"op": "add", "path": "/new", "value": {}},
    ]


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ([1, 2, 3], [0, 1, 2, 3], [("add", "/0")]),
        ([1, 2, 3], [1, 3], [("remove", "/1")]),
        ([1, 2, 3], [1], [("remove", "/2"), ("remove", "/1")]),
        ([1, 2, 3], [1, 9, 8, 3], [("replace", "/1"), ("add", "/2")]),
        ([], [1], [("add", "/-")]),
        ([1, 1], [1, 1, 1], [("add", "/-")]),
        ([{"a": 1}, 2], [{"a": 1}], [("remove", "/1")]),
    ],
    ids=str,
)
def test_unchanged_items_are_not_sent_again(
    before: list[Any], after: list[Any], patch: list[tuple[str, str]]
) -> None:
    found = json_patch.diff(freeze(before), freeze(after))
    assert [(operation["op"], operation["path"]) for operation in found] == patch


def test_a_completely_changed_list_is_stored_as_one_replacement() -> None:
    before, after = freeze(list(range(1000))), freeze(list(range(1000, 2000)))
    patch = json_patch.diff(freeze({"n": before}), freeze({"n": after}))
    assert patch == [{"op": "replace", "path": "/n", "value": after}]


def test_keys_in_another_order_are_stored_as_they_are() -> None:
    before, after = freeze({"a": 1, "b": 2}), freeze({"b": 2, "a": 1})
    assert list(json_patch.apply(json_patch.diff(before, after), before)) == ["b", "a"]


@pytest.mark.parametrize("key", ["", "/", "~", "~1", "~0", "a/b~c", "-", "0", " ", "ü"])
def test_any_key_can_be_pointed_at(key: str) -> None:
    before, after = freeze({"in": {key: 1}}), freeze({"in": {key: 2}})
    patch = json_patch.diff(before, after)
    assert json_patch.apply(patch, before) == after
    assert patch[0]["path"] == f"/in/{json_patch.escaped(key)}"
    assert json_patch.unescaped(json_patch.escaped(key)) == key


def test_the_size_of_a_patch_is_that_of_its_compact_ascii_text() -> None:
    patch = json_patch.diff(freeze({}), freeze({"größe": "🎈"}))
    assert json_patch.size(patch) == len(json.dumps(patch, separators=(",", ":")))


def test_applying_a_patch_does_not_modify_the_document() -> None:
    document = freeze({"a": [1, {"b": 2}], "rest": {"c": []}})
    patch: list[json_patch.Operation] = [
        {"op": "replace", "path": "/a/1/b", "value": 3},
        {"op": "add", "path": "/a/-", "value": [4]},
        {"op": "add", "path": "/a/2/-", "value": 5},
    ]
    result = json_patch.apply(patch, document)
    assert result == {"a": [1, {"b": 3}, [4, 5]], "rest": {"c": []}}
    assert document == {"a": [1, {"b": 2}], "rest": {"c": []}}
    assert result["rest"] is document["rest"]
    assert freeze(result) is result
    assert patch[1]["value"] == [4]


def test_an_empty_patch_returns_the_same_document() -> None:
    document = freeze({"a": 1})
    assert json_patch.apply([], document) is document


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/list/2", "value": 1},
        {"op": "remove", "path": "/list/-"},
        {"op": "remove", "path": "/list/-1"},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/list/x", "value": 1},
        {"op": "add", "path": "/text/0", "value": 1},
        {"op": "add", "path": "/list/5/x", "value": 1},
        {"op": "add", "path": "list", "value": 1},
        {"op": "add", "path": "/new"},
        {"op": "move", "path": "/new", "from": "/list"},
        {"op": "remove", "path": ""},
        {"path": "/new", "value": 1},
        "no operation",
    ],
    ids=str,
)
def test_a_patch_that_does_not_fit_is_refused_by_name(operation: Any) -> None:
    document = freeze({"list": [1, 2], "text": "x"})
    with pytest.raises(CheckpointMismatch, match="does not fit the state"):
        json_patch.apply([operation], document)
    assert document == {"list": [1, 2], "text": "x"}
