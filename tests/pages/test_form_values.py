"""The values that a form shows, sends and stores are those that the node reads."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from html.parser import HTMLParser
from io import StringIO
from typing import Any, Literal

import hypothesis
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import QueryDict
from django.test import Client
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    NaiveDatetime,
    RootModel,
    create_model,
)

from workflows.engine import State, Workflow, node
from workflows.engine.adapters import codec, schema
from workflows.engine.input_validation import check_launch
from workflows.engine.value_comparison import difference
from workflows.management.commands.run_workflow import _param
from workflows.models import Run
from workflows.pages.forms.schema_form import SchemaForm
from workflows.registry import registry

# Emulation of a browser -----------------------------------------------------------------


class Page(HTMLParser):
    """The controls of a form, and the values that a browser submits without changes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []
        self._area: tuple[str, str] | None = None
        self._select: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Process an input, or the start of a text area or select."""
        found = {name: value or "" for name, value in attrs}
        if tag == "input" and found.get("name"):
            self._input(found)
        elif tag == "textarea":
            self._area = (found["name"], "")
        elif tag == "select":
            self._select = found["name"]
        elif tag == "option" and self._select and "selected" in found:
            self.sent.append((self._select, found["value"]))

    def _input(self, found: dict[str, str]) -> None:
        kind = found.get("type", "text")
        if kind in {"checkbox", "radio"} and "checked" not in found:
            return
        if kind != "file":
            value = found.get("value", "on" if kind == "checkbox" else "")
            if kind not in {"hidden", "checkbox", "radio"}:
                value = value.replace("\r", "").replace("\n", "")
            self.sent.append((found["name"], value))

    def handle_data(self, data: str) -> None:
        """Collect the text of a text area."""
        if self._area:
            self._area = (self._area[0], self._area[1] + data)

    def handle_endtag(self, tag: str) -> None:
        """Add a text area with CRLF line ends, as browsers do."""
        if tag == "textarea" and self._area:
            name, text = self._area
            text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\n")
            self.sent.append((name, text.replace("\n", "\r\n")))
            self._area = None
        elif tag == "select":
            self._select = None


def submitted(form: SchemaForm) -> QueryDict:
    """Return the data that a browser submits for an unchanged form."""
    data = QueryDict(mutable=True)
    for name, value in Page("".join(str(form[n]) for n in form.fields)).sent:
        data.appendlist(name, value)
    return data


def launched_by_form(model: Any, changes: dict[str, Any] | None = None) -> Any:
    """Return the params of the node after the form was submitted with some changes."""
    data = submitted(SchemaForm(schema(model)))
    for name, value in (changes or {}).items():
        if value is None:
            data.pop(name, None)
        else:
            data[name] = value
    form = SchemaForm(schema(model), data=data)
    assert form.is_valid(), form.errors
    return read(model, form.values())


def arguments_of(stored: dict[str, Any]) -> list[str]:
    """Return the arguments of the command for stored params."""
    return [f"{name}={_argument(value)}" for name, value in stored.items()]


def _argument(value: Any) -> str:
    """Return a text unchanged where the command reads it as text, else as JSON."""
    if isinstance(value, str) and not value.startswith("@"):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


def read(model: Any, given: Any) -> Any:
    """Return the params of a node after a round trip through the run's row."""
    flow = workflow_of(model)
    stored = json.loads(json.dumps(check_launch(flow, given)))
    return flow.initial(stored).params


def workflow_of(model: Any) -> Workflow[Any]:
    class Holds(State):
        params: model

    @node
    def only(state: Holds) -> Holds:
        return state

    return Workflow("holds", state=Holds, start=only, routes={})


# Cases ----------------------------------------------------------------------------------


class Geo(BaseModel):
    lat: float = 0


class Place(BaseModel):
    street: str
    geo: Geo | None = None


class Trip(BaseModel):
    place: Place | None = None
    home: Geo = Geo(lat=7)
    other: Geo | None = Geo(lat=8)


def test_an_omitted_group_is_null_including_nested_groups() -> None:
    assert launched_by_form(Trip) == Trip()


def test_groups_in_a_filled_in_group_stay_optional() -> None:
    read = launched_by_form(Trip, {"place:given": "on", "place.street": "x"})
    assert read.place == Place(street="x", geo=None)
    assert launched_by_form(Trip, {"other:given": None}).other is None


class Texts(BaseModel):
    sep: str = "\t"
    prefix: str = "Dear "
    note: str = Field("one\ntwo", max_length=2000)
    old: str = "a\rb\r\nc"
    lines: list[str] = [" a ", "", "b\nc"]
    words: list[str] = ["x ", "y"]
    empty: str = ""
    none: str | None = None
    choice: Literal["", "json:1", "x"] = ""


def test_text_is_preserved_exactly() -> None:
    assert launched_by_form(Texts) == Texts()
    changed = launched_by_form(Texts, {"sep": " | ", "note": "1\r\n 2 \r\n"})
    assert (changed.sep, changed.note) == (" | ", "1\n 2 \n")


