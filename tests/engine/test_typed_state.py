"""Typed states: declared fields, checked when set, parsed when read."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, Field

from tests.engine.reviews import Params, Review, SecondReview, Verdict, a_review
from workflows.engine.errors import (
    CheckpointMismatch,
    DefinitionError,
    NotSerialisable,
    StateError,
)
from workflows.engine.state import State


class Pages(State):
    """A state with values that can be changed in place."""

    number: int = 0
    by_page: dict[int, Verdict] = Field(default_factory=dict)
    names: set[str] = Field(default_factory=set)


def test_a_typed_state_reads_its_fields_in_their_types() -> None:
    state = a_review(
        verdicts=[{"label": "x"}, Verdict(label="y", page=2)], confidence=1
    )
    assert state.params == Params(threshold=0.8)
    assert state.verdicts == (Verdict(label="x"), Verdict(label="y", page=2))
    assert state.get("verdicts") == state["verdicts"] == state.verdicts
    assert type(state.confidence) is float
    assert state.label == ""
    assert state.is_sure
    assert state.data["verdicts"] == [
        {"label": "x", "page": 0},
        {"label": "y", "page": 2},
    ]


def test_the_data_have_every_field_in_the_order_of_the_class() -> None:
    state = Review(label="x", params=Params())
    assert list(state.data) == ["params", "verdicts", "label", "confidence", "answer"]
    assert list(SecondReview(params=Params()).data)[-1] == "looks"


def test_fields_and_defaults_are_inherited_and_can_be_redeclared() -> None:
    state = SecondReview(params=Params(threshold=0.5))
    assert (state.label, state.looks, state.params.threshold) == ("second", 2, 0.5)
    assert a_review().label == ""
    assert (Review.label, SecondReview.label, Review.LIMIT) == ("", "second", 3)
    with pytest.raises(AttributeError, match="“params” is a field"):
        _ = Review.params


def test_a_field_the_class_does_not_have_is_refused_by_name() -> None:
    expected = "Review has no field “lable”. Is it “label”?"
    with pytest.raises(StateError, match=expected):
        a_review(lable="x")
    with pytest.raises(StateError, match=expected):
        a_review().set(lable="x")
    with pytest.raises(StateError, match=expected):
        a_review().append("lable", "x")
    with pytest.raises(StateError, match="It has “params”, “verdicts”"):
        a_review().merge({"nonsense": 1})
    with pytest.raises(AttributeError, match=expected):
        _ = a_review().lable  # type: ignore[attr-defined]


def test_a_missing_field_is_refused_by_name() -> None:
    with pytest.raises(StateError, match="Review needs “params”"):
        Review(label="x")  # type: ignore[call-arg]


def test_a_value_that_does_not_fit_is_refused_with_its_field_and_state() -> None:
    state = a_review(confidence=0.5)
    with pytest.raises(
        StateError, match=r"“confidence” of Review cannot be 2.*less than"
    ):
        state.set(confidence=2)
    with pytest.raises(
        StateError, match=r"“verdicts” of Review .*1\.label: Field required"
    ):
        state.set(verdicts=[{"label": "x"}, {}])
    with pytest.raises(StateError, match="“verdicts” of Review cannot be 3"):
        state.append("verdicts", 3)
    with pytest.raises(StateError, match="“label” is str, no list"):
        state.append("label", "x")
    with pytest.raises(StateError, match="keeps all its fields: set label"):
        state.without("label")
    assert state == a_review(confidence=0.5)


def test_setting_checks_only_the_field_that_is_set() -> None:
    state = a_review(label="x").set(confidence=0.9)
    assert (state.label, state.confidence) == ("x", 0.9)
    assert state.set("label", "y", confidence=0.1).label == "y"


def test_appending_to_a_typed_list_validates_only_the_new_items() -> None:
    before = a_review(verdicts=[Verdict(label="x")])
    after = before.append("verdicts", Verdict(label="y"), {"label": "z"})
    assert [verdict.label for verdict in after.verdicts] == ["x", "y", "z"]
    assert after.data["verdicts"][0] is before.data["verdicts"][0]


def test_a_list_with_a_limit_is_checked_as_a_whole_when_appended_to() -> None:
    class Short(State):
        names: list[str] = Field(default_factory=list, max_length=2)

    state = Short(names=["a"]).append("names", "b")
    with pytest.raises(StateError, match="at most 2 items"):
        state.append("names", "c")


def test_changing_a_value_that_was_read_affects_no_other_state() -> None:
    state = Pages(by_page={1: Verdict(label="x")}, names={"a"})
    text = state.to_json()
    state.by_page[1].label = "changed"
    state.by_page[2] = Verdict(label="added")
    state.names.clear()
    assert state.to_json() == text
    for other in (state.set(number=1), state.stamped(sequence=1), state.clone()):
        assert other.by_page == {1: Verdict(label="x")}
        assert other.names == {"a"}


def test_a_model_that_was_given_may_be_changed_later() -> None:
    verdict = Verdict(label="x")
    state = a_review(answer=verdict)
    verdict.label = "changed"
    assert state.answer == Verdict(label="x")


def test_reading_twice_parses_once() -> None:
    state = a_review(verdicts=[Verdict(label="x")]).clone()
    assert state.verdicts is state.verdicts


def test_a_factory_creates_a_separate_default_for_each_state() -> None:
    numbers = iter(range(10))

    class Counted(State):
        number: int = Field(default_factory=lambda: next(numbers))
        items: list[int] = []  # noqa: RUF012 - stored as JSON, never shared

    first, second = Counted(), Counted()
    first.items.append(1)
    assert (first.number, second.number, second.items) == (0, 1, [])


def test_types_may_be_local_to_the_class() -> None:
    class Local(BaseModel):
        n: int

    class Around(State):
        local: Local
        more: tuple[Local, ...] = ()

    assert Around(local=Local(n=1)).local == Local(n=1)


def test_annotations_may_carry_their_constraints() -> None:
    class Annotations(State):
        share: Annotated[float, Field(ge=0, le=1)] = 0.5
        name: Annotated[str, AfterValidator(str.strip)] = ""

    assert Annotations(name=" x ").name == "x"
    with pytest.raises(StateError, match="greater than or equal to 0"):
        Annotations(share=-1)


def test_a_validator_that_is_not_idempotent_is_refused() -> None:
    class Growing(State):
        n: Annotated[int, AfterValidator(lambda n: n + 1)] = 0

    with pytest.raises(NotSerialisable, match="2 would come back as 3"):
        Growing(n=1)


def test_merging_the_same_class_replaces_all_its_fields() -> None:
    merged = a_review(label="x").merge(a_review(confidence=0.5, label="y"))
    assert (merged.label, merged.confidence) == ("y", 0.5)
    assert a_review().merge({"label": "z"}).label == "z"
    assert State(a=1).merge(a_review(label="w")).get("label") == "w"


# Declarations of classes ------------------------------------------------------------


@pytest.mark.parametrize("name", ["data", "get", "run_id", "set", "secrets", "_hidden"])
def test_a_field_cannot_have_a_name_that_states_need(name: str) -> None:
    with pytest.raises(
        DefinitionError, match=f"cannot have a field “{name}”"
    ) as caught:
        type("Wrong", (State,), {"__annotations__": {name: "int"}})
    assert caught.value.code == "state.field_name"


def test_a_new_default_needs_its_type_again() -> None:
    with pytest.raises(DefinitionError, match="“label” a new value without a type"):
        type("Wrong", (Review,), {"label": "x"})


def test_a_type_that_cannot_be_found_is_named_when_it_is_needed() -> None:
    wrong: type[State] = type("Wrong", (State,), {"__annotations__": {"page": "Pgae"}})
    with pytest.raises(
        DefinitionError, match=r"“page” of Wrong .*'Pgae' is not defined"
    ):
        wrong()
    with pytest.raises(DefinitionError):
        wrong.fields()


def test_a_type_that_no_state_can_store_is_named() -> None:
    class Handle:
        pass

    class Wrong(State):
        handle: Handle

    with pytest.raises(DefinitionError, match=r"“handle” of .*Wrong cannot be kept"):
        Wrong.fields()


def test_a_default_that_does_not_fit_is_found_before_a_run() -> None:
    class Wrong(State):
        share: float = Field(default=2.0, le=1)

    with pytest.raises(DefinitionError, match="default of field “share”") as caught:
        Wrong()
    assert caught.value.code == "state.default"


def test_a_class_lists_its_fields_in_order() -> None:
    assert list(Review.fields()) == [
        "params",
        "verdicts",
        "label",
        "confidence",
        "answer",
    ]
    assert Review.fields()["confidence"].description == "How sure, 0..1."
    assert State.fields() == {}


# Stored states ----------------------------------------------------------------------


def test_stored_data_that_do_not_fit_are_refused_with_all_that_differs() -> None:
    data = {**a_review().data, "old": 1, "confidence": "high"}
    del data["label"]
    with pytest.raises(CheckpointMismatch) as caught:
        Review.from_data(data)
    reported = str(caught.value)
    assert "does not fit Review: it has “old”, which Review has not" in reported
    assert "it lacks “label”" in reported
    assert "its “confidence” cannot be read (Input should be a valid number" in reported
