"""The state of a run: immutable, with any key, and equal after a resume."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from tests.engine.json_values import OBJECTS, VALUES
from tests.engine.reviews import (
    Params,
    Review,
    SecondReview,
    Verdict,
    a_review,
    resumed,
)
from workflows.engine.errors import CheckpointMismatch, NotSerialisable, StateError
from workflows.engine.frozen import FrozenDict, equal
from workflows.engine.state import State

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


# Open states --- --------------------------------------------------------------------


def test_an_open_state_accepts_any_key() -> None:
    state = State({"a": 1, "with space": 2}, b=[3])
    assert (state.get("a"), state["with space"], state.get("b")) == (1, 2, [3])
    assert (state.get("c"), state.get("c", 4)) == (None, 4)
    assert "a" in state
    assert "c" not in state
    assert list(state) == ["a", "with space", "b"]


def test_setting_returns_a_new_state_and_does_not_change_the_old_one() -> None:
    before = State(a=1)
    after = before.set("a", 2).set(b=3).set("key", 4, value=5)
    assert before.data == {"a": 1}
    assert after.data == {"a": 2, "b": 3, "key": 4, "value": 5}


def test_a_null_value_is_a_value() -> None:
    state = State(a=None)
    assert "a" in state
    assert state.get("a", "default") is None


def test_setting_an_equal_value_returns_the_same_state() -> None:
    state = State(a={"b": [1, 2]})
    assert state.set("a", {"b": [1, 2]}) is state
    assert state.set("a", {"b": [1, 2.0]}) is not state


def test_unchanged_parts_of_a_state_are_shared() -> None:
    before = State(big=[{"n": n} for n in range(3)], small=1)
    after = before.set("big", [{"n": 0}, {"n": 9}, {"n": 2}]).set(small=2)
    assert after.data["big"][0] is before.data["big"][0]
    assert after.data["big"][2] is before.data["big"][2]
    assert before.set(small=3).data["big"] is before.data["big"]


def test_a_merge_prefers_the_other_state_and_preserves_run_and_secrets() -> None:
    mine = State(a=1, b=1).stamped(run_id="r", sequence=3).set_secret("token", "mine")
    other = (
        State(b=2, c=2).stamped(run_id="x", sequence=9).set_secret("token", "theirs")
    )
    merged = mine.merge(other)
    assert merged.data == {"a": 1, "b": 2, "c": 2}
    assert (merged.run_id, merged.sequence, merged.secret("token")) == ("r", 3, "mine")
    assert mine.merge({"d": 1}).data == {"a": 1, "b": 1, "d": 1}


def test_appending_extends_a_list_or_creates_one() -> None:
    state = State().append("pages", 1).append("pages", 2, [3])
    assert state.get("pages") == [1, 2, [3]]
    with pytest.raises(StateError, match="“n” is int, no list"):
        State(n=1).append("n", 2)
    with pytest.raises(NotSerialisable, match=r"“pages\.3\.x”"):
        state.append("pages", {"x": object()})


def test_keys_can_be_removed_from_an_open_state() -> None:
    assert State(a=1, b=2).without("a", "zz").data == {"b": 2}


def test_nothing_in_a_state_can_be_changed_in_place() -> None:
    state = State(nested={"list": [1]})
    with pytest.raises(TypeError, match=r"state\.set"):
        state.get("nested")["list"].append(2)
    with pytest.raises(AttributeError, match=r"return state\.set\(label=…\)"):
        state.label = "x"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="cannot be changed"):
        state.data = FrozenDict()  # type: ignore[misc]
    with pytest.raises(AttributeError, match="stays"):
        del state.data
    assert state == State(nested={"list": [1]})


def test_a_change_of_what_was_given_does_not_reach_the_state() -> None:
    given_list = [1]
    state = State(a=given_list).append("b", given_list)
    given_list.append(2)
    assert state.data == {"a": [1], "b": [[1]]}


def test_an_open_state_exposes_keys_as_attributes_for_templates() -> None:
    state: Any = State(label="x", of={"n": 1})
    assert f"{state.label} {state.of['n']}" == "x 1"
    with pytest.raises(AttributeError, match="no “lable”"):
        _ = state.lable


def test_a_value_that_cannot_be_stored_is_refused_and_nothing_is_set() -> None:
    state = State(a=1)
    with pytest.raises(
        NotSerialisable, match=r"The datetime at “b\.when” cannot be stored"
    ):
        state.set(a=2, b={"when": NOON})
    assert state.data == {"a": 1}


@given(OBJECTS)
def test_an_open_state_round_trips_through_its_text(values: Mapping[str, Any]) -> None:
    state = State(values).stamped(
        run_id="r", checkpoint_node="n", sequence=7, timestamp=NOON
    )
    back = resumed(state)
    assert equal(back.data, values)
    assert (back.run_id, back.checkpoint_node, back.sequence) == ("r", "n", 7)
    assert back.timestamp == NOON
    assert back.to_json() == state.to_json()


@given(VALUES, VALUES)
def test_a_value_that_was_set_is_returned(first: Any, second: Any) -> None:
    state = State(a=first).set("a", second)
    assert json.dumps(state.get("a")) == json.dumps(second)


def test_large_integers_stay_integers() -> None:
    state = State(n=2**53 + 1, m=-(2**200), x=1.0)
    back = resumed(state)
    assert (back.get("n"), back.get("m")) == (2**53 + 1, -(2**200))
    assert type(back.get("x")) is float


# Position in a run, and secrets -----------------------------------------------------


def test_a_new_state_belongs_to_no_run_yet() -> None:
    state = State()
    assert (state.run_id, state.checkpoint_node, state.sequence) == ("", "", 0)
    assert state.timestamp is None


def test_stamping_changes_the_position_and_preserves_content_and_secrets() -> None:
    state = State(a=1).set_secret("token", "t")
    stamped = state.stamped(run_id="r").stamped(checkpoint_node="n", sequence=1)
    assert stamped.data is state.data
    assert (stamped.run_id, stamped.checkpoint_node, stamped.sequence) == ("r", "n", 1)
    assert stamped.secret("token") == "t"
    assert stamped.set(a=2).sequence == 1


def test_secrets_are_in_no_text_pickle_or_repr_of_a_state() -> None:
    state = State(a=1).set_secret("token", "hush-hush").stamped(run_id="r")
    assert state.secret("token") == "hush-hush"
    assert state.secret("other", "none") == "none"
    assert dict(state.secrets) == {"token": "hush-hush"}
    for reported in (
        repr(state),
        str(state),
        state.to_json(),
        str(state.data),
        f"{state}",
    ):
        assert "hush" not in reported
    back = pickle.loads(pickle.dumps(state))  # noqa: S301 - our own
    assert (back, back.run_id, dict(back.secrets)) == (state, "r", {})
    assert dict(state.without_secrets().secrets) == {}
    assert state.without_secrets().run_id == "r"


def test_secrets_cannot_be_changed_in_place_and_follow_every_change() -> None:
    state = State().set_secret("a", "1").set_secret("b", "2")
    with pytest.raises(TypeError):
        state.secrets["a"] = "x"  # type: ignore[index]
    for other in (
        state.set(x=1),
        state.clone(),
        copy.copy(state),
        copy.deepcopy(state),
    ):
        assert dict(other.secrets) == {"a": "1", "b": "2"}
    restored = State.from_data({}, secrets={"a": "1"})
    assert restored.secret("a") == "1"


def test_states_are_equal_by_class_and_content_types_included() -> None:
    assert State(a=1).stamped(run_id="r") == State(a=1)
    assert State(a=1) != State(a=1.0)
    assert State(a=1) != {"a": 1}
    assert a_review() == a_review()
    assert Review(params=Params()) != SecondReview(params=Params(), label="")
    with pytest.raises(TypeError, match="unhashable"):
        hash(State())


def test_the_repr_of_a_large_state_is_short() -> None:
    state = State(text="x" * 10_000, items=list(range(10_000)))
    assert len(repr(state)) < 300
    assert repr(State(a="b")) == "State(a='b')"


# Stored states ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"data": {}}',
        '{"data":{},"run_id":1,"checkpoint_node":"","sequence":0,"timestamp":null}',
        '{"data":[],"run_id":"","checkpoint_node":"","sequence":0,"timestamp":null}',
        '{"data":{},"run_id":"","checkpoint_node":"","sequence":0,"timestamp":"noon"}',
        '{"data":{"a":NaN},"run_id":"","checkpoint_node":"","sequence":0,"timestamp":null}',
    ],
)
def test_a_text_that_is_no_stored_state_is_refused(text: str) -> None:
    for kind in (State, Review):
        with pytest.raises(CheckpointMismatch):
            kind.from_json(text)


def test_a_stored_state_without_a_time_has_none_again() -> None:
    assert resumed(State(a=1)).timestamp is None


# Recorded reads ---------------------------------------------------------------------


def test_a_watched_state_notes_the_keys_that_are_read_in_order() -> None:
    reads: dict[str, None] = {}
    state = a_review(label="x", confidence=0.9)
    watched = state.watched(reads)
    assert (watched.label, watched.get("confidence"), watched.is_sure) == (
        "x",
        0.9,
        True,
    )
    assert watched.get("nothing") is None
    assert list(reads) == ["label", "confidence", "params", "nothing"]
    assert (state.label, list(reads)) == (
        "x",
        ["label", "confidence", "params", "nothing"],
    )


@pytest.mark.parametrize(
    ("read", "keys"),
    [
        (lambda s: s.get("a"), ["a"]),
        (lambda s: s["a"], ["a"]),
        (lambda s: s.a, ["a"]),
        (lambda s: "z" in s, ["z"]),
        (lambda s: s.data["a"], ["a"]),
        (lambda s: s.data.get("z"), ["z"]),
        (lambda s: "b" in s.data, ["b"]),
        (list, ["a", "b"]),
        (lambda s: len(s.data), ["a", "b"]),
        (lambda s: dict(s.data), ["a", "b"]),
        (lambda s: s.watched({}).get("b"), ["b"]),
        (lambda s: s.clone().get("b"), ["b"]),
        (lambda s: s.run_id, []),
        (lambda s: s.unwatched().get("a"), []),
    ],
    ids=[
        "get", "item", "attribute", "in", "data item", "data get", "in data", "keys",
        "length", "copy", "watched twice", "clone", "place", "unwatched",
    ],
)  # fmt: skip
def test_every_kind_of_read_is_tracked(read: Any, keys: list[str]) -> None:
    reads: dict[str, None] = {}
    read(State(a=1, b=2).watched(reads))
    assert list(reads) == keys


def test_what_a_watcher_parses_is_parsed_for_the_state_as_well() -> None:
    state = a_review(verdicts=[Verdict(label="x")]).clone()
    first, second = state.watched({}), state.watched({})
    assert first.verdicts is second.verdicts is state.verdicts


def test_an_unwatched_state_is_itself() -> None:
    state = State(a=1)
    assert state.unwatched() is state
    assert state.watched({}).watched({}).unwatched().data is state.data
