"""Forms from models: kinds of fields, validation, and the positions of errors."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.datastructures import MultiValueDict
from pydantic import BaseModel, Field

from tests.support.factories import ANSWER_SCHEMA, make_document
from workflows.errors import InvalidParams
from workflows.execution.params import check_params
from workflows.models import Document
from workflows.pages.forms.schema_form import RECENT, Group, Row, SchemaForm
from workflows.registry import AnyWorkflow
from workflows.runtime import DocumentRef

ONE_PAGE = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF"
)


class Colour(enum.Enum):
    """An enum."""

    RED = "red"
    GREEN = "green"


class Effort(BaseModel):
    """A nested model."""

    limit: int = Field(3, ge=1, le=10)
    until: dt.date | None = None


class Everything(BaseModel):
    """A model with a field of each kind."""

    name: str
    note: str = Field("", max_length=1000, description="As long as you like.")
    count: int = Field(5, ge=0, le=100)
    ratio: float | None = None
    price: Decimal | None = None
    sure: bool = True
    maybe: bool | None = None
    mode: Literal["fast", "thorough"] = "fast"
    level: Literal[1, 2, 3, 4, 5, 6, 7] = 3
    colour: Colour = Colour.RED
    several: list[Literal["a", "b", "c"]] = []
    words: list[str] = ["x", "y"]
    numbers: list[int] = []
    day: dt.date | None = None
    at: dt.datetime | None = None
    key: UUID | None = None
    effort: Effort = Effort()
    more: Effort | None = None
    extra: dict[str, int] = {}


class WithDocument(BaseModel):
    """A model with a document field."""

    document: DocumentRef = Field(title="Document")
    threshold: float = Field(
        0.8, ge=0, le=1, description="Publish unseen at or above this."
    )


def form_of(model: type[BaseModel], **options: Any) -> SchemaForm:
    return SchemaForm(model.model_json_schema(), **options)


def filled(model: type[BaseModel], **given: Any) -> SchemaForm:
    """Return a submitted form: its initial values with some changes."""
    shown = as_sent(form_of(model))
    return form_of(model, data=query({**shown, **given}))


def as_sent(form: SchemaForm) -> dict[str, Any]:
    """Return the data that a browser submits for an unchanged form."""
    sent = {}
    for name in form.fields:
        value = form[name].value()
        if value is True:
            value = "on"
        if value not in (None, False, "", []):
            sent[name] = value
    return sent


def query(values: dict[str, Any]) -> QueryDict:
    data = QueryDict(mutable=True)
    for name, value in values.items():
        if value is None:
            continue
        data.setlist(name, value if isinstance(value, list) else [str(value)])
    return data


def rows(group: Group) -> list[Row]:
    """Return the rows of a form, including those of nested models."""
    found: list[Row] = []
    for part in group.parts:
        found += rows(part) if isinstance(part, Group) else [part]
    return found


def workflow_of(model: type[BaseModel]) -> AnyWorkflow:
    """Return a stub of a workflow that `check_params` accepts."""

    class Stub:
        name = "stub"
        params_type = model

    return Stub()  # type: ignore[return-value] # all that check_params looks at


# Building --------------------------------------------------------------------------------


def test_fields_have_the_order_of_the_model() -> None:
    names = [row.bound.name for row in rows(form_of(Everything).group)]
    assert names[:4] == ["name", "note", "count", "ratio"]
    assert names[-5:] == [
        "effort.limit",
        "effort.until",
        "more.limit",
        "more.until",
        "extra",
    ]


@pytest.mark.parametrize(
    ("name", "markup"),
    [
        ("name", '<input type="text" name="name" required'),
        ("note", '<textarea name="note"'),
        ("count", '<input type="number" name="count" value="5" min="0" max="100"'),
        ("ratio", '<input type="number" name="ratio" step="any"'),
        ("sure", '<input type="checkbox" name="sure" id="id_sure" checked'),
        ("mode", 'type="radio" name="mode" value="fast"'),
        ("level", '<select name="level"'),
        ("several", 'type="checkbox" name="several" value="a"'),
        ("words", '<textarea name="words"'),
        ("day", '<input type="date" name="day"'),
        ("at", '<input type="datetime-local" name="at"'),
        ("extra", '<textarea name="extra"'),
    ],
)
def test_each_type_has_its_control(name: str, markup: str) -> None:
    html = str(form_of(Everything)[name])
    assert all(part in html for part in markup.split(" ")), html


def test_title_help_and_limits_are_shown() -> None:
    form = SchemaForm(
        {
            "properties": {
                "threshold": {
                    "type": "number",
                    "title": "Publish from",
                    "description": "Publish unseen at or above this.",
                    "minimum": 0,
                    "maximum": 1,
                    "default": 0.8,
                }
            }
        }
    )
    html = render_to_string("forms/_group.html", {"group": form.group})
    assert "Publish from" in html
    assert "Publish unseen at or above this." in html
    assert "0 to 1." in html
    assert 'value="0.8"' in html
    assert 'aria-describedby="id_threshold_helptext"' in html


def test_a_name_from_code_becomes_readable_and_an_explicit_title_is_used() -> None:
    class Titled(BaseModel):
        max_pages: int = 3
        other: int = Field(1, title="As I say")

    form = form_of(Titled)
    assert form["max_pages"].label == "Max pages"
    assert form["other"].label == "As I say"


def test_an_empty_choice_is_offered_for_optional_fields_only() -> None:
    form = form_of(Everything)
    assert [label for _, label in form.fields["mode"].choices] == ["Fast", "Thorough"]  # type: ignore[attr-defined]
    assert [label for _, label in form.fields["maybe"].choices] == ["—", "Yes", "No"]  # type: ignore[attr-defined]


def test_a_recursive_model_is_a_json_field() -> None:
    class Tree(BaseModel):
        name: str = ""
        child: Tree | None = None

    names = list(form_of(Tree).fields)
    assert "child.child.child.name" in names
    assert max(name.count(".") for name in names) == 3


def test_a_schema_without_properties_renders_an_empty_form() -> None:
    form = SchemaForm({}, data=QueryDict())
    assert form.is_valid()
    assert form.values() == {}


# Values ----------------------------------------------------------------------------------


def test_an_untouched_form_returns_the_defaults() -> None:
    form = filled(Everything, name="Ada")
    assert form.is_valid(), form.errors
    given = check_params(workflow_of(Everything), form.values())
    assert given == Everything(name="Ada").model_dump(mode="json")


def test_every_value_has_the_type_of_its_field() -> None:
    form = filled(
        Everything,
        **{
            "name": "Ada",
            "note": "two\nlines",
            "count": "7",
            "ratio": "0.25",
            "price": "19.90",
            "sure": None,
            "maybe": "json:false",
            "mode": "thorough",
            "level": "json:7",
            "colour": "green",
            "several": ["a", "c"],
            "words": "one\n\n two \r\nthree",
            "numbers": "1\n2",
            "day": "2026-02-28",
            "at": "2026-02-28T10:30:00",
            "key": "00000000-0000-0000-0000-000000000007",
            "effort.limit": "9",
            "more:given": "on",
            "more.limit": "2",
            "more.until": "2027-01-01",
            "extra": '{"a": 1}',
        },
    )
    assert form.is_valid(), form.errors
    given = check_params(workflow_of(Everything), form.values())
    assert Everything.model_validate(given) == Everything(
        name="Ada",
        note="two\nlines",
        count=7,
        ratio=0.25,
        price=Decimal("19.90"),
        sure=False,
        maybe=False,
        mode="thorough",
        level=7,
        colour=Colour.GREEN,
        several=["a", "c"],
        words=["one", " two ", "three"],
        numbers=[1, 2],
        day=dt.date(2026, 2, 28),
        at=dt.datetime(2026, 2, 28, 10, 30, tzinfo=dt.UTC),
        key=UUID(int=7),
        effort=Effort(limit=9),
        more=Effort(limit=2, until=dt.date(2027, 1, 1)),
        extra={"a": 1},
    )


def test_the_params_of_a_run_fill_the_form_again() -> None:
    params = Everything(
        name="Ada",
        maybe=True,
        level=6,
        colour=Colour.GREEN,
        several=["b"],
        words=["one", "two"],
        day=dt.date(2026, 2, 28),
        at=dt.datetime(2026, 2, 28, 10, 30, tzinfo=dt.UTC),
        more=Effort(limit=8),
        extra={"a": 1},
    ).model_dump(mode="json")
    form = form_of(Everything, data=query(as_sent(form_of(Everything, initial=params))))
    assert form.is_valid(), form.errors
    assert check_params(workflow_of(Everything), form.values()) == params


def test_an_unticked_optional_group_is_null_regardless_of_its_fields() -> None:
    form = filled(Everything, **{"name": "Ada", "more.limit": "not a number"})
    assert form.is_valid(), form.errors
    assert form.values()["more"] is None


def test_a_response_form_is_built_from_the_stored_schema_alone() -> None:
    form = SchemaForm(
        ANSWER_SCHEMA,
        prefix="response",
        data=query({"response-outcome": "reject", "response-label": ""}),
    )
    assert form.is_valid(), form.errors
    assert form.values() == {"outcome": "reject", "label": None}


# Validation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "expected_text"),
    [
        ("name", "", "This field is required."),
        ("name", "a\x00b", "Null characters are not allowed."),
        ("count", "101", "less than or equal to 100"),
        ("count", "-1", "greater than or equal to 0"),
        ("count", "many", "Enter a whole number."),
        ("count", "9" * 5000, "Enter a whole number."),
        ("ratio", "nan", "Enter a number."),
        ("mode", "other", "is not one of the available choices"),
        ("level", "7", "is not one of the available choices"),
        ("several", ["z"], "is not one of the available choices"),
        ("numbers", "1\ntwo", "Line 2: Enter a whole number."),
        ("day", "2026-02-30", "Enter a valid date."),
        ("at", "noon", "Enter a valid date/time."),
        ("key", "7", "Enter a valid UUID."),
        ("extra", "{", "Enter valid JSON."),
        ("extra", "[" * 100_000, "Nested too deeply"),
        ("note", "x" * 1001, "at most 1000 characters"),
        ("effort.limit", "11", "less than or equal to 10"),
    ],
)
def test_invalid_values_are_reported_at_their_field(
    name: str, value: Any, expected_text: str
) -> None:
    form = filled(Everything, **{"name": "Ada", name: value})
    assert not form.is_valid()
    assert list(form.errors) == [name]
    assert expected_text in str(form.errors[name])


def test_typed_values_are_shown_again_with_the_message_at_their_field() -> None:
    form = filled(Everything, name="Ada", count="101")
    html = render_to_string("forms/_group.html", {"group": form.group})
    assert 'value="101"' in html
    assert 'aria-invalid="true"' in html
    assert 'id="id_count_error"' in html


def test_validation_messages_are_shown_at_their_field() -> None:
    form = filled(Everything, name="Ada")
    assert form.is_valid()
    form.add_validation_errors(
        InvalidParams(
            {
                "name": ["is taken"],
                "effort": ["limit: too hard", "too much: in all"],
                "numbers": ["1: Input should be a valid integer"],
                "": ["They do not go together."],
                "gone": ["What is this?"],
            }
        )
    )
    assert form.errors["name"] == ["is taken"]
    assert form.errors["effort.limit"] == ["too hard"]
    assert form.errors["numbers"] == ["Item 2: Input should be a valid integer"]
    assert set(form.non_field_errors()) == {
        "effort: too much: in all",
        "They do not go together.",
        "gone: What is this?",
    }


def test_pydantic_errors_are_shown_at_the_field() -> None:
    class Even(BaseModel):
        half: Annotated[int, Field(multiple_of=2)] = 2
        word: str = Field("a", pattern="^[a-z]+$")

    form = filled(Even, half="4", word="A1")
    assert form.is_valid(), form.errors
    with pytest.raises(InvalidParams) as refusal:
        check_params(workflow_of(Even), form.values())
    form.add_validation_errors(refusal.value)
    assert "should match pattern" in str(form.errors["word"])


def test_hostile_schemas_stay_text() -> None:
    payload = "<script>alert(1)</script>"
    form = SchemaForm(
        {
            "properties": {
                "x": {"type": "string", "title": payload, "description": payload},
                "y": {"enum": [payload], "title": payload},
                "z": {"title": payload, "properties": {payload: {"type": "string"}}},
            }
        },
        data=query({"x": payload}),
    )
    form.is_valid()
    html = render_to_string("forms/_group.html", {"group": form.group})
    assert "<script>" not in html


# Documents -------------------------------------------------------------------------------


@pytest.mark.django_db
class TestDocuments:
    """A select of documents with an upload."""

    def send(
        self, name: str = "", content: bytes | None = None, **given: Any
    ) -> SchemaForm:
        files: MultiValueDict[str, Any] = MultiValueDict()
        if content is not None:
            files["document:file"] = SimpleUploadedFile(name, content)
        data = query({"threshold": "0.8", **given})
        return form_of(WithDocument, data=data, files=files)

    def test_the_newest_documents_are_offered(self) -> None:
        old, new = make_document("old.pdf"), make_document("new.pdf")
        choices = form_of(WithDocument).fields["document"].choices  # type: ignore[attr-defined]
        assert [key for key, _ in choices] == ["", str(new.pk), str(old.pk)]
        assert choices[1][1] == "new.pdf · 3 pages"

    def test_a_selected_document_is_used(self) -> None:
        document = make_document()
        form = self.send(document=document.pk)
        assert form.is_valid(), form.errors
        assert form.values()["document"] == str(document.pk)

    def test_a_document_older_than_the_listed_ones_can_be_selected(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workflows.pages.forms.schema_form.RECENT", 1)
        old, _new = make_document("old.pdf"), make_document("new.pdf")
        assert self.send(document=old.pk).is_valid()
        assert RECENT > 1

    def test_an_upload_is_stored_and_selected(self) -> None:
        form = self.send("mine.pdf", ONE_PAGE)
        assert form.is_valid(), form.errors
        assert form.values()["document"] == str(Document.objects.get().pk)

    def test_a_selection_and_an_upload_together_require_a_confirmation(self) -> None:
        form = self.send("mine.pdf", ONE_PAGE, document=make_document().pk)
        assert not form.is_valid()
        uploaded = Document.objects.get(name="mine.pdf")
        assert "“mine.pdf” is now selected" in str(form.errors["document"])
        assert f'value="{uploaded.pk}" selected' in str(form["document"])
        again = self.send(document=uploaded.pk)
        assert again.is_valid(), "without a second upload"
        assert self.send("mine.pdf", ONE_PAGE, document=uploaded.pk).is_valid()

    def test_an_upload_is_stored_when_another_field_is_invalid(self) -> None:
        form = self.send("mine.pdf", ONE_PAGE, threshold="2")
        assert list(form.errors) == ["threshold"]
        assert f'value="{Document.objects.get().pk}" selected' in str(form["document"])

    def test_a_missing_document_is_reported_at_its_field(self) -> None:
        form = self.send()
        assert form.errors == {"document": ["Choose or upload a document."]}

    @pytest.mark.parametrize(
        ("content", "expected_text"),
        [
            (b"", "empty"),
            (b"just text", "is not a PDF"),
            (b"%PDF-1.7\n" + b"x" * 50, "ends too early"),
        ],
    )
    def test_an_unusable_file_is_refused_with_a_message(
        self, content: bytes, expected_text: str
    ) -> None:
        form = self.send("mine.pdf", content)
        assert not form.is_valid()
        assert expected_text in str(form.errors)
        assert not Document.objects.exists()

    def test_a_deleted_document_is_refused(self) -> None:
        form = self.send(document=UUID(int=1))
        assert "not one of the available choices" in str(form.errors["document"])

    def test_several_documents_can_be_selected_and_one_uploaded(self) -> None:
        class Many(BaseModel):
            documents: list[DocumentRef]

        chosen = make_document()
        files: MultiValueDict[str, Any] = MultiValueDict()
        files["documents:file"] = SimpleUploadedFile("mine.pdf", ONE_PAGE)
        data = query({"documents": [str(chosen.pk)]})
        form = form_of(Many, data=data, files=files)
        assert form.is_valid(), form.errors
        uploaded = Document.objects.get(name="mine.pdf")
        assert form.values() == {"documents": [str(chosen.pk), str(uploaded.pk)]}
