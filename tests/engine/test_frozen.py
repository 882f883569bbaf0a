"""Frozen JSON: permitted values, immutability, and shared parts."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections import OrderedDict, UserDict
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given

from tests.engine.json_values import VALUES
from workflows.engine.errors import NotSerialisable
from workflows.engine.frozen import (
    MAX_DEPTH,
    FrozenDict,
    FrozenList,
    equal,
    freeze,
    same,
    share,
)


class Colour(Enum):
    """An enum whose values are JSON; its members are not."""

    RED = "red"


class Mood(StrEnum):
    """An enum of texts."""

    GOOD = "good"


class Level(IntEnum):
    """An enum of numbers."""

    HIGH = 3


class Marked(str):
    """A text that claims to equal another one."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Celsius(float):
    """A number of another type."""


def nested(levels: int) -> Any:
    """Return nested lists."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@given(VALUES)
def test_a_frozen_value_equals_its_source(value: Any) -> None:
    assert equal(freeze(value), value)
    assert json.dumps(freeze(value)) == json.dumps(value)


@given(VALUES)
def test_freezing_a_frozen_value_returns_the_same_object(value: Any) -> None:
    frozen = freeze(value)
    assert freeze(frozen) is frozen


def test_tuples_become_lists_and_any_mapping_an_object() -> None:
    frozen = freeze({"pair": (1, (2,)), "map": OrderedDict(a=UserDict(b=1))})
    assert frozen == {"pair": [1, [2]], "map": {"a": {"b": 1}}}
    assert type(frozen["pair"]) is FrozenList
    assert type(frozen["map"]["a"]) is FrozenDict


def test_a_later_change_of_the_source_does_not_reach_the_frozen_value() -> None:
    source = {"pages": [{"text": "one"}]}
    frozen = freeze(source)
    source["pages"][0]["text"] = "another"
    source["pages"].append({"text": "two"})
    assert frozen == {"pages": [{"text": "one"}]}


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("__setitem__", ("a", 2)),
        ("__delitem__", ("a",)),
        ("__ior__", ({"b": 1},)),
        ("update", ({"b": 1},)),
        ("setdefault", ("b", 1)),
        ("pop", ("a",)),
        ("popitem", ()),
        ("clear", ()),
    ],
)
def test_an_object_cannot_be_changed_in_place(
    method: str, arguments: tuple[Any, ...]
) -> None:
    value = freeze({"a": 1})
    with pytest.raises(TypeError, match=r"This object belongs to a state.*state\.set"):
        getattr(value, method)(*arguments)
    assert value == {"a": 1}


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("__setitem__", (0, 3)),
        ("__delitem__", (0,)),
        ("__iadd__", ([1],)),
        ("__imul__", (2,)),
        ("append", (1,)),
        ("extend", ([1],)),
        ("insert", (0, 1)),
        ("pop", ()),
        ("remove", (2,)),
        ("clear", ()),
        ("sort", ()),
        ("reverse", ()),
    ],
)
def test_a_list_cannot_be_changed_in_place(
    method: str, arguments: tuple[Any, ...]
) -> None:
    value = freeze([2, 1])
    with pytest.raises(TypeError, match=r"This list belongs to a state.*state\.append"):
        getattr(value, method)(*arguments)
    assert value == [2, 1]


def test_filling_a_frozen_container_again_changes_nothing() -> None:
    numbers, names = freeze([1]), freeze({"a": 1})
    numbers.__init__([2])
    names.__init__({"b": 2})
    assert (numbers, names) == ([1], {"a": 1})


def test_changes_of_copies_do_not_affect_the_original() -> None:
    frozen = freeze({"list": [1], "object": {"a": []}})
    deep = copy.deepcopy(frozen)
    deep["object"]["a"].append(deep["list"].pop())
    for shallow in (copy.copy(frozen), frozen.copy(), {**frozen}, frozen | {}):
        assert type(shallow) is dict
        shallow["list"] = 2
    for items in (
        copy.copy(frozen["list"]),
        frozen["list"].copy(),
        frozen["list"] + [],
    ):
        assert type(items) is list
        items.append(2)
    assert frozen == {"list": [1], "object": {"a": []}}


@given(VALUES)
def test_an_unpickled_value_is_frozen(value: Any) -> None:
    back = pickle.loads(pickle.dumps(freeze(value)))  # noqa: S301 - our own
    assert equal(back, value)
    assert freeze(back) is back


def test_a_container_made_by_hand_freezes_what_is_in_it() -> None:
    inner = [1]
    made = FrozenDict({"a": inner})
    inner.append(2)
    assert made == {"a": [1]}
    assert type(FrozenList([inner])[0]) is FrozenList
    assert FrozenDict() == {}


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        ({"a": {"b": [0, object()]}}, "a.b.1", object),
        ([{"when": datetime(2026, 1, 1, tzinfo=UTC)}], "0.when", datetime),
        ({"tags": {"x"}}, "tags", set),
        ({"raw": b"x"}, "raw", bytes),
        ({"colour": Colour.RED}, "colour", Colour),
        ({"mood": [Mood.GOOD]}, "mood.0", Mood),
        ({"level": Level.HIGH}, "level", Level),
        ({"a": {1: "one"}}, "a", int),
        ({"a": math.nan}, "a", float),
        ({"a": [math.inf]}, "a.0", float),
        ({"a": "nul \x00"}, "a", str),
        ({"half \ud83d": 1}, "half \ud83d", str),
        ({"a": "half \ud83d"}, "a", str),
        ({"a": 10**4300}, "a", int),
        ({"a": -(10**4300)}, "a", int),
    ],
)
def test_values_outside_json_are_refused_with_path_and_type(
    value: Any, path: str, kind: type
) -> None:
    with pytest.raises(NotSerialisable) as caught:
        freeze(value)
    assert (caught.value.path, caught.value.type) == (path, kind)
    assert f"The {kind.__name__} at “{path}” cannot be stored" in str(caught.value)


def test_the_path_starts_at_the_given_prefix() -> None:
    with pytest.raises(NotSerialisable, match=r"“pages\.0\.text”"):
        freeze([{"text": object()}], "pages")
    with pytest.raises(NotSerialisable, match="at the top of the state"):
        freeze(object())


def test_the_longest_integer_that_python_writes_is_preserved() -> None:
    longest = 10**4300 - 1
    assert json.loads(json.dumps(freeze({"n": longest})))["n"] == longest
    assert freeze(-longest) == -longest


def test_values_of_types_made_from_text_or_number_become_plain() -> None:
    frozen = freeze({Marked("key"): Marked("text"), "t": Celsius(1.5)})
    assert {type(key) for key in frozen} == {str}
    assert (type(frozen["key"]), frozen["key"]) == (str, "text")
    assert (type(frozen["t"]), frozen["t"]) == (float, 1.5)


def test_text_beyond_ascii_is_preserved() -> None:
    assert freeze({"größe": "🎈 \U0010ffff"}) == {"größe": "🎈 \U0010ffff"}


def test_nesting_is_limited() -> None:
    assert freeze(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    with pytest.raises(NotSerialisable, match="more than 100 levels"):
        freeze(nested(MAX_DEPTH + 1))


def test_nesting_is_limited_also_when_frozen_values_are_wrapped_again_and_again() -> (
    None
):
    value = freeze([])
    for _ in range(MAX_DEPTH - 1):
        value = freeze([value])
    with pytest.raises(NotSerialisable, match="more than 100 levels"):
        freeze({"wrapped": value})


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotSerialisable):
        freeze(value)


# Sharing ----------------------------------------------------------------------------


@given(VALUES)
def test_equal_values_are_shared(value: Any) -> None:
    old = freeze({"value": value})
    assert share(old, freeze({"value": copy.deepcopy(value)})) is old


@given(VALUES, VALUES)
def test_sharing_never_changes_the_content(old: Any, new: Any) -> None:
    shared = share(freeze(old), freeze(new))
    assert equal(shared, new)
    assert json.dumps(shared) == json.dumps(new)  # the order of keys as well


def test_equal_parts_of_two_values_are_shared() -> None:
    old = freeze({"big": [[1], [2]], "rest": {"a": {}}})
    new = share(old, freeze({"big": [[1], [3], [4]], "rest": {"a": {}}}))
    assert new["rest"] is old["rest"]
    assert new["big"][0] is old["big"][0]
    assert new == {"big": [[1], [3], [4]], "rest": {"a": {}}}


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0.0, -0.0), (False, 0)])
def test_values_of_another_type_or_sign_are_not_shared(old: Any, new: Any) -> None:
    shared = share(freeze([old]), freeze([new]))
    assert repr(shared[0]) == repr(new)


def test_keys_in_another_order_are_not_shared() -> None:
    old = freeze({"a": [], "b": []})
    new = share(old, freeze({"b": [], "a": []}))
    assert list(new) == ["b", "a"]
    assert new["a"] is old["a"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        (1, "1"),
        (None, False),
        ([1], [1, 1]),
        ({"a": 1}, {"a": 1.0}),
        ({"a": 1}, {"b": 1}),
        ([], {}),
        ([[True]], [[1]]),
    ],
)
def test_equality_is_strict_about_types(one: Any, other: Any) -> None:
    assert not equal(one, other)
    assert equal(one, one)
    assert equal(copy.deepcopy(other), other)
    assert not same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(0.0, -0.0), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([0.0], [-0.0])],
)
def test_what_is_equal_may_not_be_the_same_to_the_letter(one: Any, other: Any) -> None:
    assert equal(one, other)
    assert not same(one, other)
    assert same(one, copy.deepcopy(one))