def test_a_line_end_counts_as_one_character() -> None:
    class Short(BaseModel):
        note: str = Field("", max_length=300, min_length=0)

    text = "\r\n".join("x" * 99 for _ in range(3))
    assert launched_by_form(Short, {"note": text}).note == text.replace("\r", "")


class Shown(BaseModel):
    at: dt.datetime = dt.datetime(
        2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.timezone(dt.timedelta(hours=5))
    )
    bare: dt.datetime = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - a naive value
    time: dt.time = dt.time(1, 2, 3, 456789)
    zoned: dt.time = dt.time(1, 2, tzinfo=dt.UTC)
    small: float = 1e-7
    large: float = 1e22
    price: Decimal = Decimal("1.10")
    lasts: dt.timedelta = dt.timedelta(days=1, microseconds=1)
    raw: bytes = b"a\tb "
    extra: dict[str, Any] = {"b": 1.0, "a": [1e22, -0.0]}


def test_a_value_that_its_control_truncates_is_preserved() -> None:
    assert difference(Shown(), launched_by_form(Shown)) is None


@pytest.mark.parametrize(
    ("field", "expected_text"),
    [("small", "can’t be empty"), ("extra", "can’t be empty")],
)
def test_a_cleared_value_is_not_replaced_by_its_default(
    field: str, expected_text: str
) -> None:
    data = submitted(SchemaForm(schema(Shown)))
    data[field] = ""
    form = SchemaForm(schema(Shown), data=data)
    assert not form.is_valid()
    assert list(form.errors) == [field]
    assert expected_text in str(form.errors)


def test_a_default_factory_is_evaluated_at_launch() -> None:
    class Made(BaseModel):
        word: str = Field(default_factory=lambda: "made")
        words: list[str] = Field(default_factory=lambda: ["made"])
        none: list[str] = Field(default_factory=list)

    form = SchemaForm(schema(Made))
    assert "set at launch" in form["word"].help_text
    assert "set at launch" not in form["none"].help_text
    assert launched_by_form(Made) == Made()
    assert launched_by_form(Made, {"word": "mine", "words": "a"}).words == ["a"]


class Odd(BaseModel):
    once: str = "x"
    token: str = Field("y", alias="launch-token")
    csrf: str = Field("z", alias="csrfmiddlewaretoken")
    dotted: int = Field(1, alias="a.b")
    suffixed: int = Field(2, alias="a:given")
    value: int = Field(3, alias="value-once")
    escaped: int = Field(4, alias="50%2E")
    group: Geo = Field(Geo(lat=6), alias="a")


def test_reserved_names_can_be_names_of_params() -> None:
    assert difference(Odd(), launched_by_form(Odd)) is None
    changed = launched_by_form(
        Odd,
        {"once": "1", "value-launch-token": "2", "a%2Eb": "3", "a%3Agiven": "4"},
    )
    assert (changed.once, changed.token) == ("1", "2")
    assert (changed.dotted, changed.suffixed) == (3, 4)


def test_an_object_with_arbitrary_keys_is_one_json_field() -> None:
    class Sizes(RootModel[dict[str, int]]):
        pass

    data = submitted(SchemaForm(schema(Sizes)))
    data["values"] = '{"a": 1}'
    form = SchemaForm(schema(Sizes), data=data)
    assert form.is_valid(), form.errors
    assert form.values() == {"a": 1}
    again = SchemaForm(schema(Sizes), initial={"a": 1})
    assert SchemaForm(schema(Sizes), data=submitted(again)).is_valid()


# Pages and the command ------------------------------------------------------------------


class Split(BaseModel):
    limit_: int = Field(1, alias="limit")
    once: str = "x"
    place: Place | None = None
    prefix: str = "Dear "


@pytest.fixture
def launchable() -> Any:
    """Register a workflow with a unique name."""
    flow = workflow_of(Split)
    registry.register(flow)
    yield flow
    registry.unregister(flow.name)


def sent_by_page(html: str) -> dict[str, str]:
    return dict(Page(html[html.index('id="launch"') :].partition("</form>")[0]).sent)


