"""Params and responses are read as they were accepted, for any model."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretBytes,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
)
from pydantic.alias_generators import to_camel

from workflows.engine import (
    DefinitionError,
    State,
    Workflow,
    approval,
    node,
    subworkflow,
)
from workflows.engine.adapters import codec, schema
from workflows.engine.errors import InputInvalid, StateError
from workflows.engine.input_validation import check_input, check_launch
from workflows.engine.testing import run_in_memory
from workflows.engine.value_comparison import difference


class Colour(Enum):
    """An enum whose values are numbers."""

    RED = 1
    GREEN = 2


class Aliased(BaseModel):
    limit_: int = Field(1, alias="limit")
    kind: str = Field(alias="class")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    max_pages: int = 3
    inner: Aliased | None = None


class OnlyRead(BaseModel):
    a: int = Field(1, validation_alias=AliasChoices("x", AliasPath("y", "z")))
    b: int = Field(2, validation_alias=AliasPath("list", 1))
    c: int = Field(3, serialization_alias="see")
    d: int = Field(4, alias="dee")


class ByNameOnly(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
    a: int = Field(1, alias="b")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    n: int = 2

    @computed_field
    def double(self) -> int:
        return self.n * 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    lives: float = 1.0


class Kinds(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Dog()
    number: int | float | str = 1.0
    price: Decimal = Decimal("1.00")
    lasts: dt.timedelta = dt.timedelta(microseconds=1)
    at: dt.datetime = dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC)
    colour: Colour = Colour.RED
    names: set[str] = {"b", "a"}
    pairs: frozenset[tuple[int, str]] = frozenset({(1, "x")})
    raw: bytes = b"a\tb"
    pages: dict[int, tuple[float, ...]] = {2: (1.0, -0.0)}
    anything: Any = None


class Base64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    raw: bytes = b"\xff\x00"


class Infinite(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    most: float = math.inf
    none: float = math.nan


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    day: dt.date = dt.date(2026, 1, 1)


class Sizes(RootModel[dict[str, int]]):
    pass


class Split(BaseModel):
    tags: list[str] = []
    other: str = ""

    @field_validator("tags", mode="before")
    @classmethod
    def split(cls, value: Any) -> Any:
        return value.split(",")


class Doubled(BaseModel):
    n: int = 0

    @field_validator("n")
    @classmethod
    def double(cls, value: int) -> int:
        return value * 2


class Excluded(BaseModel):
    kept: int = 1
    gone: int = Field(2, exclude=True)


class Lossy(BaseModel):
    at: dt.datetime

    @field_serializer("at")
    def _day(self, at: dt.datetime) -> str:
        return at.date().isoformat()


class EitherModel(BaseModel):
    one: Cat | RootModel[dict[str, Any]]


def workflow_of(params: Any, state: type[State] | None = None) -> Workflow[Any]:
    @node
    def only(state: State) -> State:
        return state

    return Workflow("w", state=state or State, params=params, start=only, routes={})


@pytest.mark.parametrize(
    ("model", "given", "stored"),
    [
        (Aliased, {"limit": 7, "class": "x"}, {"limit": 7, "class": "x"}),
        (Aliased, {"limit_": 7, "kind": "x"}, {"limit": 7, "class": "x"}),
        (
            Camel,
            {"maxPages": 7, "inner": {"class": "x"}},
            {"maxPages": 7, "inner": {"limit": 1, "class": "x"}},
        ),
        (OnlyRead, {"x": 5, "list": [0, 6]}, {"a": 5, "b": 6, "c": 3, "d": 4}),
        (OnlyRead, {"y": {"z": 5}, "c": 7, "dee": 8}, {"a": 5, "b": 2, "c": 7, "d": 8}),
        (OnlyRead, {"a": 5, "b": 6, "d": 8}, {"a": 5, "b": 6, "c": 3, "d": 8}),
        (ByNameOnly, {"a": 5}, {"a": 5}),
        (Computed, {"n": 3}, {"n": 3}),
        (Strict, {"day": "2026-05-01"}, {"day": "2026-05-01"}),
        (Base64, {"raw": "_wA="}, {"raw": "_wA="}),
        (Infinite, {}, {"most": "Infinity", "none": "NaN"}),
        (Sizes, {"a": 1}, {"a": 1}),
        (Kinds, {"pet": {"kind": "cat"}, "number": 1}, None),
        (Kinds, {"number": "1", "pages": {"3": [1]}, "colour": 2}, None),
    ],
)  # fmt: skip
def test_a_stored_value_is_read_as_the_accepted_one(
    model: type[BaseModel], given: dict[str, Any], stored: dict[str, Any] | None
) -> None:
    class Holds(State):
        params: model  # type: ignore[valid-type]

    found = check_launch(workflow_of(None, Holds), given)
    accepted = codec(model).read(given) if stored is None else None
    again = codec(model).read(found)
    if stored is not None:
        assert found == stored
    else:
        assert difference(accepted, again) is None
    node_reads = workflow_of(None, Holds).initial(found).params
    assert difference(again, node_reads) is None
    assert set(schema(model).get("properties", found)) == set(found)


@pytest.mark.parametrize(
    ("model", "given", "field", "message"),
    [
        (Split, {"tags": "a,b"}, "tags", "AttributeError: .* has no attribute 'split'"),
        (Split, {"tags": 7}, "tags", "AttributeError"),
        (Doubled, {"n": 1}, "n", "2 would come back as 4"),
        (Excluded, {"gone": 3}, "gone", "3 would come back as 2"),
        (Lossy, {"at": "2026-01-01T10:00:00Z"}, "at", "would come back as"),
        (Aliased, {"limit": 1, "limit_": 2, "class": ""}, "limit_", "are the same"),
        (Aliased, {"limt": 1, "class": ""}, "limt", "It takes limit, class."),
        (Kinds, {"anything": (1, 2)}, "anything", "would come back as"),
        (Kinds, {"anything": {1}}, "anything", "would come back as"),
        (Kinds, {"number": math.nan}, "number", "JSON has no nan"),
        (Kinds, {"raw": b"\xff"}, "raw", "utf-8"),
        (EitherModel, {"one": RootModel[dict[str, Any]]({"lives": 1})}, "one", "come back"),
        (Sizes, {"a": "x"}, "a", "valid integer"),
    ],
)  # fmt: skip
def test_a_value_that_would_be_read_differently_is_refused_at_its_field(
    model: type[BaseModel], given: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InputInvalid, match=message) as refused:
        check_input(model, given)
    assert list(refused.value.errors) == [field]
    assert "pydantic.dev" not in str(refused.value)


def test_a_default_factory_is_called_once() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    class Counted(BaseModel):
        n: int = Field(default_factory=make)

    params = check_launch(workflow_of(Counted), {})
    assert params == {"n": 1}
    assert codec(Counted).read(params).n == 1
    assert made == [1]


def test_a_default_of_another_type_than_its_field_is_read_in_the_field_s_type() -> None:
    class Loose(BaseModel):
        limit: float = 500
        price: Decimal = 0  # type: ignore[assignment]
        day: dt.date = "2026-01-01"  # type: ignore[assignment]
        names: set[str] = []  # type: ignore[assignment]

    read = codec(Loose).read(check_launch(workflow_of(Loose), {}))
    assert difference(read, codec(Loose).read(check_input(Loose, {}))) is None
    assert (read.price, read.day, read.names) == (
        Decimal(0),
        dt.date(2026, 1, 1),
        set(),
    )
    assert isinstance(read.price, Decimal)


def test_a_mutable_default_is_not_shared_between_runs() -> None:
    class Listed(BaseModel):
        names: list[str] = ["a"]

    first = check_launch(workflow_of(Listed), {})
    codec(Listed).read(first).names.append("b")
    assert check_launch(workflow_of(Listed), {}) == {"names": ["a"]}


class Hidden(BaseModel):
    inside: SecretStr


@pytest.mark.parametrize("kind", [SecretStr, list[SecretBytes], Hidden, Hidden | None])
def test_a_secret_in_params_answers_or_states_is_refused_at_import(kind: Any) -> None:
    class Params(BaseModel):
        key: kind

    class Typed(State):
        key: kind

    for declare in (
        lambda: workflow_of(Params),
        lambda: workflow_of(None, Typed),
        lambda: approval("Which?", answer=Params, into="answer"),
    ):
        with pytest.raises(DefinitionError, match=r"“key.*state\.secret"):
            declare()


def test_types_that_cannot_be_stored_are_refused_at_import() -> None:
    class Lost(BaseModel):
        x: int = Field(exclude=True)

    class Crossed(BaseModel):
        a: int = Field(1, validation_alias="b")
        b: int = Field(2)

    for kind, message in (
        (Lost, "“x” is required and has exclude=True"),
        (Crossed, "“b” is the name of one field and an alias of another, “a”"),
        (RootModel[list[int]], "its JSON is of type array"),
    ):
        with pytest.raises(DefinitionError, match=message):
            workflow_of(kind)


def test_params_fill_the_fields_of_a_state_by_name_and_not_by_alias() -> None:
    class Bag(State):
        limit_: int = 0
        kind: str = ""

    flow = workflow_of(Aliased, Bag)
    state = flow.initial(check_launch(flow, {"limit": 7, "class": "x"}))
    assert (state.limit_, state.kind) == (7, "x")


def test_params_that_the_state_does_not_take_are_refused_at_launch() -> None:
    class Short(State):
        limit_: Annotated[int, Field(le=5)] = 0
        kind: str = ""

    flow = workflow_of(Aliased, Short)
    with pytest.raises(InputInvalid, match=r"cannot start with these values.*limit_"):
        check_launch(flow, {"limit": 7, "class": "x"})
    with pytest.raises(StateError):
        flow.initial({"limit": 7, "class": "x"})


def test_a_time_in_the_repeated_hour_is_stored() -> None:
    class Timed(State):
        at: dt.datetime | None = None

    berlin = ZoneInfo("Europe/Berlin")
    for hour in (0, 1):
        utc = dt.datetime(2026, 10, 25, hour, 30, tzinfo=dt.UTC)
        found = Timed().set(at=utc.astimezone(berlin)).at
        assert found is not None
        assert found.astimezone(dt.UTC) == utc


# Children ----------------------------------------------------------------------------------


class Ends(State):
    params: Aliased
    result: str = ""


def child() -> Workflow[Ends]:
    @node
    def finish(state: Ends) -> Ends:
        return state.set(result=f"{state.params.limit_} {state.params.kind}")

    return Workflow("child", state=Ends, start=finish, routes={})


def parent(params: Any) -> Workflow[State]:
    call = subworkflow("child", params, into="found", name="call")
    return Workflow("parent", state=State, start=call, routes={})


@pytest.mark.parametrize(
    "params",
    [
        lambda _: {"limit": 7, "class": "x"},
        lambda _: Aliased(**{"limit": 7, "class": "x"}),
        lambda _: {"limit_": Decimal(7), "kind": "x"},
    ],
    ids=["by alias", "a model", "by name"],
)
def test_a_child_reads_the_params_that_it_was_given(params: Any) -> None:
    outcome = run_in_memory(parent(params), subworkflows={"child": child()})
    assert outcome.status == "completed", outcome.error
    assert outcome.state["found"]["result"] == "7 x"


@pytest.mark.parametrize(
    ("params", "children", "message"),
    [
        (lambda _: {"limit": "x", "class": "x"}, True, "limit: Input should be a valid integer"),
        (lambda _: {"limit": 1}, True, "class: Field required"),
        (lambda _: {"limit": 1, "class": "x", "lmit": 1}, True, "has no parameter “lmit”"),
        (lambda _: {"limit": math.inf, "class": "x"}, True, "JSON has no inf"),
        (lambda _: {"class": SecretStr("x")}, True, "a secret is never stored"),
        (lambda _: {}, False, "There is no workflow “child”"),
    ],
)  # fmt: skip
def test_a_child_that_cannot_be_launched_fails_its_node(
    params: Any, children: bool, message: str
) -> None:
    known: Mapping[str, Workflow[Any]] = {"child": child()} if children else {}
    outcome = run_in_memory(parent(params), subworkflows=known)
    assert outcome.status == "failed"
    assert message in str(outcome.error)
    assert "pydantic" not in str(outcome.error)
    assert outcome.stages[-1].status == "failed"


def test_without_subworkflows_a_child_is_what_the_run_waits_for() -> None:
    outcome = run_in_memory(parent(lambda _: {"a": 1}))
    assert (outcome.status, outcome.pause and outcome.pause.params) == (
        "waiting",
        {"a": 1},
    )


def test_a_response_is_parsed_by_the_keys_of_its_form() -> None:
    class Asked(State):
        answer: Aliased | None = None

    ask = approval("Which?", answer=Aliased, into="answer", name="ask")
    flow = Workflow("asks", state=Asked, start=ask, routes={})
    for given in ({"limit": 7, "class": "x"}, Aliased(**{"limit": 7, "class": "x"})):
        found = run_in_memory(flow, answers={"ask": given}).state.answer
        assert found is not None
        assert (found.limit_, found.kind) == (7, "x")
    assert list(ask.form["properties"]) == ["limit", "class"]  # type: ignore[attr-defined]


def test_a_pydantic_error_in_a_node_is_shown_without_documentation_links() -> None:
    @node
    def fails(state: State) -> State:
        Aliased.model_validate({})
        return state

    flow = Workflow("fails", state=State, start=fails, routes={})
    outcome = run_in_memory(flow)
    assert "class: Field required" in str(outcome.error)
    assert "pydantic.dev" not in str(outcome.error)
    assert "pydantic.dev" not in str(outcome.error and outcome.error.__cause__)