@pytest.mark.django_db
def test_the_page_launches_and_reruns_with_the_shown_values(
    sign_in: Callable[[User], Client], alice: User, launchable: Workflow[Any]
) -> None:
    client = sign_in(alice)
    page = client.get("/workflows/holds/").content.decode()
    sent = sent_by_page(page) | {"limit": "7", "once": "y"}
    assert client.post("/workflows/holds/", sent).status_code == 302
    run = Run.objects.get()
    kept = {"limit": 7, "once": "y", "place": None, "prefix": "Dear "}
    assert run.params == kept
    Run.objects.update(params=kept | {"prefix": " \r\n"})
    address = f"/workflows/holds/?again={run.pk}"
    again = sent_by_page(client.get(address).content.decode())
    assert client.post(address, again).status_code == 302
    newest = Run.objects.exclude(pk=run.pk).get()
    assert newest.params == kept | {"prefix": " \r\n"}
    assert newest.forked_from_id == run.pk
    assert "rerun from the start" in client.get(f"/runs/{run.pk}/").content.decode()
    assert launchable.initial(newest.params).params.limit_ == 7


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("param", "expected_text"),
    [("limit_=7", ""), ("limit=7", ""), ("limt=7", "no parameter"), ("limit=x", "integer")],
)  # fmt: skip
def test_the_command_launches_what_the_node_reads(
    param: str, expected_text: str, launchable: Workflow[Any]
) -> None:
    out, err = StringIO(), StringIO()
    if expected_text:
        with pytest.raises(SystemExit):
            call_command("run_workflow", "holds", param=[param], stdout=out, stderr=err)
        assert expected_text in err.getvalue()
        assert not Run.objects.exists()
        return
    call_command("run_workflow", "holds", param=[param], stdout=out, stderr=err)
    assert Run.objects.get().params["limit"] == 7


@pytest.mark.django_db
@pytest.mark.parametrize("model", [Trip, Texts, Shown, Odd, Split])
def test_command_program_and_form_store_the_same_params(model: Any) -> None:
    flow = workflow_of(model)
    registry.register(flow)
    try:
        stored, _ = codec(model).encode(model())
        options = [f"--param={text}" for text in arguments_of(dict(stored))]
        call_command("run_workflow", "holds", *options, stdout=StringIO())
    finally:
        registry.unregister(flow.name)
    params = Run.objects.get().params
    assert difference(params, dict(stored)) is None
    assert difference(flow.initial(params).params, launched_by_form(model)) is None


# Any model ------------------------------------------------------------------------------

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
MOMENTS = st.datetimes(
    dt.datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    dt.datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(dt.UTC),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=6,
)
KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, TEXT),
    (int, st.integers()),
    (float, FLOATS),
    (bool, st.booleans()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (dt.datetime, MOMENTS),
    (NaiveDatetime, st.datetimes()),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(days=-999), dt.timedelta(days=999))),
    (Literal["a", "b", 1, True], st.sampled_from(["a", "b", 1, True])),
    (list[str], st.lists(TEXT, max_size=3)),
    (tuple[int, ...], st.lists(st.integers(), max_size=3).map(tuple)),
    (set[str], st.sets(TEXT, max_size=3)),
    (list[Literal["x", "y"]], st.sets(st.sampled_from("xy")).map(sorted)),
    (dict[str, Any], st.dictionaries(TEXT, JSON, max_size=3)),
    (int | float | str, st.integers() | FLOATS | TEXT),
    (bytes, TEXT.map(str.encode)),
]
ALIASES: list[dict[str, Any]] = [
    {},
    {"alias": "other {}"},
    {"validation_alias": AliasChoices("first.{}", "second {}")},
    {"serialization_alias": "out-{}"},
]


@st.composite
def models(draw: st.DrawFn, depth: int = 2) -> tuple[type[BaseModel], BaseModel]:
    """Draw a model whose fields have defaults, and an instance."""
    fields: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 3))):
        name = f"f{number}"
        kind: Any
        value: Any
        if depth and draw(st.booleans()):
            kind, value = draw(models(depth - 1))
            default: Any = kind() if draw(st.booleans()) else value
        else:
            kind, drawn = draw(st.sampled_from(KINDS))
            default, value = draw(drawn), draw(drawn)
        if draw(st.booleans()):
            kind = kind | None
            default = draw(st.sampled_from([None, default]))
            value = draw(st.sampled_from([None, value]))
        alias: dict[str, Any] = {}
        for option, given in draw(st.sampled_from(ALIASES)).items():
            if isinstance(given, AliasChoices):
                alias[option] = AliasChoices(
                    *(str(c).format(name) for c in given.choices)
                )
            else:
                alias[option] = given.format(name)
        fields[name] = (kind, Field(default, **alias))
        values[name] = value
    model = create_model("Drawn", **fields)
    made = model()
    return model, made.model_copy(update=values)


@hypothesis.given(drawn=models())
@hypothesis.settings(
    max_examples=max(60, hypothesis.settings().max_examples // 4),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
def test_values_of_any_model_round_trip(
    drawn: tuple[type[BaseModel], BaseModel],
) -> None:
    model, value = drawn
    stored, read_back = codec(model).encode(value)
    assert difference(value, read_back) is None  # launched by a program
    assert difference(value, read(model, stored)) is None  # a rerun of a stored row
    given = dict(_param(text) for text in arguments_of(dict(stored)))
    assert difference(value, read(model, given)) is None  # the command
    assert difference(model(), launched_by_form(model)) is None  # an unchanged form
    again = submitted(SchemaForm(schema(model), initial=stored))
    form = SchemaForm(schema(model), initial=stored, data=again)
    assert form.is_valid(), form.errors
    assert (
        difference(value, read(model, form.values())) is None
    )  # the form filled with stored values
